// The shapes that are measured, and what each operator costs at least.
#pragma once

#include "bench/measure.h"
#include "core/plan.h"
#include "core/sublayer.h"

namespace striped::bench {

constexpr int kFeaturizerTaps = 3, kShortTaps = 7, kMediumTaps = 128, kOrder = 16;
constexpr std::int64_t kGroupSize = 16, kVocab = 512;
constexpr double kNormEps = 1e-6;

// SE, MR: a filter for 16 channels; LI: one a channel.
PlanHyena hyena(HyenaOperator op, std::int64_t width);
HyenaShape hyena_shape(HyenaOperator op, std::int64_t width, std::int64_t length);
// Heads of 128 where they fit the width, else of 16; every head with keys and values of its own.
PlanAttention attention(std::int64_t width);
AttentionShape attention_shape(std::int64_t width, std::int64_t length);
// 11008 at a width of 4096, in proportion elsewhere, a multiple of 32.
std::int64_t mlp_inner(std::int64_t width);

// `value`: bytes of an activation.
Cost norm_cost(double rows, double width, double value);  // forward and backward each
Cost dense_cost(double rows, double in, double out, double value, bool fp8);
Cost gated_cost(double rows, double inner, double value, bool backward);
Cost hyena_cost(const HyenaShape& shape, double value, bool backward);
Cost attention_cost(const AttentionShape& shape, double value, bool backward);
Cost loss_cost(double rows, double value);
Cost adamw_cost(double parameters, DType activation);  // with the squared norm before it

// Of one block, mixer and gated MLP, each operator by itself.
std::vector<Cost> block_costs(const PlanBlock& block, std::int64_t width, std::int64_t length, double value,
                              bool backward);

}  // namespace striped::bench
