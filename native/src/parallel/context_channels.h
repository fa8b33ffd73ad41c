// The strategy of ContextHyena that exchanges channels for sequence: gates where the sequence lies, the
// convolution over whole sequences of this rank's channels, a slice of channels at a time. While one slice is
// convolved, the next one comes and the one before goes back.
#pragma once

#include "core/device_buffer.h"
#include "parallel/slices.h"
#include "parallel/surroundings.h"

namespace striped::parallel {

// A bare convolution is the operator itself with q = v = 1 and a featurizer that does nothing, so that
// whichever kernels are best for the shape serve here too.
class AllToAll final : public ContextHyena {
 public:
  AllToAll(const HyenaShape& whole, const Sharding& sharding, Backend& backend);
  std::size_t kept_bytes() const override;
  std::size_t workspace_bytes() const override;
  void forward(Communicator& ranks, const HyenaWeights& weights, const void* z, void* y,
               const ContextBuffers& buffers) override;
  void backward(Communicator& ranks, const HyenaWeights& weights, const void* z, const void* dy, void* dz,
                const HyenaGradients& gradients, const ContextBuffers& buffers) override;

 private:
  struct Kept;
  struct Scratch;
  class Passing;
  // Column ranges are [slice][rank]: a rank's groups of one slice lie together.
  Slices slice(int index) const;
  std::int64_t first_group(int rank, int index) const;
  HyenaWeights weights_of(const HyenaWeights& weights, std::int64_t first_group) const;
  HyenaGradients gradients_of(const HyenaGradients& gradients, std::int64_t first_group,
                              void* d_featurizer) const;
  void make_constants();
  // z of the bare convolution: u between two columns of ones.
  void pack(const void* u, void* z) const;

  PieceWork work_;
  HyenaShape slice_;  // the bare convolution of one slice
  int slices_;
  DeviceBuffer ones_, identity_;
};

}  // namespace striped::parallel
