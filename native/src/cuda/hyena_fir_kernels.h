// Launchers of the tensor-core FIR kernels; hyena_fir.cu chooses among them.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "striped/backend.h"
#include "strips.h"

namespace striped::cuda::fir {

// Gradients of one strip of time, summed over strips by the reduction in hyena_fir.cu.
struct Partials {
  float* filter;      // [strips, width / 16, taps], of h (decay not yet applied)
  float* featurizer;  // [strips, 3·width, 3]
  float* skip;        // [strips, width]
};

// Blocks a multiprocessor holds. Forward, more would get out of step and read memory in worse order
// (docs/kernels.md); backward, as many as registers and shared memory allow. `window`: tiles of 16 tokens
// that the filter reaches back, ceil((taps - 1) / 16), rounded up to a size that kernels exist for.
constexpr int kForwardBlocks = 2;
constexpr int backward_blocks(int window) { return window <= 8 ? 2 : 1; }

// Of whole stages, a multiple of 64 tokens.
Strips cut_strips(int window, const HyenaShape&, int blocks_per_multiprocessor);

void launch_forward(int window, const HyenaShape&, const HyenaWeights&, const void* z, void* y, cudaStream_t);
void launch_backward(int window, const HyenaShape&, const HyenaWeights&, const void* z, const void* dy,
                     void* dz, const Partials&, cudaStream_t);

}  // namespace striped::cuda::fir
