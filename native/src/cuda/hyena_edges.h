// Hyena-SE and Hyena-MR on pieces of sequences: a piece is computed as if it were a whole sequence, with
// nothing around it, and what lies around it is taken into account afterwards, near its ends.
#pragma once

#include <cuda_runtime.h>

#include "hyena.h"

namespace striped::cuda {

std::size_t edges_workspace(const HyenaShape&);
// Writes y of the rows that what lies before a piece reaches.
void edges_forward(const HyenaShape&, const HyenaWeights&, ElementType, const HyenaSurroundings&,
                   const void* z, void* y, void* workspace, cudaStream_t);
// Adds to dz and the gradients what the piece alone leaves out, and writes `reach`
// (ShardOperators::hyena_piece_backward).
void edges_backward(const HyenaShape&, const HyenaWeights&, ElementType, const HyenaSurroundings&,
                    const void* z, const void* dy, void* dz, void* reach, const HyenaGradients&,
                    void* workspace, cudaStream_t);

}  // namespace striped::cuda
