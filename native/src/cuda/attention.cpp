#include "attention.h"

#include <algorithm>
#include <bit>
#include <cstdlib>

#include "cudnn_graph.h"
#include "device.h"
#include "operators.h"
#include "striped/error.h"

namespace striped::cuda {
namespace {

// Bytes of workspace that a backward pass with sums in a fixed order may take: a thirty-second of the
// device's memory, in powers of two. The more heads go together, the faster it is. The environment variable
// STRIPED_ATTENTION_WORKSPACE sets another number of MiB; 0 is fastest, and not reproducible.
std::size_t deterministic_limit() {
  if (const char* given = std::getenv("STRIPED_ATTENTION_WORKSPACE"))
    return static_cast<std::size_t>(std::strtoul(given, nullptr, 10)) << 20;
  return std::bit_floor(device_memory().total / 32);
}

std::size_t size_of_element(ElementType type) { return type == ElementType::bf16 ? 2 : 4; }

AttentionPart whole(const AttentionShape& s) {
  return {s.length, s.length, 0, s.heads, s.kv_heads, s.head_dim, s.window};
}

// Of rows with so many heads.
HeadStrides row_strides(const AttentionShape& s, int heads) {
  const std::int64_t row = std::int64_t{heads} * s.head_dim;
  return {s.length * row, s.head_dim, row};
}
HeadStrides packed_strides(const AttentionShape& s) { return row_strides(s, s.heads + 2 * s.kv_heads); }
HeadStrides output_strides(const AttentionShape& s) { return row_strides(s, s.heads); }
// Of q and k, which the rotary embedding takes to rows of their own.
HeadStrides rotated_strides(const AttentionShape& s) {
  return s.rope_base != 0 ? row_strides(s, s.heads + s.kv_heads) : packed_strides(s);
}

FusedShape fused_shape(const AttentionShape& s) {
  const HeadStrides rotated = rotated_strides(s), packed = packed_strides(s);
  return {s.batch, s.length, s.length, s.heads,           s.kv_heads, s.head_dim, true,  s.window,
          rotated, rotated,  packed,   output_strides(s), packed,     packed,     packed};
}

}  // namespace

// Where q, k and v are read from.
struct Attention::Heads {
  HeadView q, k, v;
};

Attention::Attention(Context& context) : context_(context), deterministic_limit_(deterministic_limit()) {
  if (context.type != ElementType::bf16) return;
  try {
    session_ = std::make_unique<cudnn::Session>(context.stream);
  } catch (const Error& error) {
    missing_ = error.what();
  }
}

Attention::~Attention() = default;

const FusedAttention* Attention::fused(const FusedShape& s) {
  if (!session_ || s.head_dim % 8 != 0 || s.batch == 0 || s.queries == 0 || s.keys == 0) return nullptr;
  const auto found = plans_.find(s);
  if (found != plans_.end()) return found->second.get();
  std::unique_ptr<FusedAttention> plan;
  try {
    plan = std::make_unique<FusedAttention>(*session_, s, deterministic_limit_);
  } catch (const Error& error) {
    missing_ = error.what();
  }
  return plans_.emplace(s, std::move(plan)).first->second.get();
}

std::size_t Attention::rotated_bytes(const AttentionShape& s) const {
  if (s.rope_base == 0) return 0;
  const std::size_t bytes = static_cast<std::size_t>(s.batch * s.length) * (s.heads + s.kv_heads) *
                            s.head_dim * size_of_element(context_.type);
  return (bytes + 255) / 256 * 256;
}

std::size_t Attention::workspace(const AttentionShape& s) {
  const FusedAttention* plan = fused(fused_shape(s));
  const std::size_t delta = static_cast<std::size_t>(s.batch * s.heads * s.length) * sizeof(float);
  return rotated_bytes(s) + (plan ? std::max(plan->forward_workspace(), plan->backward_workspace()) : delta);
}

Attention::Heads Attention::rotate(const AttentionShape& s, const void* qkv, void* workspace) {
  const std::size_t element = size_of_element(context_.type);
  const auto at = [&](const void* base, int head) {
    return static_cast<const void*>(static_cast<const char*>(base) +
                                    static_cast<std::size_t>(head) * s.head_dim * element);
  };
  const int rotated = s.heads + s.kv_heads;
  const HeadStrides packed = packed_strides(s), close = rotated_strides(s);
  if (s.rope_base == 0) return {{qkv, packed}, {at(qkv, s.heads), packed}, {at(qkv, rotated), packed}};
  rope(context_, s, {s.batch, s.length, 0, rotated, rotated}, {qkv, packed}, {workspace, close}, false);
  return {{workspace, close}, {at(workspace, s.heads), close}, {at(qkv, rotated), packed}};
}

void Attention::forward(const AttentionShape& s, const void* qkv, void* y, float* statistics,
                        void* workspace) {
  const Heads heads = rotate(s, qkv, workspace);
  if (const FusedAttention* plan = fused(fused_shape(s))) {
    FusedAttention::Arrays arrays{};
    arrays.q = heads.q.data, arrays.k = heads.k.data, arrays.v = heads.v.data;
    arrays.output = y, arrays.statistics = statistics;
    plan->forward(arrays, static_cast<char*>(workspace) + rotated_bytes(s));
  } else {
    attention_plain(context_, s.batch, whole(s), heads.q, heads.k, heads.v, {y, output_strides(s)},
                    statistics, Results::activations);
  }
}

void Attention::backward(const AttentionShape& s, const void* qkv, const void* y, const float* statistics,
                         const void* dy, void* dqkv, void* workspace) {
  const Heads heads = rotate(s, qkv, workspace);
  const std::size_t head = s.head_dim * size_of_element(context_.type);
  char* dq = static_cast<char*>(dqkv);
  char* dk = dq + s.heads * head;
  char* dv = dk + s.kv_heads * head;
  char* scratch = static_cast<char*>(workspace) + rotated_bytes(s);
  const HeadStrides packed = packed_strides(s), output = output_strides(s);
  if (const FusedAttention* plan = fused(fused_shape(s))) {
    const FusedAttention::Arrays arrays{
        heads.q.data, heads.k.data, heads.v.data, y, dy, dq, dk, dv, nullptr, const_cast<float*>(statistics)};
    plan->backward(arrays, scratch);
  } else {
    attention_plain_backward(context_, s.batch, whole(s), heads.q, heads.k, heads.v, {y, output}, statistics,
                             {dy, output}, {{dq, packed}, {dk, packed}, {dv, packed}, Results::activations},
                             reinterpret_cast<float*>(scratch));
  }
  if (s.rope_base == 0) return;
  const int rotated = s.heads + s.kv_heads;
  rope(context_, s, {s.batch, s.length, 0, rotated, rotated}, {dqkv, packed}, {dqkv, packed}, true);
}

}  // namespace striped::cuda
