#include "core/model.h"

#include <algorithm>

namespace striped {
namespace {

// Logits are made for about this many values at a time.
constexpr std::int64_t kLogitsAtOnce = std::int64_t{1} << 22;
constexpr std::int64_t kFewestRows = 128;

// Of a block in the parameter table.
int unit_of(std::size_t block) { return static_cast<int>(block) + 1; }

}  // namespace

Model::Model(const PlanModel& plan, const Options& options, const ParameterTable& table, Backend& backend,
             const RankGroups& ranks)
    : backend_(backend),
      ranks_(ranks),
      options_(options),
      shape_{options.batch, options.length / ranks.place.context.count, plan.width, plan.norm_eps,
             ranks.place},
      vocab_(plan.vocab),
      value_(size_of(backend.activation_type())),
      real_(size_of(real_type(backend.activation_type()))),
      embedding_(table.find("embedding.weight")) {
  const auto rows = static_cast<std::size_t>(shape_.stream_rows());
  const auto stream = rows * static_cast<std::size_t>(plan.width) * value_;
  tokens_ = train_arena_.add("tokens", rows * sizeof(std::int32_t));
  targets_ = train_arena_.add("targets", rows * sizeof(std::int32_t));
  weights_ = train_arena_.add("weights", rows * sizeof(float));
  for (Arena::Buffer& embedded : embedded_) embedded = train_arena_.add("embedded", stream);
  gradient_ = train_arena_.add("gradient", stream);
  make_blocks(plan, table);
  make_head(plan, table);
  trace();
}

void Model::make_blocks(const PlanModel& plan, const ParameterTable& table) {
  int site = 0;
  for (std::size_t i = 0; i < plan.blocks.size(); ++i) {
    const PlanBlock& block = plan.blocks[i];
    const std::string prefix = "blocks." + std::to_string(i) + ".";
    std::vector<SublayerPlan> plans;
    std::visit(
        [&](const auto& mixer) {
          plans.push_back({prefix + "norm1", prefix + "mixer.", mixer, options_.recompute_blocks});
        },
        block.mixer);
    if (const auto* mlp = std::get_if<PlanGatedMlp>(&block.ffn))
      plans.push_back({prefix + "norm2", prefix + "ffn.", *mlp, options_.recompute_blocks});
    else if (const auto* hyena = std::get_if<PlanHyena>(&block.ffn))
      plans.push_back({prefix + "norm2", prefix + "ffn.", *hyena, options_.recompute_blocks});
    std::vector<Sublayer>& sublayers = blocks_.emplace_back();
    for (const SublayerPlan& each : plans) {
      sublayers.emplace_back(each, shape_, table, backend_, train_arena_, site);
      workspace_bytes_ = std::max(workspace_bytes_, sublayers.back().workspace_bytes());
    }
  }
}

void Model::make_head(const PlanModel& plan, const ParameterTable& table) {
  const std::int64_t rows = shape_.stream_rows();
  const std::int64_t chunk = std::min(rows, std::max(kFewestRows, kLogitsAtOnce / vocab_));
  const auto stream = static_cast<std::size_t>(rows * plan.width) * value_;
  head_.reciprocal_rms = train_arena_.add("norm.reciprocal_rms", static_cast<std::size_t>(rows) * real_);
  head_.normed = train_arena_.add("norm.normed", stream);
  head_.logits = train_arena_.add("logits", static_cast<std::size_t>(chunk * vocab_) * value_);
  head_.d_normed = train_arena_.add("norm.d_normed", stream);
  head_.shape = {chunk, plan.width, plan.vocab};
  head_.norm = table.find("norm.weight");
  head_.unembedding = plan.tied_embeddings ? embedding_ : table.find("unembedding.weight");
}

void Model::trace() {
  forward_arena_ = train_arena_;
  const MicroBatch nothing{};
  if (options_.training) {
    TracingBackend train_trace(backend_);
    const RankGroups traced = traced_ranks(train_trace, ranks_.place);
    const Execution run(train_trace, traced, train_arena_);
    upload_on(run, nothing);
    train_on(run, 1);
    train_arena_.place();
  }
  TracingBackend forward_trace(backend_);
  const RankGroups traced = traced_ranks(forward_trace, ranks_.place);
  // logits() makes a part of the same calls in the same order, so the lifetimes serve it too.
  const Execution run(forward_trace, traced, forward_arena_);
  upload_on(run, nothing);
  evaluate_on(run);
  forward_arena_.place();
}

std::size_t Model::arena_bytes() const { return std::max(train_arena_.size(), forward_arena_.size()); }

std::size_t Model::constant_bytes() const {
  std::size_t bytes = 0;
  for (const auto& block : blocks_)
    for (const Sublayer& sublayer : block) bytes += sublayer.constant_bytes();
  return bytes;
}

void Model::allocate() {
  memory_ = DeviceBuffer(backend_, arena_bytes());
  loss_ = DeviceBuffer(backend_, sizeof(double));
}

void Model::clear_loss() { loss_.zero(); }

double Model::loss_sum() {
  double wide = 0;
  float single = 0;
  if (real_ == sizeof wide)
    backend_.download(&wide, loss_.at(), sizeof wide);
  else
    backend_.download(&single, loss_.at(), sizeof single);
  return real_ == sizeof wide ? wide : double{single};
}

void Model::train(const ParameterStore& store, const MicroBatch& batch, float total_weight) {
  upload(batch);
  train_uploaded(store, total_weight);
}

void Model::upload(const MicroBatch& batch) {
  upload_on(Execution(backend_, ranks_, train_arena_, memory_.at()), batch);
}

void Model::train_uploaded(const ParameterStore& store, float total_weight) {
  train_on(Execution(backend_, ranks_, store, train_arena_, memory_.at()), total_weight);
}

void Model::evaluate(const ParameterStore& store, const MicroBatch& batch) {
  const Execution run(backend_, ranks_, store, forward_arena_, memory_.at());
  upload_on(run, batch);
  evaluate_on(run);
}

void Model::logits(const ParameterStore& store, const std::int32_t* tokens, const LogitsSink& sink) {
  logits_on(Execution(backend_, ranks_, store, forward_arena_, memory_.at()), tokens, sink);
}

void Model::upload_tokens(const Execution& run, const std::int32_t* tokens) {
  run.backend.upload(run.at(tokens_), tokens,
                     static_cast<std::size_t>(shape_.stream_rows()) * sizeof *tokens);
}

void Model::upload_on(const Execution& run, const MicroBatch& batch) {
  const auto rows = static_cast<std::size_t>(shape_.stream_rows());
  upload_tokens(run, batch.tokens);
  run.backend.upload(run.at(targets_), batch.targets, rows * sizeof *batch.targets);
  run.backend.upload(run.at(weights_), batch.weights, rows * sizeof *batch.weights);
}

Stream Model::embed(const Execution& run, int pass) {
  const Arena::Buffer embedded = embedded_[pass];
  run.backend.embedding(shape_.stream_rows(), shape_.width, static_cast<const std::int32_t*>(run.at(tokens_)),
                        run.weight(embedding_), run.at(embedded));
  return {embedded, -1};
}

// From tokens to the stream behind the last block.
Stream Model::forward(const Execution& run) {
  run.need(0);
  Stream stream = embed(run, Sublayer::kForward);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    run.need(unit_of(i));
    for (Sublayer& sublayer : blocks_[i]) stream = sublayer.forward(run, Sublayer::kForward, stream);
  }
  return stream;
}

void Model::normalise(const Execution& run, const Stream& stream) {
  head_.sum = stream.branch;
  run.backend.rms_norm(shape_.stream_rows(), shape_.width, shape_.norm_eps, run.at(stream.sum),
                       run.at(stream.branch), run.weight(head_.norm), run.at(head_.sum), run.at(head_.normed),
                       run.at(head_.reciprocal_rms));
}

DenseShape Model::head_chunk(std::int64_t first) const {
  DenseShape chunk = head_.shape;
  chunk.rows = std::min(chunk.rows, shape_.stream_rows() - first);
  return chunk;
}

// Makes the logits chunk by chunk.
void Model::for_each_chunk(const Execution& run,
                           const std::function<void(std::int64_t, const DenseShape&)>& visit) {
  for (std::int64_t first = 0; first < shape_.stream_rows(); first += head_.shape.rows) {
    const DenseShape chunk = head_chunk(first);
    const std::size_t byte = static_cast<std::size_t>(first * shape_.width) * value_;
    run.backend.dense(chunk, run.at(head_.normed, byte), run.weight(head_.unembedding), nullptr,
                      run.at(head_.logits));
    visit(first, chunk);
  }
}

void Model::evaluate_on(const Execution& run) {
  normalise(run, forward(run));
  for_each_chunk(run, [&](std::int64_t first, const DenseShape& chunk) {
    const std::size_t byte = static_cast<std::size_t>(first) * 4;
    run.backend.cross_entropy(chunk.rows, vocab_, run.at(head_.logits),
                              static_cast<const std::int32_t*>(run.at(targets_, byte)),
                              static_cast<const float*>(run.at(weights_, byte)), 1, false, loss_.at());
  });
}

void Model::logits_on(const Execution& run, const std::int32_t* tokens, const LogitsSink& sink) {
  upload_tokens(run, tokens);
  normalise(run, forward(run));
  for_each_chunk(run, [&](std::int64_t first, const DenseShape& chunk) {
    sink(first, chunk.rows, run.at(head_.logits));
  });
}

void Model::head_training(const Execution& run, float total_weight) {
  for_each_chunk(run, [&](std::int64_t first, const DenseShape& chunk) {
    const std::size_t byte = static_cast<std::size_t>(first) * 4;
    const std::size_t value_byte = static_cast<std::size_t>(first * shape_.width) * value_;
    run.backend.cross_entropy(
        chunk.rows, vocab_, run.at(head_.logits), static_cast<const std::int32_t*>(run.at(targets_, byte)),
        static_cast<const float*>(run.at(weights_, byte)), total_weight, true, loss_.at());
    run.backend.dense_weight_gradient(chunk, run.at(head_.logits), run.at(head_.normed, value_byte),
                                      run.gradient(head_.unembedding), nullptr, true);
    run.backend.dense_input_gradient(chunk, run.at(head_.logits), run.weight(head_.unembedding),
                                     run.at(head_.d_normed, value_byte), false);
  });
}

void Model::train_on(const Execution& run, float total_weight) {
  normalise(run, forward(run));
  run.begin_gradients(0);
  head_training(run, total_weight);
  backward(run);
}

void Model::backward(const Execution& run) {
  const std::size_t bytes = static_cast<std::size_t>(shape_.stream_rows() * shape_.width) * value_;
  run.backend.zero(run.at(gradient_), bytes);
  run.backend.rms_norm_backward(shape_.stream_rows(), shape_.width, run.at(head_.sum), run.weight(head_.norm),
                                run.at(head_.reciprocal_rms), run.at(head_.d_normed), run.at(gradient_),
                                run.gradient(head_.norm));
  for (std::size_t i = blocks_.size(); i-- > 0;) {
    run.need(unit_of(i));
    run.begin_gradients(unit_of(i));
    block_backward(run, i);
    run.end_gradients(unit_of(i));
  }
  run.backend.embedding_gradient(shape_.stream_rows(), shape_.width, vocab_,
                                 static_cast<const std::int32_t*>(run.at(tokens_)), run.at(gradient_),
                                 run.gradient(embedding_));
  run.end_gradients(0);
}

void Model::block_backward(const Execution& run, std::size_t index) {
  std::vector<Sublayer>& block = blocks_[index];
  if (options_.recompute_blocks) {
    Stream stream = index == 0 ? embed(run, Sublayer::kAgain) : block.front().kept_input();
    for (Sublayer& sublayer : block)
      stream = sublayer.forward(run, Sublayer::kAgain, stream, &sublayer != &block.back());
  }
  for (auto sublayer = block.rbegin(); sublayer != block.rend(); ++sublayer)
    sublayer->backward(run, gradient_);
}

}  // namespace striped
