#include "bench/shapes.h"

#include <algorithm>

namespace striped::bench {

PlanHyena hyena(HyenaOperator op, std::int64_t width) {
  PlanHyena plan{op, op == HyenaOperator::LI ? width : width / kGroupSize, kFeaturizerTaps,
                 op != HyenaOperator::SE, false};
  if (op == HyenaOperator::LI)
    plan.order = kOrder;
  else
    plan.taps = op == HyenaOperator::SE ? kShortTaps : kMediumTaps;
  if (op == HyenaOperator::MR) plan.decay = PlanDecay{0, 2};
  return plan;
}

HyenaShape hyena_shape(HyenaOperator op, std::int64_t width, std::int64_t length) {
  const PlanHyena plan = hyena(op, width);
  const HyenaKind kind = op == HyenaOperator::SE   ? HyenaKind::short_explicit
                         : op == HyenaOperator::MR ? HyenaKind::medium_regularised
                                                   : HyenaKind::long_implicit;
  return {kind, 1, length, width, plan.groups, plan.featurizer_taps, plan.taps, plan.order, plan.skip};
}

PlanAttention attention(std::int64_t width) {
  const int dim = width % 128 == 0 ? 128 : 16, heads = static_cast<int>(width / dim);
  return {heads, heads, dim, 0, PlanRope{1e6, 1}, false};
}

AttentionShape attention_shape(std::int64_t width, std::int64_t length) {
  const PlanAttention plan = attention(width);
  return {1, length, plan.heads, plan.kv_heads, plan.head_dim, 0, plan.rope->base, plan.rope->scale};
}

std::int64_t mlp_inner(std::int64_t width) {
  return std::max<std::int64_t>(32, width * 11008 / 4096 / 32 * 32);
}

Cost norm_cost(double rows, double width, double value) {
  // Forward: x and branch in, sum and y out. Backward: sum, dy and dx in, dx out.
  return {4 * rows * width * value, 0};
}

Cost dense_cost(double rows, double in, double out, double value, bool fp8) {
  return {(rows * in + in * out + rows * out) * value, 2 * rows * in * out, fp8};
}

Cost gated_cost(double rows, double inner, double value, bool backward) {
  return {(backward ? 5 : 3) * rows * inner * value, 0};
}

Cost hyena_cost(const HyenaShape& shape, double value, bool backward) {
  const auto values = static_cast<double>(shape.batch * shape.length * shape.width);
  const double filter = shape.kind == HyenaKind::long_implicit ? 4.0 * shape.order : 2.0 * shape.taps;
  const double forward = values * (filter + 6.0 * shape.featurizer_taps + (shape.has_skip ? 4 : 2));
  return backward ? Cost{7 * values * value, 2 * forward} : Cost{4 * values * value, forward};
}

Cost attention_cost(const AttentionShape& shape, double value, bool backward) {
  const double inner = static_cast<double>(shape.heads) * shape.head_dim;
  const double values = static_cast<double>(shape.batch * shape.length) * inner;
  // Two products over the half of all pairs that causality leaves; backward has five.
  const double forward = 2 * values * static_cast<double>(shape.length);
  return backward ? Cost{8 * values * value, 2.5 * forward} : Cost{4 * values * value, forward};
}

Cost loss_cost(double rows, double value) { return {2 * rows * kVocab * value, 0}; }

Cost adamw_cost(double parameters, DType activation) {
  const auto real = static_cast<double>(size_of(real_type(activation)));
  const double copy = activation == DType::bf16 ? 2 : 0;
  // The norm reads the gradients; the update reads four arrays and writes three.
  return {parameters * (8 * real + copy), 0};
}

namespace {

void add_dense(std::vector<Cost>& costs, double rows, double in, double out, double value, bool backward) {
  for (int product = 0; product < (backward ? 2 : 1); ++product)
    costs.push_back(dense_cost(rows, in, out, value, true));
}

}  // namespace

std::vector<Cost> block_costs(const PlanBlock& block, std::int64_t width, std::int64_t length, double value,
                              bool backward) {
  const auto rows = static_cast<double>(length), channels = static_cast<double>(width);
  const auto inner = static_cast<double>(mlp_inner(width));
  std::vector<Cost> costs;
  costs.push_back(norm_cost(rows, channels, value));
  add_dense(costs, rows, channels, 3 * channels, value, backward);
  if (const auto* plan = std::get_if<PlanHyena>(&block.mixer))
    costs.push_back(hyena_cost(hyena_shape(plan->op, width, length), value, backward));
  else
    costs.push_back(attention_cost(attention_shape(width, length), value, backward));
  add_dense(costs, rows, channels, channels, value, backward);
  costs.push_back(norm_cost(rows, channels, value));
  add_dense(costs, rows, channels, 2 * inner, value, backward);
  costs.push_back(gated_cost(rows, inner, value, backward));
  add_dense(costs, rows, inner, channels, value, backward);
  return costs;
}

}  // namespace striped::bench
