// What the Hyena kernels for any shape have in common: see hyena_general.cu.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "hyena.h"

namespace striped::cuda::general {

constexpr int kMaxFeaturizerTaps = 8;

// out[g, i] += scale[g, i] · Σ_part Σ_{c in group g} partials[part, i, c], part < parts, i < inner, in a
// fixed order; scale may be null. Null partials (of what is not there) and a null `out` (a gradient nobody
// wants) do nothing.
struct Sum {
  const float* partials;  // [parts, inner, channels]
  std::int64_t parts, inner, channels, groups;
  void* out;                    // fp32 [groups, inner]
  const void* scale = nullptr;  // fp32, as `out`
};
// Up to four of them by one kernel.
void reduce(std::initializer_list<Sum>, cudaStream_t);

// Partial sums of the gradients of weights, of the strips of a backward pass that makes them all in one
// kernel.
struct Partials {
  float* filter;      // [parts, taps, width]
  float* featurizer;  // [parts, featurizer_taps, 3·width]
  float* skip;        // [parts, width], or null
};
std::size_t partials_bytes(const HyenaShape&, std::int64_t parts);
Partials partials_in(void* workspace, const HyenaShape&, std::int64_t parts);
void add_partials(const HyenaShape&, const HyenaWeights&, const Partials&, std::int64_t parts,
                  const HyenaGradients&, cudaStream_t);

// Workspace of featurizer_backward: what crosses the boundaries of blocks of `rows` tokens, and partial sums.
struct FeaturizerScratch {
  float* reach;     // [batch, blocks, featurizer_taps - 1, 3·width]: first rows of each block of d
  float* partials;  // [batch · blocks, featurizer_taps, 3·width]
};
std::int64_t reach_size(const HyenaShape&, int rows);
std::int64_t featurizer_partials_size(const HyenaShape&, int rows);

// dz holds d, the gradients of the featurized projections, and becomes that of z; the featurizer's gradient
// is added. `scratch.reach` must hold the first rows of each block of d. `projections`: the rows of z before
// each sequence's first (HyenaSurroundings), or null.
void featurizer_backward(const HyenaShape&, const HyenaWeights&, ElementType, const void* projections,
                         const void* z, void* dz, int rows, const FeaturizerScratch& scratch, void* gradient,
                         cudaStream_t);

}  // namespace striped::cuda::general
