// Attention that exchanges heads for sequence: every rank has some heads over whole sequences.
#pragma once

#include "parallel/context_attention.h"
#include "parallel/slices.h"

namespace striped::parallel {

class Heads final : public ContextAttention {
 public:
  Heads(const AttentionShape& shape, const Sharding& sharding, Backend& backend);
  std::size_t kept_bytes() const override;
  std::size_t workspace_bytes() const override;
  void forward(Communicator& ranks, const void* qkv, void* y, void* statistics,
               const ContextBuffers& buffers) override;
  void backward(Communicator& ranks, const void* qkv, const void* y, const void* statistics, const void* dy,
                void* dqkv, const ContextBuffers& buffers) override;

 private:
  struct Scratch;

  AttentionShape part_;  // this rank's heads
  Backend& backend_;
  ShardOperators& operators_;
  DType value_;
  Slices projections_, output_;
};

}  // namespace striped::parallel
