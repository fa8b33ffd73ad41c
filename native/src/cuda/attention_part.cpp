// Attention of one piece of a sequence to the keys of another, on top of what earlier pieces gave.
#include <algorithm>

#include "attention.h"
#include "operators.h"
#include "parallel/carver.h"
#include "rows.h"

namespace striped::cuda {
namespace {

// q[heads, queries, head_dim], kv[2, kv_heads, keys, head_dim] and y[queries, heads·head_dim], or arrays of
// those shapes; data is theirs.
struct PartStrides {
  HeadStrides q, kv, y;
  std::int64_t v;  // from the first key to the first value

  explicit PartStrides(const AttentionPart& p)
      : q{p.heads * p.queries * p.head_dim, p.queries * p.head_dim, p.head_dim},
        kv{2 * p.kv_heads * p.keys * p.head_dim, p.keys * p.head_dim, p.head_dim},
        y{p.heads * p.queries * p.head_dim, p.head_dim, std::int64_t{p.heads} * p.head_dim},
        v(p.kv_heads * kv.head) {}
};

// All keys, those up to a query's own row of the same piece, or others.
enum class Sight { all, causal, other };

Sight sight(const AttentionPart& p) {
  if (p.offset == 0 && p.queries == p.keys) return Sight::causal;
  const bool all_before = p.offset >= p.keys - 1;
  const bool all_near = p.window == 0 || p.offset + p.queries - 1 < p.window;
  return all_before && all_near ? Sight::all : Sight::other;
}

// Results of the fused kernels for some keys alone, before they join what there is, and scratch.
struct ForwardPlaces : parallel::Carver {
  ForwardPlaces(const AttentionPart& p, const FusedAttention& plan, void* base)
      : Carver(base),
        y(take(p.heads * p.queries * p.head_dim, DType::bf16)),
        statistics(static_cast<float*>(take(p.heads * p.queries, DType::f32))),
        scratch(take_bytes(plan.forward_workspace())) {}
  void* y;
  float* statistics;
  void* scratch;
};
struct BackwardPlaces : parallel::Carver {
  BackwardPlaces(const AttentionPart& p, const FusedAttention& plan, void* base)
      : Carver(base),
        queries(p.heads * p.queries * p.head_dim),
        keys(2 * p.kv_heads * p.keys * p.head_dim),
        dq(take(queries, DType::bf16)),
        dkv(take(keys, DType::bf16)),
        scratch(take_bytes(plan.backward_workspace())) {}
  std::int64_t queries, keys;
  void *dq, *dkv, *scratch;
};

const void* skip(const void* data, std::int64_t values, ElementType type) {
  return static_cast<const char*>(data) + values * (type == ElementType::bf16 ? 2 : 4);
}

}  // namespace

const FusedAttention* Attention::fused(const AttentionPart& p) {
  const Sight seen = sight(p);
  // Statistics of every head and piece must lie at multiples of 16 bytes.
  if (seen == Sight::other || p.queries % 4 != 0) return nullptr;
  const PartStrides strides(p);
  const bool causal = seen == Sight::causal;
  return fused({1, p.queries, p.keys, p.heads, p.kv_heads, p.head_dim, causal, causal ? p.window : 0,
                strides.q, strides.kv, strides.kv, strides.y, strides.q, strides.kv, strides.kv});
}

std::size_t Attention::part_workspace(const AttentionPart& p) {
  std::size_t bytes = static_cast<std::size_t>(p.heads * p.queries) * sizeof(float);
  for (const std::int64_t offset : {std::int64_t{0}, p.keys - 1}) {
    AttentionPart part = p;
    part.offset = offset;
    if (const FusedAttention* plan = fused(part)) {
      bytes = std::max(
          {bytes, ForwardPlaces(p, *plan, nullptr).used(), BackwardPlaces(p, *plan, nullptr).used()});
    }
  }
  return bytes;
}

void Attention::part(const AttentionPart& p, const void* q, const void* kv, bool first, float* y,
                     float* statistics, void* workspace) {
  const PartStrides strides(p);
  const void* const v = skip(kv, strides.v, context_.type);
  if (const FusedAttention* plan = fused(p)) {
    const ForwardPlaces places(p, *plan, workspace);
    FusedAttention::Arrays arrays{};
    arrays.q = q, arrays.k = kv, arrays.v = v;
    arrays.output = places.y, arrays.statistics = places.statistics;
    plan->forward(arrays, places.scratch);
    attention_merge(context_, p, places.y, places.statistics, first, y, statistics);
  } else {
    attention_plain(context_, 1, p, {q, strides.q}, {kv, strides.kv}, {v, strides.kv}, {y, strides.y},
                    statistics, first ? Results::real : Results::more);
  }
}

void Attention::part_backward(const AttentionPart& p, const void* q, const void* kv, const void* y,
                              const float* statistics, const void* dy, float* dq, float* dkv,
                              void* workspace) {
  const PartStrides strides(p);
  const void* const v = skip(kv, strides.v, context_.type);
  if (const FusedAttention* plan = fused(p)) {
    const BackwardPlaces places(p, *plan, workspace);
    void* const dv = static_cast<char*>(places.dkv) + strides.v * size_of(DType::bf16);
    plan->backward({q, kv, v, y, dy, places.dq, places.dkv, dv, nullptr, const_cast<float*>(statistics)},
                   places.scratch);
    add_to_real(places.queries, context_.type, places.dq, dq, context_.stream);
    add_to_real(places.keys, context_.type, places.dkv, dkv, context_.stream);
  } else {
    attention_plain_backward(
        context_, 1, p, {q, strides.q}, {kv, strides.kv}, {v, strides.kv}, {y, strides.y}, statistics,
        {dy, strides.y}, {{dq, strides.q}, {dkv, strides.kv}, {dkv + strides.v, strides.kv}, Results::more},
        static_cast<float*>(workspace));
  }
}

}  // namespace striped::cuda
