// forward(): the numerics probe.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>

#include "core/run_setup.h"
#include "striped/error.h"

namespace striped {
namespace {

// Little-endian uint16 [batch, length + 1]; the last column holds only targets.
SampleBatch read_windows(const std::filesystem::path& file, std::int64_t batch, std::int64_t length,
                         std::int64_t vocab) {
  const std::string bytes = read_text(file);
  const auto expected = static_cast<std::size_t>(batch * (length + 1)) * 2;
  if (bytes.size() != expected)
    throw Error("tokens-size", file.string() + " has " + std::to_string(bytes.size()) +
                                   " bytes; the plan wants " + std::to_string(expected) +
                                   ": uint16 [micro-batch × data = " + std::to_string(batch) +
                                   ", sequence + 1 = " + std::to_string(length + 1) + "]");
  SampleBatch windows;
  for (std::int64_t row = 0; row < batch; ++row)
    for (std::int64_t column = 0; column <= length; ++column) {
      const auto place = static_cast<std::size_t>(row * (length + 1) + column) * 2;
      const int token =
          static_cast<unsigned char>(bytes[place]) | static_cast<unsigned char>(bytes[place + 1]) << 8;
      if (token >= vocab)
        throw Error("tokens-range", file.string() + ": token " + std::to_string(token) + " in row " +
                                        std::to_string(row) + ", column " + std::to_string(column) +
                                        " is not below the vocabulary of " + std::to_string(vocab));
      if (column < length) windows.tokens.push_back(token);
      if (column > 0) windows.targets.push_back(token);
    }
  windows.weights.assign(windows.tokens.size(), 1.0f);
  return windows;
}

std::vector<float> to_single(Backend& backend, const void* values, std::size_t count) {
  std::vector<float> single(count);
  if (backend.activation_type() == DType::f32) {
    backend.download(single.data(), values, count * 4);
  } else if (backend.activation_type() == DType::f64) {
    std::vector<double> wide(count);
    backend.download(wide.data(), values, count * 8);
    single.assign(wide.begin(), wide.end());
  } else {
    std::vector<std::uint16_t> half(count);
    backend.download(half.data(), values, count * 2);
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint32_t bits = static_cast<std::uint32_t>(half[i]) << 16;
      std::memcpy(&single[i], &bits, sizeof bits);
    }
  }
  return single;
}

// Everything of a probe on this rank. Data ranks have a micro-batch each.
class Probe {
 public:
  Probe(const ForwardOptions& options, const parallel::Launch& launch);
  double run();

 private:
  void write_logits();
  double loss_and_gradients();
  std::int64_t first_row() const { return ranks_.place.data.index * run_.micro_batch * run_.sequence; }

  const ForwardOptions& options_;
  const parallel::Launch& launch_;
  Plan plan_;
  const PlanRun& run_;
  SampleBatch windows_;
  BackendChoice choice_;
  Backend& backend_;
  RankGroups ranks_;
  ParameterTable table_;
  ParameterStore store_;
  parallel::ParameterExchange exchange_;
  Model model_;
  RowShard rows_;
  parallel::RankTensors tensors_;
};

TrainOptions training_of(const ForwardOptions& options) {
  TrainOptions result;
  result.plan = options.plan;
  result.precision = options.precision;
  return result;
}

Probe::Probe(const ForwardOptions& options, const parallel::Launch& launch)
    : options_(options),
      launch_(launch),
      plan_(shared_plan(training_of(options), launch)),
      run_(plan_.run),
      choice_(choose_rank_backend(options.backend, run_.precision, options.threads, 0, launch)),
      backend_(*choice_.backend),
      ranks_(make_ranks(run_.parallel, backend_, launch)),
      table_(plan_.model, run_.init_std, ranks_.place.tensor,
             parallel::sharing_of(run_.parallel, ranks_.place).part.count),
      store_(table_, backend_,
             options.gradients ? ParameterStore::Keep::gradients : ParameterStore::Keep::weights,
             parallel::sharing_of(run_.parallel, ranks_.place)),
      exchange_(store_, ranks_),
      model_(plan_.model,
             {run_.micro_batch, run_.sequence, run_.recompute_blocks, options.gradients.has_value()}, table_,
             backend_, ranks_),
      rows_(ranks_.place, run_.micro_batch, run_.sequence),
      tensors_(store_, ranks_) {
  launch_.together([&] {
    windows_ = read_windows(options_.tokens, run_.micro_batch * run_.parallel.data, run_.sequence,
                            plan_.model.vocab);
    if (launch_.first()) SafetensorsReader(options_.weights);
  });
  read_tensors(options_.weights, weight_tensors(table_), store_, tensors_, true);
  model_.allocate();
}

double Probe::run() {
  write_logits();
  return loss_and_gradients();
}

// Every rank puts its rows in their places; the sum over the groups that have other rows is whole.
void Probe::write_logits() {
  const auto vocab = static_cast<std::size_t>(plan_.model.vocab);
  const std::size_t batch = windows_.tokens.size();
  std::vector<float> values(batch * vocab, 0.0f);
  const MicroBatch own = rows_.take(windows_, first_row());
  model_.logits(store_, own.tokens, [&](std::int64_t first, std::int64_t rows, const void* chunk) {
    const std::vector<float> single = to_single(backend_, chunk, static_cast<std::size_t>(rows) * vocab);
    for (std::int64_t i = 0; i < rows; ++i) {
      const std::int64_t row = first_row() + rows_.rows()[static_cast<std::size_t>(first + i)];
      std::copy_n(single.begin() + i * plan_.model.vocab, vocab, values.begin() + row * plan_.model.vocab);
    }
  });
  if (launch_.size() > 1) {
    // Where tensor ranks do not share out the rows, one of them speaks for all.
    if (!ranks_.place.sequence && ranks_.place.tensor.index > 0)
      std::fill(values.begin(), values.end(), 0.0f);
    launch_.world()->all_reduce(values.data(), static_cast<std::int64_t>(values.size()), DType::f32);
  }
  if (!launch_.first()) return;
  SafetensorsWriter file(
      options_.logits,
      {{"logits", "F32", {run_.micro_batch * run_.parallel.data, run_.sequence, plan_.model.vocab}}});
  file.write(values.data(), values.size() * sizeof(float));
  file.finish();
}

double Probe::loss_and_gradients() {
  const auto total = static_cast<float>(windows_.weights.size());
  const MicroBatch own = rows_.take(windows_, first_row());
  model_.clear_loss();
  if (options_.gradients) {
    store_.zero_gradients();
    model_.train(store_, own, total);
    exchange_.finish_gradients();
    write_tensors(*options_.gradients, gradient_tensors(table_), store_, tensors_);
  } else {
    model_.evaluate(store_, own);
  }
  return HostSum(backend_).over(ranks_.rows(), model_.loss_sum()) / total;
}

}  // namespace

ForwardResult forward(const ForwardOptions& options) {
  parallel::Launch launch;
  ForwardResult result{0, launch.first()};
  launch.under_watch(end_of(options.lost),
                     [&](parallel::Lifeline*) { result.loss = Probe(options, launch).run(); });
  return result;
}

}  // namespace striped
