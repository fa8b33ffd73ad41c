// Attention with its rotary embedding: cuDNN's fused kernels for bf16 where they take the shape, kernels of
// ours otherwise. The rotated q and k live in the caller's workspace.
#pragma once

#include <compare>
#include <map>
#include <memory>
#include <string>

#include "context.h"
#include "operators.h"

namespace striped::cuda {

namespace cudnn {
class Session;
}

// What a fused kernel takes: `batch` sequences of queries on keys, all of which a query sees, or (`causal`,
// as many queries as keys) those up to its own and within the window.
struct FusedShape {
  std::int64_t batch, queries, keys;
  int heads, kv_heads, head_dim;
  bool causal;
  std::int64_t window;                 // as in AttentionShape
  HeadStrides q, k, v, y, dq, dk, dv;  // dy lies like y
  auto operator<=>(const FusedShape&) const = default;
};

// The fused forward and backward of one shape.
class FusedAttention {
 public:
  // Throws Error "cudnn" where cuDNN does not take the shape. A backward pass whose sums come in a fixed
  // order is chosen unless its workspace would exceed `deterministic_limit` bytes.
  FusedAttention(const cudnn::Session&, const FusedShape&, std::size_t deterministic_limit);
  ~FusedAttention();

  struct Arrays {
    const void *q, *k, *v, *y, *dy;
    void *dq, *dk, *dv, *output;
    float* statistics;  // [batch, heads, queries]
  };
  std::size_t forward_workspace() const;
  std::size_t backward_workspace() const;
  bool deterministic() const;
  void forward(const Arrays&, void* workspace) const;
  // y and statistics may be those of more keys than these.
  void backward(const Arrays&, void* workspace) const;

 private:
  struct Forward;
  struct Backward;

  FusedShape shape_;
  cudaStream_t stream_;
  std::int64_t part_batch_ = 0, part_kv_heads_ = 0;  // of one call of the backward pass
  // Bytes of the statistics of one call that are copied to scratch first, as they do not lie aligned.
  std::size_t moved_statistics_ = 0;
  std::unique_ptr<Forward> forward_;
  std::unique_ptr<Backward> backward_;
};

class Attention {
 public:
  explicit Attention(Context&);
  ~Attention();

  std::size_t workspace(const AttentionShape&);
  void forward(const AttentionShape&, const void* qkv, void* y, float* statistics, void* workspace);
  void backward(const AttentionShape&, const void* qkv, const void* y, const float* statistics,
                const void* dy, void* dqkv, void* workspace);
  // Parts of sequences, as in striped::ShardOperators; the workspace is one for every offset.
  std::size_t part_workspace(const AttentionPart&);
  void part(const AttentionPart&, const void* q, const void* kv, bool first, float* y, float* statistics,
            void* workspace);
  void part_backward(const AttentionPart&, const void* q, const void* kv, const void* y,
                     const float* statistics, const void* dy, float* dq, float* dkv, void* workspace);
  // Why cuDNN is not used, or empty.
  const std::string& missing() const { return missing_; }

 private:
  // Null where our own kernels serve the shape.
  const FusedAttention* fused(const FusedShape&);
  const FusedAttention* fused(const AttentionPart&);
  std::size_t rotated_bytes(const AttentionShape&) const;
  struct Heads;
  Heads rotate(const AttentionShape&, const void* qkv, void* workspace);

  Context& context_;
  std::unique_ptr<cudnn::Session> session_;
  std::size_t deterministic_limit_;
  std::map<FusedShape, std::unique_ptr<FusedAttention>> plans_;
  std::string missing_;
};

}  // namespace striped::cuda
