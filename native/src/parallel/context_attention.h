// Attention with the sequence spread over context ranks.
#pragma once

#include "parallel/context_hyena.h"

namespace striped::parallel {

class ContextAttention {
 public:
  virtual ~ContextAttention() = default;
  virtual std::size_t kept_bytes() const = 0;
  virtual std::size_t workspace_bytes() const = 0;
  // Whether backward() does without y, and may have dqkv in the place of qkv.
  virtual bool in_place() const = 0;
  // `statistics`, batch · heads · local length "real" values, is kept for the backward pass; what it holds is
  // the strategy's matter.
  virtual void forward(Communicator& ranks, const void* qkv, void* y, void* statistics,
                       const ContextBuffers& buffers) = 0;
  virtual void backward(Communicator& ranks, const void* qkv, const void* y, const void* statistics,
                        const void* dy, void* dqkv, const ContextBuffers& buffers) = 0;
};

// The projections of heads that all_to_all exchanges at a time take no more, if those of one head of keys do
// not: little beside a device's memory, and enough work to hide an exchange behind.
constexpr std::size_t kHeadsAtOnce = std::size_t{2} << 30;

// `shape` is that of the whole sequences. Strategies: all_to_all (heads for sequence, `heads_at_once` bytes
// of them at a time), ring. Throws Error "context-strategy" for what cannot be.
std::unique_ptr<ContextAttention> make_context_attention(ContextStrategy strategy,
                                                         const AttentionShape& shape,
                                                         const Sharding& sharding, Backend& backend,
                                                         std::size_t heads_at_once = kHeadsAtOnce);

}  // namespace striped::parallel
