// Long convolutions as products of spectra, for whole sequences and for residues of sequences in pieces
// (FourierPart), on slices of channels that fit a bounded workspace. Transforms are those of frequencies a
// quarter off the integers (native/src/cpu/hyena_fourier.cpp): nothing is padded, and products are modulo
// z^L = -i. A whole sequence is one piece with one residue.
#pragma once

#include <cuda_runtime.h>

#include <functional>

#include "fourier_plans.h"
#include "hyena_long_filter.h"

namespace striped::cuda::fourier {

// Channels [first, first + count): whole groups, or a part of one.
struct Slice {
  std::int64_t first, count;
  GroupRange groups;
  bool opens, closes;  // whether its first and its last group's first and last channels are among them
};

class SpectralFilter {
 public:
  // Filters of shape.groups over channels of shape.width; `length` of the whole sequence's pieces·rows places
  // are of the sequence, the others zero. part.width does not matter.
  SpectralFilter(const FourierPart&, const HyenaShape&, std::int64_t length, FourierPlans&);

  // Bytes, of either call. Makes all plans.
  std::size_t workspace() const;

  // What `load` writes are residues before their transforms, and what `store` reads those after the inverse
  // ones, unscaled but for the division by part.rows: [batch, slice.count, part.count, part.rows].
  using Visit = std::function<void(const Slice&, float2* values)>;
  // From u to conv(h, u) + d ⊙ u.
  void forward(const HyenaWeights&, void* workspace, cudaStream_t, const Visit& load, const Visit& store);

  using VisitBoth = std::function<void(const Slice&, float2* first, float2* second)>;
  // From u and g to conv(h, u) + d ⊙ u (left out with wants_output false, and then null) and to du; adds the
  // gradients of the weights.
  void backward(const HyenaWeights&, const HyenaGradients&, bool wants_output, void* workspace, cudaStream_t,
                const VisitBoth& load, const VisitBoth& store);

 private:
  struct Buffers;
  std::int64_t points() const { return part_.count * part_.rows; }
  std::int64_t most_groups() const;
  Slice slice_from(std::int64_t first) const;
  Transforms of_channels(const Slice&) const;
  Transforms of_groups(const Slice&) const;
  void write_filter(const HyenaWeights&, const Slice&, const Buffers&, cudaStream_t);

  FourierPart part_;
  HyenaShape shape_;
  std::int64_t group_size_, taps_, slice_;
  FourierPlans& plans_;
};

}  // namespace striped::cuda::fourier
