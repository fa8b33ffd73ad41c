// Hyena-LI, h_t = Σ_n R_n·exp(t·log λ_n), as a diagonal state-space model: no transform over the sequence,
// any length. Tensor-core kernels where they apply (hyena_modal_tensor.h), plain recurrences elsewhere. See
// docs/kernels.md, "LI".
#pragma once

#include <cuda_runtime.h>

#include "hyena.h"

namespace striped::cuda {

// All but modal_carry throw Error "context-strategy" for more than 32 exponentials a filter. For pieces of
// sequences `around` is what lies around them, of which the projections are there from the start, and `reach`
// that of ShardOperators::hyena_piece_backward; for whole sequences both are null.
std::size_t modal_kept(const HyenaShape&, ElementType, bool piece);
std::size_t modal_workspace(const HyenaShape&, ElementType, bool piece);
void modal_forward(const HyenaShape&, const HyenaWeights&, ElementType, const HyenaSurroundings* around,
                   const Arrived&, const void* z, void* y, void* kept, void* workspace, cudaStream_t);
void modal_backward(const HyenaShape&, const HyenaWeights&, ElementType, const HyenaSurroundings* around,
                    const Arrived&, const void* z, const void* kept, const void* dy, void* dz, void* reach,
                    const HyenaGradients&, void* workspace, cudaStream_t);
// ShardOperators::hyena_states and hyena_carry.
void modal_states(const HyenaShape&, const HyenaWeights&, ElementType, const void* projections, const void* z,
                  const void* dy, void* states, void* workspace, cudaStream_t);
void modal_carry(const HyenaShape&, const HyenaWeights&, std::int64_t count, const void* from, void* to,
                 cudaStream_t);

}  // namespace striped::cuda
