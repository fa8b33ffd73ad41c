// Filters of the inner Hyena operators written out, and the residues of their spectra (FourierPart): what
// hyena_spectra.h multiplies by. Arrays are fp32, [groups, ·] of a range of groups.
#pragma once

#include <cuda_runtime.h>

#include "hyena.h"
#include "striped/shard_operators.h"

namespace striped::cuda::fourier {

struct GroupRange {
  std::int64_t first, count;
};

// Taps that a filter has in a sequence of `length`.
std::int64_t tap_count(const HyenaShape&, std::int64_t length);
// taps[count, tap_count]
void write_taps(const HyenaShape&, const HyenaWeights&, GroupRange, std::int64_t count, float* taps,
                cudaStream_t);

// From the taps' gradients adds those of the weights.
void add_tap_gradients(const HyenaShape&, const HyenaWeights&, GroupRange, std::int64_t count,
                       const float* d_taps, const HyenaGradients&, float* scratch, cudaStream_t);
// Values of its scratch.
std::int64_t tap_gradient_scratch(const HyenaShape&, std::int64_t groups, std::int64_t count);

// residues[groups, part.count, part.rows], before their transforms, of sequences taps[groups, count] that go
// on with zeros; and from residues after the inverse transforms what they come to at those places, divided by
// the whole sequence's length. Other sizes of `part` do not matter.
void fold(const FourierPart& part, std::int64_t groups, std::int64_t count, const float* taps,
          float2* residues, cudaStream_t);
void unfold(const FourierPart& part, std::int64_t groups, std::int64_t count, const float2* residues,
            float* taps, cudaStream_t);

}  // namespace striped::cuda::fourier
