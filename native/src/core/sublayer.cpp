#include "core/sublayer.h"

#include <algorithm>

namespace striped {
namespace {

// Enough rows to fill any device's matrix units.
constexpr std::int64_t kSlice = 16384;

template <typename... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <typename... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

HyenaKind kind_of(HyenaOperator op) {
  if (op == HyenaOperator::SE) return HyenaKind::short_explicit;
  return op == HyenaOperator::MR ? HyenaKind::medium_regularised : HyenaKind::long_implicit;
}

Activation activation_of(const std::string& name) {
  if (name == "silu") return Activation::silu;
  return name == "gelu" ? Activation::gelu : Activation::identity;
}

DenseShape of_rows(DenseShape shape, std::int64_t rows) {
  shape.rows = rows;
  return shape;
}

}  // namespace

Sublayer::Sublayer(const SublayerPlan& plan, const ModelShape& shape, const ParameterTable& table,
                   Backend& backend, Arena& arena, int& site)
    : shape_(shape),
      boundary_(shape, backend.activation_type()),
      slice_(shape.rows()),
      value_(size_of(backend.activation_type())),
      kept_pass_(plan.recompute ? kAgain : kForward) {
  norm_ = table.find(plan.norm + ".weight");
  make_body(plan, table, backend);
  if (shape.place.context.count > 1) make_context(plan, backend);
  in_.site = site++;
  out_.site = site++;
  in_.allow_fp8 = out_.allow_fp8 = true;
  make_buffers(plan, backend, arena);
}

// Shapes are this rank's: all rows, and its share of the channels, groups and heads.
void Sublayer::make_body(const SublayerPlan& plan, const ParameterTable& table, Backend& backend) {
  const std::int64_t rows = shape_.rows(), width = shape_.width;
  const auto projections = [&](const char* in, const char* out, bool bias) {
    in_weight_ = table.find(plan.prefix + in);
    out_weight_ = table.find(plan.prefix + out);
    out_bias_ = bias ? table.find(plan.prefix + "out_proj.bias") : -1;
    out_bias_gradient_ = out_bias_;
    // One of the summands has the bias. Its gradient is summed over all rows, which every rank has; where the
    // ranks' gradients are summed again, one has it.
    if (shape_.place.tensor.index > 0) out_bias_ = -1;
    if (shape_.place.tensor.index > 0 && shape_.place.sequence) out_bias_gradient_ = -1;
  };
  if (const auto* hyena = std::get_if<PlanHyena>(&plan.body)) {
    projections("in_proj.weight", "out_proj.weight", hyena->bias);
    const std::int64_t channels = shape_.share(width);
    in_ = {rows, width, 3 * channels};
    out_ = {rows, channels, width};
    const bool modal = hyena->op == HyenaOperator::LI;
    body_ = Hyena{{kind_of(hyena->op), shape_.batch, shape_.length, channels, shape_.share(hyena->groups),
                   hyena->featurizer_taps, hyena->taps, hyena->order, hyena->skip},
                  table.find(plan.prefix + "featurizer.weight"),
                  modal ? -1 : table.find(plan.prefix + "filter"),
                  hyena->skip ? table.find(plan.prefix + "skip") : -1,
                  modal ? table.find(plan.prefix + "residues") : -1,
                  modal ? table.find(plan.prefix + "log_poles") : -1,
                  nullptr};
    if (hyena->decay) {
      const auto filter = static_cast<std::size_t>(std::get<Hyena>(body_).filter);
      upload_decay(*hyena, table.parameters()[filter], backend);
    }
  } else if (const auto* attention = std::get_if<PlanAttention>(&plan.body)) {
    projections("in_proj.weight", "out_proj.weight", attention->bias);
    const auto heads = static_cast<int>(shape_.share(attention->heads));
    const auto kv_heads = static_cast<int>(shape_.share(attention->kv_heads));
    const std::int64_t dim = attention->head_dim;
    in_ = {rows, width, (heads + 2 * std::int64_t{kv_heads}) * dim};
    out_ = {rows, heads * dim, width};
    body_ =
        Attention{{shape_.batch, shape_.length, heads, kv_heads, attention->head_dim, attention->window,
                   attention->rope ? attention->rope->base : 0, attention->rope ? attention->rope->scale : 1},
                  nullptr};
  } else {
    const auto& mlp = std::get<PlanGatedMlp>(plan.body);
    projections("gate.weight", "down.weight", false);
    const std::int64_t inner = shape_.share(mlp.inner);
    in_ = {rows, width, 2 * inner};  // up lies right behind gate
    out_ = {rows, inner, width};
    body_ = Gated{inner, activation_of(mlp.activation)};
    if (plan.recompute) slice_ = std::min(slice_, kSlice);
  }
}

// Of operators that work over the context ranks together.
void Sublayer::make_context(const SublayerPlan& plan, Backend& backend) {
  const parallel::Spread& spread = shape_.place.spread;
  const std::int64_t length = shape_.length * shape_.place.context.count;
  const parallel::Sharding sharding = shape_.place.sharding(length);
  if (auto* hyena = std::get_if<Hyena>(&body_)) {
    HyenaShape whole = hyena->shape;
    whole.length = length;
    const auto strategy = strategy_of(spread, std::get<PlanHyena>(plan.body).op);
    hyena->context = parallel::make_context_hyena(strategy, whole, sharding, backend);
  } else if (auto* attention = std::get_if<Attention>(&body_)) {
    AttentionShape whole = attention->shape;
    whole.length = length;
    attention->context = parallel::make_context_attention(spread.mha, whole, sharding, backend);
  }
}

void Sublayer::make_buffers(const SublayerPlan& plan, Backend& backend, Arena& arena) {
  const std::size_t real = size_of(real_type(backend.activation_type()));
  const auto rows = static_cast<std::size_t>(shape_.rows());
  const auto slice = static_cast<std::size_t>(slice_);
  const auto stream_rows = static_cast<std::size_t>(shape_.stream_rows());
  const auto stream = stream_rows * static_cast<std::size_t>(shape_.width) * value_;
  const auto whole = rows * static_cast<std::size_t>(shape_.width) * value_;
  const auto hidden = slice * static_cast<std::size_t>(in_.out) * value_;
  const auto inner = slice * static_cast<std::size_t>(out_.in) * value_;
  std::size_t kept = 0, context = 0;
  if (const auto* hyena = std::get_if<Hyena>(&body_)) {
    const parallel::ContextHyena* const ranks = hyena->context.get();
    workspace_bytes_ = ranks ? ranks->workspace_bytes() : backend.hyena_workspace(hyena->shape);
    if (ranks) {
      context = ranks->kept_bytes();
    } else {
      kept = backend.hyena_kept(hyena->shape);
    }
  }
  if (const auto* attention = std::get_if<Attention>(&body_)) {
    const parallel::ContextAttention* const ranks = attention->context.get();
    workspace_bytes_ = ranks ? ranks->workspace_bytes() : backend.attention_workspace(attention->shape);
    if (ranks) context = ranks->kept_bytes();
    kept = rows * static_cast<std::size_t>(attention->shape.heads) * real;
  }
  const std::string& prefix = plan.prefix;
  for (int pass = 0; pass < 2; ++pass) {
    saved_[pass] = {-1,  // where the stream is summed
                    arena.add(prefix + "reciprocal_rms", stream_rows * real),
                    arena.add(prefix + "normed", stream),
                    arena.add(prefix + "entered", whole),
                    arena.add(prefix + "hidden", hidden),
                    arena.add(prefix + "inner", inner),
                    arena.add(prefix + "kept", kept),
                    arena.add(prefix + "context", context),
                    arena.add(prefix + "partial", whole),
                    arena.add(prefix + "branch", stream)};
    forward_workspace_[pass] = arena.add(prefix + "workspace", workspace_bytes_);
  }
  const Saved& saved = saved_[kept_pass_];
  d_inner_ = arena.add(prefix + "d_inner", inner);
  d_hidden_ = gradient_in_place() ? saved.hidden : arena.add(prefix + "d_hidden", hidden);
  backward_workspace_ = arena.add(prefix + "workspace", workspace_bytes_);
  all_gradient_ = arena.add(prefix + "all_gradient", whole);
  all_normed_ = arena.add(prefix + "all_normed", whole);
  // Slices that are done with leave their places to their gradients.
  d_normed_ = sliced() ? saved.normed : arena.add(prefix + "d_normed", stream);
  all_d_normed_ = sliced() ? all_normed_ : arena.add(prefix + "all_d_normed", whole);
}

void Sublayer::upload_decay(const PlanHyena& hyena, const Parameter& filter, Backend& backend) {
  const std::vector<double> factors = filter.part_of(decay_factors(hyena));
  if (backend.activation_type() == DType::f64) {
    decay_ = DeviceBuffer(backend, factors.size() * sizeof(double));
    backend.upload(decay_.at(), factors.data(), decay_.bytes());
  } else {
    const std::vector<float> single(factors.begin(), factors.end());
    decay_ = DeviceBuffer(backend, single.size() * sizeof(float));
    backend.upload(decay_.at(), single.data(), decay_.bytes());
  }
}

HyenaWeights Sublayer::hyena_weights(const Execution& run, const Hyena& hyena) const {
  return {
      run.weight(hyena.featurizer), run.weight(hyena.filter),   decay_.bytes() > 0 ? decay_.at() : nullptr,
      run.weight(hyena.skip),       run.weight(hyena.residues), run.weight(hyena.log_poles)};
}

template <typename Visit>
void Sublayer::for_each_slice(const Visit& visit) const {
  for (std::int64_t first = 0; first < shape_.rows(); first += slice_)
    visit(first, std::min(slice_, shape_.rows() - first));
}

std::size_t Sublayer::row_byte(std::int64_t row) const {
  return static_cast<std::size_t>(row * shape_.width) * value_;
}

void Sublayer::project_in(const Execution& run, const Saved& saved, Arena::Buffer entered, std::int64_t first,
                          std::int64_t rows) {
  run.backend.dense(of_rows(in_, rows), run.at(entered, row_byte(first)), run.weight(in_weight_), nullptr,
                    run.at(saved.hidden));
  inner_forward(run, saved, rows);
}

HyenaGradients Sublayer::hyena_gradients(const Execution& run, const Hyena& hyena) const {
  return {run.gradient(hyena.featurizer), run.gradient(hyena.filter), run.gradient(hyena.skip),
          run.gradient(hyena.residues), run.gradient(hyena.log_poles)};
}

void Sublayer::hyena_forward(const Execution& run, const Hyena& hyena, const Saved& saved,
                             Arena::Buffer workspace) const {
  const HyenaWeights weights = hyena_weights(run, hyena);
  const void* const z = run.at(saved.hidden);
  void* const y = run.at(saved.inner);
  if (!hyena.context)
    return run.backend.hyena(hyena.shape, weights, z, y, run.at(saved.kept), run.at(workspace));
  const parallel::ContextBuffers buffers{run.at(saved.context), run.at(workspace)};
  run.call([&] { hyena.context->forward(*run.ranks.context, weights, z, y, buffers); });
}

void Sublayer::hyena_backward(const Execution& run, const Hyena& hyena, const Saved& saved) const {
  const HyenaWeights weights = hyena_weights(run, hyena);
  const HyenaGradients gradients = hyena_gradients(run, hyena);
  const void *const z = run.at(saved.hidden), *const dy = run.at(d_inner_);
  void *const dz = run.at(d_hidden_), *const workspace = run.at(backward_workspace_);
  if (!hyena.context) {
    return run.backend.hyena_backward(hyena.shape, weights, z, run.at(saved.kept), dy, dz, gradients,
                                      workspace);
  }
  const parallel::ContextBuffers buffers{run.at(saved.context), workspace};
  run.call([&] { hyena.context->backward(*run.ranks.context, weights, z, dy, dz, gradients, buffers); });
}

void Sublayer::attention_forward(const Execution& run, const Attention& attention, const Saved& saved,
                                 Arena::Buffer workspace) const {
  const void* const qkv = run.at(saved.hidden);
  void *const y = run.at(saved.inner), *const statistics = run.at(saved.kept);
  if (!attention.context)
    return run.backend.attention(attention.shape, qkv, y, statistics, run.at(workspace));
  const parallel::ContextBuffers buffers{run.at(saved.context), run.at(workspace)};
  run.call([&] { attention.context->forward(*run.ranks.context, qkv, y, statistics, buffers); });
}

bool Sublayer::gradient_in_place() const {
  const auto* const attention = std::get_if<Attention>(&body_);
  return attention && attention->context && attention->context->in_place();
}

void Sublayer::attention_backward(const Execution& run, const Attention& attention,
                                  const Saved& saved) const {
  const void* const qkv = run.at(saved.hidden);
  const void* const y = gradient_in_place() ? nullptr : run.at(saved.inner);
  const void *const statistics = run.at(saved.kept), *const dy = run.at(d_inner_);
  void *const dqkv = run.at(d_hidden_), *const workspace = run.at(backward_workspace_);
  if (!attention.context)
    return run.backend.attention_backward(attention.shape, qkv, y, statistics, dy, dqkv, workspace);
  const parallel::ContextBuffers buffers{run.at(saved.context), workspace};
  run.call([&] { attention.context->backward(*run.ranks.context, qkv, y, statistics, dy, dqkv, buffers); });
}

void Sublayer::inner_forward(const Execution& run, const Saved& saved, std::int64_t rows) {
  const Arena::Buffer workspace = forward_workspace_[&saved == &saved_[kForward] ? kForward : kAgain];
  std::visit(
      Overloaded{[&](const Hyena& hyena) { hyena_forward(run, hyena, saved, workspace); },
                 [&](const Attention& attention) { attention_forward(run, attention, saved, workspace); },
                 [&](const Gated& gated) {
                   run.backend.gated(rows, gated.inner, gated.activation, run.at(saved.hidden),
                                     run.at(saved.inner));
                 }},
      body_);
}

void Sublayer::inner_backward(const Execution& run, const Saved& saved, std::int64_t rows) {
  std::visit(Overloaded{[&](const Hyena& hyena) { hyena_backward(run, hyena, saved); },
                        [&](const Attention& attention) { attention_backward(run, attention, saved); },
                        [&](const Gated& gated) {
                          run.backend.gated_backward(rows, gated.inner, gated.activation,
                                                     run.at(saved.hidden), run.at(d_inner_),
                                                     run.at(d_hidden_));
                        }},
             body_);
}

Stream Sublayer::forward(const Execution& run, int pass, const Stream& in, bool with_branch) {
  Saved& saved = saved_[pass];
  Backend& backend = run.backend;
  const std::int64_t rows = shape_.stream_rows();
  if (in.branch < 0) {
    saved.sum = in.sum;
    backend.rms_norm(rows, shape_.width, shape_.norm_eps, run.at(in.sum), nullptr, run.weight(norm_), nullptr,
                     run.at(saved.normed), run.at(saved.reciprocal_rms));
  } else {
    saved.sum = in.branch;
    backend.rms_norm(rows, shape_.width, shape_.norm_eps, run.at(in.sum), run.at(in.branch),
                     run.weight(norm_), run.at(saved.sum), run.at(saved.normed),
                     run.at(saved.reciprocal_rms));
  }
  // Slices are not kept: the backward pass makes each again when it comes to it.
  if (sliced() && !with_branch) return {saved.sum, saved.branch};
  boundary_.enter(run, saved.normed, saved.entered);
  const Arena::Buffer entered = boundary_.inside(saved.entered, saved.normed);
  const Arena::Buffer partial = boundary_.inside(saved.partial, saved.branch);
  for_each_slice([&](std::int64_t first, std::int64_t slice) {
    project_in(run, saved, entered, first, slice);
    if (with_branch)
      backend.dense(of_rows(out_, slice), run.at(saved.inner), run.weight(out_weight_), run.weight(out_bias_),
                    run.at(partial, row_byte(first)));
  });
  if (with_branch) boundary_.leave(run, saved.partial, saved.branch);
  return {saved.sum, saved.branch};
}

void Sublayer::backward(const Execution& run, Arena::Buffer gradient) {
  const Saved& saved = saved_[kept_pass_];
  Backend& backend = run.backend;
  boundary_.enter(run, gradient, all_gradient_);
  boundary_.enter_aside(run, saved.normed, all_normed_);
  const Arena::Buffer d_out = boundary_.inside(all_gradient_, gradient);
  const Arena::Buffer normed = boundary_.inside(all_normed_, saved.normed);
  const Arena::Buffer d_normed = boundary_.inside(all_d_normed_, d_normed_);
  if (sliced()) boundary_.meet(run, all_normed_, saved.normed);
  for_each_slice([&](std::int64_t first, std::int64_t rows) {
    const std::size_t byte = row_byte(first);
    const DenseShape in = of_rows(in_, rows), out = of_rows(out_, rows);
    const bool accumulate = run.accumulates() || first > 0;
    if (sliced()) project_in(run, saved, normed, first, rows);
    backend.dense_weight_gradient(out, run.at(d_out, byte), run.at(saved.inner), run.gradient(out_weight_),
                                  run.gradient(out_bias_gradient_), accumulate);
    backend.dense_input_gradient(out, run.at(d_out, byte), run.weight(out_weight_), run.at(d_inner_), false);
    inner_backward(run, saved, rows);
    const auto weight_gradient = [&] {
      backend.dense_weight_gradient(in, run.at(d_hidden_), run.at(normed, byte), run.gradient(in_weight_),
                                    nullptr, accumulate);
    };
    if (sliced()) weight_gradient();
    backend.dense_input_gradient(in, run.at(d_hidden_), run.weight(in_weight_), run.at(d_normed, byte),
                                 false);
    if (sliced()) return;
    boundary_.meet(run, all_normed_, saved.normed);
    boundary_.leave_aside(run, all_d_normed_, d_normed_);
    weight_gradient();
  });
  if (sliced()) boundary_.leave_aside(run, all_d_normed_, d_normed_);
  boundary_.meet(run, all_d_normed_, d_normed_);
  backend.rms_norm_backward(shape_.stream_rows(), shape_.width, run.at(saved.sum), run.weight(norm_),
                            run.at(saved.reciprocal_rms), run.at(d_normed_), run.at(gradient),
                            run.gradient(norm_));
}

}  // namespace striped
