// Hyena-SE and Hyena-MR on tensor cores (sm_90): featurizer, gates and the blocked Toeplitz convolution in
// one pass over memory, forward and backward. See docs/kernels.md, "SE and MR".
#pragma once

#include <cuda_runtime.h>

#include "hyena.h"

namespace striped::cuda {

// bf16 activations, 3 featurizer taps, groups of a multiple of 16 channels, width a multiple of 64, filters
// that fit the register-resident window, compute capability 9.x. Everything else is hyena_short's and
// hyena_direct's.
bool fir_supports(const HyenaShape&, ElementType);
std::size_t fir_workspace(const HyenaShape&);
void fir_forward(const HyenaShape&, const HyenaWeights&, const void* z, void* y, cudaStream_t);
void fir_backward(const HyenaShape&, const HyenaWeights&, const void* z, const void* dy, void* dz,
                  const HyenaGradients&, void* workspace, cudaStream_t);

}  // namespace striped::cuda
