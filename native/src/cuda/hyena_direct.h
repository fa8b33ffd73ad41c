// Hyena-SE and Hyena-MR for any shape on CUDA cores: any group size and filter length, fp32 or bf16. The
// tensor-core kernels (hyena_fir.h, hyena_channel.h) and those of short filters (hyena_short.h) are preferred
// where they apply.
#pragma once

#include <cuda_runtime.h>

#include "hyena.h"

namespace striped::cuda {

std::size_t direct_workspace(const HyenaShape&, ElementType);
// y of the first `rows` rows of each sequence, which may be a piece of a longer one. `workspace` needs
// direct_workspace() bytes, or room for [batch, rows, width] activations.
void direct_forward(const HyenaShape&, const HyenaWeights&, ElementType, const HyenaSurroundings&,
                    std::int64_t rows, const void* z, void* y, void* workspace, cudaStream_t);
void direct_backward(const HyenaShape&, const HyenaWeights&, ElementType, const void* z, const void* dy,
                     void* dz, const HyenaGradients&, void* workspace, cudaStream_t);

}  // namespace striped::cuda
