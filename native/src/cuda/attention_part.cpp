// Attention of one piece of a sequence to the keys of another, on top of what earlier pieces gave.
#include "attention.h"
#include "operators.h"

namespace striped::cuda {
namespace {

// q[heads, queries, head_dim], kv[2, kv_heads, keys, head_dim] and y[queries, heads·head_dim], or arrays of
// those shapes; data is theirs.
struct PartStrides {
  HeadStrides q, kv, y;
  std::int64_t v;  // from the first key to the first value

  explicit PartStrides(const AttentionPart& p)
      : q{0, p.queries * p.head_dim, p.head_dim},
        kv{0, p.keys * p.head_dim, p.head_dim},
        y{0, p.head_dim, std::int64_t{p.heads} * p.head_dim},
        v(p.kv_heads * kv.head) {}
};

const void* skip(const void* data, std::int64_t values, ElementType type) {
  return static_cast<const char*>(data) + values * (type == ElementType::bf16 ? 2 : 4);
}

}  // namespace

std::size_t Attention::part_workspace(const AttentionPart& p) {
  return static_cast<std::size_t>(p.heads * p.queries) * sizeof(float);
}

void Attention::part(const AttentionPart& p, const void* q, const void* kv, bool first, float* y,
                     float* statistics, void*) {
  const PartStrides strides(p);
  attention_plain(context_, 1, p, {q, strides.q}, {kv, strides.kv},
                  {skip(kv, strides.v, context_.type), strides.kv}, {y, strides.y}, statistics,
                  first ? Results::real : Results::more);
}

void Attention::part_backward(const AttentionPart& p, const void* q, const void* kv, const void* y,
                              const float* statistics, const void* dy, float* dq, float* dkv,
                              void* workspace) {
  const PartStrides strides(p);
  attention_plain_backward(context_, 1, p, {q, strides.q}, {kv, strides.kv},
                           {skip(kv, strides.v, context_.type), strides.kv}, {y, strides.y}, statistics,
                           {dy, strides.y},
                           {{dq, strides.q}, {dkv, strides.kv}, {dkv + strides.v, strides.kv}, Results::more},
                           static_cast<float*>(workspace));
}

}  // namespace striped::cuda
