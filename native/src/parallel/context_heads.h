// Attention that exchanges heads for sequence: every rank has some heads over whole sequences. Heads go in
// slices one after the other, so that long sequences take the memory of a few heads.
#pragma once

#include <vector>

#include "parallel/context_attention.h"
#include "parallel/slices.h"

namespace striped::parallel {

class Heads final : public ContextAttention {
 public:
  Heads(const AttentionShape& shape, const Sharding& sharding, Backend& backend, std::size_t at_once);
  std::size_t kept_bytes() const override;
  std::size_t workspace_bytes() const override;
  bool in_place() const override { return true; }
  void forward(Communicator& ranks, const void* qkv, void* y, void* statistics,
               const ContextBuffers& buffers) override;
  void backward(Communicator& ranks, const void* qkv, const void* y, const void* statistics, const void* dy,
                void* dqkv, const ContextBuffers& buffers) override;

 private:
  struct Kept;
  struct Scratch;
  int slices() const { return static_cast<int>(projections_.size()); }
  // Calls fetch(i), compute(i), give(i) and put(i) for every slice. What fetch and give leave aside, until
  // the marks that they return, runs beside the computation of the slice between.
  template <class Fetch, class Compute, class Give, class Put>
  void in_turn(Communicator& ranks, const Fetch& fetch, const Compute& compute, const Give& give,
               const Put& put) const;
  std::size_t statistics_bytes() const;  // of a slice

  AttentionShape slice_;  // this rank's heads of one slice
  Backend& backend_;
  ShardOperators& operators_;
  DType value_;
  // Of each slice. Heads are [slice][rank]: a slice's lie together.
  std::vector<Slices> projections_, outputs_;
};

}  // namespace striped::parallel
