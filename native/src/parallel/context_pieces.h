// Strategies of ContextHyena that keep the sequence where it lies.
#pragma once

#include "parallel/surroundings.h"

namespace striped::parallel {

// Explicit filters, point to point. Forward, a piece needs from before it the last featurizer_taps - 1 rows
// of z and the last taps - 1 values of u = k' ⊙ v' a channel; backward, as many values of g = q' ⊙ dy from
// behind it, and the gradients of the featurized projections of featurizer_taps - 1 rows.
class PointToPoint final : public ContextHyena {
 public:
  PointToPoint(const HyenaShape& whole, const Sharding& sharding, Backend& backend)
      : work_(whole, sharding, backend) {}
  std::size_t kept_bytes() const override;
  std::size_t workspace_bytes() const override;
  void forward(Communicator& ranks, const HyenaWeights& weights, const void* z, void* y,
               const ContextBuffers& buffers) override;
  void backward(Communicator& ranks, const HyenaWeights& weights, const void* z, const void* dy, void* dz,
                const HyenaGradients& gradients, const ContextBuffers& buffers) override;

 private:
  struct Kept;
  struct Scratch;
  RowRange edge(Side side) const;
  Halo filter_halo(Side side) const;

  PieceWork work_;
};

// LI: the states behind a piece, order · width values, travel to the next piece, and the adjoint states back.
class StatePassing final : public ContextHyena {
 public:
  StatePassing(const HyenaShape& whole, const Sharding& sharding, Backend& backend)
      : work_(whole, sharding, backend) {}
  std::size_t kept_bytes() const override;
  std::size_t workspace_bytes() const override;
  void forward(Communicator& ranks, const HyenaWeights& weights, const void* z, void* y,
               const ContextBuffers& buffers) override;
  void backward(Communicator& ranks, const HyenaWeights& weights, const void* z, const void* dy, void* dz,
                const HyenaGradients& gradients, const ContextBuffers& buffers) override;

 private:
  struct Kept;
  struct Scratch;
  class Hops;
  std::int64_t state_values() const { return work_.piece.order * work_.piece.width; }

  PieceWork work_;
};

}  // namespace striped::parallel
