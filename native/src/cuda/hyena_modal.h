// Hyena-LI, h_t = Σ_n R_n·exp(t·log λ_n), as a diagonal state-space model: no transform over the sequence,
// any length. Tensor-core kernels where they apply (hyena_modal_tensor.h), plain recurrences elsewhere. See
// docs/kernels.md, "LI".
#pragma once

#include <cuda_runtime.h>

#include "hyena.h"

namespace striped::cuda {

// All throw Error "unsupported" for more than 32 exponentials a filter.
std::size_t modal_kept(const HyenaShape&, ElementType);
std::size_t modal_workspace(const HyenaShape&, ElementType);
void modal_forward(const HyenaShape&, const HyenaWeights&, ElementType, const void* z, void* y, void* kept,
                   void* workspace, cudaStream_t);
void modal_backward(const HyenaShape&, const HyenaWeights&, ElementType, const void* z, const void* kept,
                    const void* dy, void* dz, const HyenaGradients&, void* workspace, cudaStream_t);

}  // namespace striped::cuda
