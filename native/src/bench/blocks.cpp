#include <utility>

#include "bench/random_batch.h"
#include "bench/subjects.h"
#include "core/training_step.h"

namespace striped::bench {
namespace {

PlanBlock block_of(const PlanMixer& mixer, std::int64_t width) {
  return {mixer, PlanGatedMlp{"silu", mlp_inner(width)}};
}

PlanModel model_of(std::vector<PlanBlock> blocks, std::int64_t width) {
  PlanModel model{"bench", width, kVocab, true, kNormEps, std::move(blocks), 0};
  return model;
}

// One block between a random stream and a random gradient.
class Block {
 public:
  Block(const PlanModel& model, const Size& size, const ParameterTable& table, Backend& backend)
      : backend_(backend),
        ranks_(only_rank(backend)),
        store_(table, backend, ParameterStore::Keep::gradients),
        pool_(backend) {
    const std::int64_t count = size.width * size.length;
    const std::size_t bytes = static_cast<std::size_t>(count) * size_of(backend.activation_type());
    stream_ = arena_.add("stream", bytes);
    gradient_ = arena_.add("gradient", bytes);
    const ModelShape shape{1, size.length, size.width, kNormEps, {}};
    const PlanBlock& block = model.blocks.front();
    int site = 0;
    std::visit(
        [&](const auto& mixer) {
          parts_.emplace_back(SublayerPlan{"blocks.0.norm1", "blocks.0.mixer.", mixer, false}, shape, table,
                              backend, arena_, site);
        },
        block.mixer);
    parts_.emplace_back(
        SublayerPlan{"blocks.0.norm2", "blocks.0.ffn.", std::get<PlanGatedMlp>(block.ffn), false}, shape,
        table, backend, arena_, site);
    TracingBackend trace(backend);
    walk(Execution(trace, ranks_, arena_), true);
    arena_.place();
    memory_ = DeviceBuffer(backend, arena_.size());
    store_.initialise(1, size.length);
    store_.set_accumulates(false);
    store_.zero_gradients();
    input_ = pool_.activations(count);
    output_gradient_ = pool_.activations(count);
    bytes_ = bytes;
  }

  // The walk overwrites both ends.
  void prepare() {
    const Execution run(backend_, ranks_, store_, arena_, memory_.at());
    backend_.copy(run.at(stream_), input_, bytes_);
    backend_.copy(run.at(gradient_), output_gradient_, bytes_);
  }
  void walk(bool backward) { walk(Execution(backend_, ranks_, store_, arena_, memory_.at()), backward); }

 private:
  void walk(const Execution& run, bool backward) {
    run.at(gradient_);  // holds its place from the beginning
    Stream stream{stream_, -1};
    for (Sublayer& part : parts_) stream = part.forward(run, Sublayer::kForward, stream);
    if (!backward) return;
    for (auto part = parts_.rbegin(); part != parts_.rend(); ++part) part->backward(run, gradient_);
  }

  Backend& backend_;
  RankGroups ranks_;
  ParameterStore store_;
  Pool pool_;
  Arena arena_;
  Arena::Buffer stream_, gradient_;
  std::vector<Sublayer> parts_;
  DeviceBuffer memory_;
  void *input_ = nullptr, *output_gradient_ = nullptr;
  std::size_t bytes_ = 0;
};

PlanRun run_of(const Size& size) {
  PlanRun run{};
  run.sequence = size.length;
  run.micro_batch = run.accumulation = 1;
  run.optimizer = {1e-5, 0.9, 0.95, 1e-8, 0.1, 1};
  return run;
}

void append(std::vector<Cost>& costs, const std::vector<Cost>& more) {
  costs.insert(costs.end(), more.begin(), more.end());
}

}  // namespace

void blocks(Backend& backend, Measure& measure, const Size& size, const Told& told) {
  const auto value = static_cast<double>(size_of(backend.activation_type()));
  const std::pair<const char*, PlanMixer> mixers[] = {{"SE block", hyena(HyenaOperator::SE, size.width)},
                                                      {"MR block", hyena(HyenaOperator::MR, size.width)},
                                                      {"LI block", hyena(HyenaOperator::LI, size.width)},
                                                      {"MHA block", attention(size.width)}};
  for (const auto& [name, mixer] : mixers) {
    const PlanModel model = model_of({block_of(mixer, size.width)}, size.width);
    const ParameterTable table(model, 0.02);
    Block block(model, size, table, backend);
    std::vector<Cost> costs = block_costs(model.blocks.front(), size.width, size.length, value, false);
    const auto prepare = [&] { block.prepare(); };
    told(std::string(name) + " forward", measure.median([&] { block.walk(false); }, prepare), costs);
    append(costs, block_costs(model.blocks.front(), size.width, size.length, value, true));
    told(std::string(name) + " forward + backward", measure.median([&] { block.walk(true); }, prepare),
         costs);
  }
}

void stack(Backend& backend, Measure& measure, const Size& size, const Told& told) {
  const auto value = static_cast<double>(size_of(backend.activation_type()));
  const auto rows = static_cast<double>(size.length), width = static_cast<double>(size.width);
  std::vector<PlanBlock> blocks;
  for (const HyenaOperator op :
       {HyenaOperator::SE, HyenaOperator::MR, HyenaOperator::LI, HyenaOperator::SE, HyenaOperator::MR})
    blocks.push_back(block_of(hyena(op, size.width), size.width));
  blocks.push_back(block_of(attention(size.width), size.width));
  const PlanModel plan = model_of(std::move(blocks), size.width);
  const PlanRun run = run_of(size);
  const ParameterTable table(plan, 0.02);
  ParameterStore store(table, backend, ParameterStore::Keep::optimizer);
  const RankGroups ranks = only_rank(backend);
  Model model(plan, {1, size.length, false, true}, table, backend, ranks);
  model.allocate();
  store.initialise(1, size.length);
  TrainingStep step(run, model, store, ranks, backend, recording_wanted());
  const SampleBatch batch = random_batch(size.length, kVocab);
  // Past the steps that run as they are before one is recorded.
  for (int i = 0; i < TrainingStep::kWarmUp; ++i) step.run(batch, 1 + i, run.optimizer.lr);

  std::vector<Cost> costs = {loss_cost(rows, value), norm_cost(rows, width, value),
                             norm_cost(rows, width, value)};
  for (int product = 0; product < 3; ++product)
    costs.push_back(dense_cost(rows, width, static_cast<double>(kVocab), value, false));
  for (const PlanBlock& block : plan.blocks)
    for (const bool backward : {false, true})
      append(costs, block_costs(block, size.width, size.length, value, backward));
  // A pass overwrites the tokens once it needs them no more.
  const auto prepare = [&] {
    model.upload({batch.tokens.data(), batch.targets.data(), batch.weights.data()});
  };
  told("forward + backward of the model", measure.median([&] { model.train_uploaded(store, 1); }, prepare),
       costs);
  costs.push_back(adamw_cost(static_cast<double>(table.count()), backend.activation_type()));
  told(step.replaying() ? "training step (recorded)" : "training step",
       measure.median([&] { step.run(batch, 10, run.optimizer.lr); }), costs);
}

}  // namespace striped::bench
