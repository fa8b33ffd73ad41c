// A few training steps on one rank of several, whatever these speak through, and what must come of it.
#pragma once

#include <algorithm>
#include <cmath>
#include <ostream>

#include "core/training_step.h"
#include "core_fixture.h"
#include "parallel/rank_tensors.h"

namespace training {

using fixture::json;
using namespace striped;

constexpr int kSteps = 3;
constexpr std::int64_t kWindows = 8;  // a step, over all data ranks

struct Degrees {
  int tensor, data, zero;
  bool sequence, recompute;
  int context = 1;
  // How context ranks share out what.
  const char *order = "contiguous", *filters = "p2p", *modes = "state", *attention = "ring";
};

inline std::ostream& operator<<(std::ostream& out, const Degrees& degrees) {
  out << "tensor " << degrees.tensor << (degrees.sequence ? " with sequence" : "") << ", data "
      << degrees.data << ", zero " << degrees.zero << (degrees.recompute ? ", recomputed" : "");
  if (degrees.context > 1)
    out << ", context " << degrees.context << " " << degrees.order << " (" << degrees.filters << ", "
        << degrees.modes << ", " << degrees.attention << ")";
  return out;
}

// Sequences divide by the pieces of the layouts with context ranks.
inline json plan_of(const Degrees& degrees) {
  json plan = fixture::plan();
  plan["model"]["blocks"][0]["ffn"]["inner"] = 6;
  json& run = plan["run"];
  run["recompute"] = degrees.recompute ? "blocks" : "none";
  run["sequence"] = 16;
  run["parallel"] = {{"tensor", degrees.tensor},
                     {"context", degrees.context},
                     {"data", degrees.data},
                     {"sequence", degrees.sequence},
                     {"zero", degrees.zero},
                     {"spread",
                      {{"order", degrees.order},
                       {"SE", degrees.filters == std::string("fft") ? "p2p" : degrees.filters},
                       {"MR", degrees.filters},
                       {"LI", degrees.modes},
                       {"MHA", degrees.attention}}}};
  run["accumulation"] = kWindows / 2 / degrees.data;
  return plan;
}

// Windows of unequal weight, the same for all layouts.
inline SampleBatch windows_of(const Plan& plan, std::int64_t step, const Place& data) {
  SampleBatch batch;
  const std::int64_t count = kWindows / data.count * plan.run.sequence;
  const auto vocab = static_cast<std::uint64_t>(plan.model.vocab);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto counter = static_cast<std::uint64_t>((step * data.count + data.index) * count + i);
    batch.tokens.push_back(static_cast<std::int32_t>(random_bits(1, 1, counter) % vocab));
    batch.targets.push_back(static_cast<std::int32_t>(random_bits(1, 2, counter) % vocab));
    batch.weights.push_back(counter % 5 == 0 ? 0.25f : 1.0f);
    batch.total_weight += batch.weights.back();
  }
  return batch;
}

struct Trained {
  std::vector<double> losses, norms;
  std::vector<std::vector<double>> parameters;
};

constexpr double kLearningRate = 1e-2;

// On one rank; every rank returns what it trained, the first one with the parameters.
inline Trained train(const Plan& plan, Backend& backend, std::unique_ptr<Communicator> all) {
  const RankGroups ranks = split_ranks(std::move(all), plan.run.parallel);
  const Sharing sharing = parallel::sharing_of(plan.run.parallel, ranks.place);
  const ParameterTable table(plan.model, plan.run.init_std, ranks.place.tensor, sharing.part.count);
  ParameterStore store(table, backend, ParameterStore::Keep::optimizer, sharing);
  Model model(plan.model, {plan.run.micro_batch, plan.run.sequence, plan.run.recompute_blocks, true}, table,
              backend, ranks);
  model.allocate();
  TrainingStep step(plan.run, model, store, ranks, backend, false);
  store.initialise(plan.run.seed, plan.run.sequence);
  Trained trained;
  for (std::int64_t number = 1; number <= kSteps; ++number) {
    const auto result = step.run(windows_of(plan, number, ranks.place.data), number, kLearningRate);
    trained.losses.push_back(result.loss_sum / result.total_weight);
    trained.norms.push_back(std::sqrt(result.squared_norm) * result.scale);
  }
  parallel::RankTensors tensors(store, ranks);
  for (const StoredTensor& tensor : weight_tensors(table))
    trained.parameters.push_back(tensors.collect(tensor));
  return trained;
}

// Of two numbers as a share of the larger, or of `small` where both are smaller.
inline double error_of(double actual, double expected, double small) {
  const double error = std::abs(actual - expected) / (small + std::max(std::abs(actual), std::abs(expected)));
  return std::isnan(error) ? INFINITY : error;
}

inline double largest_error(const std::vector<double>& actual, const std::vector<double>& expected,
                            double small = 1e-3) {
  if (actual.size() != expected.size()) return INFINITY;
  double largest = 0;
  for (std::size_t i = 0; i < expected.size(); ++i)
    largest = std::max(largest, error_of(actual[i], expected[i], small));
  return largest;
}

// How far `trained` is from what one rank alone comes to.
inline double largest_error(const Trained& trained, const Trained& expected, double small = 1e-3) {
  if (trained.parameters.size() != expected.parameters.size()) return INFINITY;
  double largest =
      std::max(largest_error(trained.losses, expected.losses), largest_error(trained.norms, expected.norms));
  for (std::size_t i = 0; i < expected.parameters.size(); ++i)
    largest = std::max(largest, largest_error(trained.parameters[i], expected.parameters[i], small));
  return largest;
}

// Between fp64 trainings: OptimizerStep holds floats.
constexpr double kExact = 1e-5;

// One of each kind of exchange.
inline const std::vector<Degrees>& layouts() {
  static const std::vector<Degrees> all = {
      {1, 2, 0, false, false}, {1, 2, 1, false, false}, {1, 2, 2, false, false}, {1, 4, 3, false, false},
      {2, 1, 0, false, false}, {2, 1, 0, true, false},  {2, 2, 1, true, false},  {2, 2, 2, true, true},
      {2, 2, 3, true, true},   {2, 2, 3, false, false}, {1, 2, 3, false, true}};
  return all;
}

// Every way to share out sequences, alone and beside other degrees.
inline const std::vector<Degrees>& context_layouts() {
  static const std::vector<Degrees> all = {
      {1, 1, 0, false, false, 2},
      {1, 1, 1, false, true, 2, "zig-zag"},
      {1, 1, 0, false, false, 2, "contiguous", "all-to-all", "all-to-all", "all-to-all"},
      {1, 1, 0, false, false, 2, "zig-zag", "fft", "fft", "all-to-all"},
      {1, 1, 2, false, false, 4, "zig-zag"},
      {1, 1, 0, false, false, 4, "contiguous", "fft", "fft", "ring"},
      {1, 2, 3, false, true, 2, "zig-zag", "all-to-all", "all-to-all", "ring"},
      {2, 1, 1, true, false, 2}};
  return all;
}

}  // namespace training
