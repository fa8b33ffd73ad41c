// Attention with the sequence spread over context ranks.
#pragma once

#include "parallel/context_hyena.h"

namespace striped::parallel {

class ContextAttention {
 public:
  virtual ~ContextAttention() = default;
  virtual std::size_t kept_bytes() const = 0;
  virtual std::size_t workspace_bytes() const = 0;
  // `statistics`, batch · heads · local length "real" values, is kept for the backward pass; what it holds is
  // the strategy's matter.
  virtual void forward(Communicator& ranks, const void* qkv, void* y, void* statistics,
                       const ContextBuffers& buffers) = 0;
  virtual void backward(Communicator& ranks, const void* qkv, const void* y, const void* statistics,
                        const void* dy, void* dqkv, const ContextBuffers& buffers) = 0;
};

// `shape` is that of the whole sequences. Strategies: all_to_all (heads for sequence), ring. Throws Error
// "context-strategy" for what cannot be.
std::unique_ptr<ContextAttention> make_context_attention(ContextStrategy strategy,
                                                         const AttentionShape& shape,
                                                         const Sharding& sharding, Backend& backend);

}  // namespace striped::parallel
