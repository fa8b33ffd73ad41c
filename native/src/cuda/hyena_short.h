// Hyena-SE on CUDA cores, featurizer, gates and convolution in one pass over memory, forward and backward:
// groups of any size, fp32 or bf16, any GPU. The tensor-core kernels (hyena_fir.h) are preferred where they
// apply. See docs/kernels.md, "Short filters on CUDA cores".
#pragma once

#include <cuda_runtime.h>

#include "hyena.h"

namespace striped::cuda {

// Explicit filters of up to 7 taps behind featurizers of up to 3, rows of whole 16 bytes.
bool short_supports(const HyenaShape&, ElementType);
std::size_t short_workspace(const HyenaShape&, ElementType);
void short_forward(const HyenaShape&, const HyenaWeights&, ElementType, const void* z, void* y, cudaStream_t);
void short_backward(const HyenaShape&, const HyenaWeights&, ElementType, const void* z, const void* dy,
                    void* dz, const HyenaGradients&, void* workspace, cudaStream_t);

}  // namespace striped::cuda
