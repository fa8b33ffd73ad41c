// A few training steps on one rank of several, whatever these speak through, and what must come of it.
#pragma once

#include <doctest/doctest.h>

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
};

inline std::ostream& operator<<(std::ostream& out, const Degrees& degrees) {
  return out << "tensor " << degrees.tensor << (degrees.sequence ? " with sequence" : "") << ", data "
             << degrees.data << ", zero " << degrees.zero << (degrees.recompute ? ", recomputed" : "");
}

inline json plan_of(const Degrees& degrees) {
  json plan = fixture::plan();
  plan["model"]["blocks"][0]["ffn"]["inner"] = 6;
  json& run = plan["run"];
  run["recompute"] = degrees.recompute ? "blocks" : "none";
  run["parallel"] = {{"tensor", degrees.tensor},
                     {"context", 1},
                     {"data", degrees.data},
                     {"sequence", degrees.sequence},
                     {"zero", degrees.zero}};
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

// On one rank; every rank returns what it trained, the first one with the parameters.
inline Trained train(const Plan& plan, std::unique_ptr<Communicator> all) {
  const auto backend = make_cpu_backend("fp64", 1);
  const RankGroups ranks = split_ranks(std::move(all), plan.run.parallel);
  const Sharing sharing = parallel::sharing_of(plan.run.parallel, ranks.place);
  const ParameterTable table(plan.model, plan.run.init_std, ranks.place.tensor, sharing.part.count);
  ParameterStore store(table, *backend, ParameterStore::Keep::optimizer, sharing);
  Model model(plan.model, {plan.run.micro_batch, plan.run.sequence, plan.run.recompute_blocks, true}, table,
              *backend, ranks);
  model.allocate();
  TrainingStep step(plan.run, model, store, ranks, *backend, false);
  store.initialise(plan.run.seed, plan.run.sequence);
  Trained trained;
  for (std::int64_t number = 1; number <= kSteps; ++number) {
    const auto result = step.run(windows_of(plan, number, ranks.place.data), number, 1e-2);
    trained.losses.push_back(result.loss_sum / result.total_weight);
    trained.norms.push_back(std::sqrt(result.squared_norm) * result.scale);
  }
  parallel::RankTensors tensors(store, ranks);
  for (const StoredTensor& tensor : weight_tensors(table))
    trained.parameters.push_back(tensors.collect(tensor));
  return trained;
}

inline void check_near(const std::vector<double>& actual, const std::vector<double>& expected) {
  REQUIRE(actual.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i)
    CHECK(actual[i] == doctest::Approx(expected[i]).epsilon(1e-5).scale(1e-3));  // OptimizerStep holds floats
}

// What `trained` came to is what one rank alone comes to.
inline void check_same(const Trained& trained, const Trained& expected) {
  check_near(trained.losses, expected.losses);
  check_near(trained.norms, expected.norms);
  REQUIRE(trained.parameters.size() == expected.parameters.size());
  for (std::size_t i = 0; i < expected.parameters.size(); ++i)
    check_near(trained.parameters[i], expected.parameters[i]);
}

// One of each kind of exchange.
inline const std::vector<Degrees>& layouts() {
  static const std::vector<Degrees> all = {
      {1, 2, 0, false, false}, {1, 2, 1, false, false}, {1, 2, 2, false, false}, {1, 4, 3, false, false},
      {2, 1, 0, false, false}, {2, 1, 0, true, false},  {2, 2, 1, true, false},  {2, 2, 2, true, true},
      {2, 2, 3, true, true},   {2, 2, 3, false, false}};
  return all;
}

}  // namespace training
