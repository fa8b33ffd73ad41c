// Hyena-LI for any shape on CUDA cores, behind hyena_modal.h: fp32 or bf16, up to 32 exponentials.
#pragma once

#include <cuda_runtime.h>

#include "hyena.h"

namespace striped::cuda::modal {

constexpr int kMaxOrder = 32;

std::size_t scan_workspace(const HyenaShape&);
// `around` null: whole sequences; `reach` is for pieces, and `arrived` is called behind what needs no states
// from around them.
void scan_forward(const HyenaShape&, const HyenaWeights&, ElementType, const HyenaSurroundings* around,
                  const Arrived& arrived, const void* z, void* y, void* workspace, cudaStream_t);
void scan_backward(const HyenaShape&, const HyenaWeights&, ElementType, const HyenaSurroundings* around,
                   const Arrived& arrived, const void* z, const void* dy, void* dz, void* reach,
                   const HyenaGradients&, void* workspace, cudaStream_t);
// ShardOperators::hyena_states.
void scan_states(const HyenaShape&, const HyenaWeights&, ElementType, const void* projections, const void* z,
                 const void* dy, float* states, void* workspace, cudaStream_t);

}  // namespace striped::cuda::modal
