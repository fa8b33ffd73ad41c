// Featurizers and gates by themselves, without a convolution, for strategies that convolve elsewhere. Meaning
// and layouts are those of striped::ShardOperators; any width and up to 8 featurizer taps.
#pragma once

#include <cuda_runtime.h>

#include "hyena.h"

namespace striped::cuda {

void hyena_gate(const HyenaShape&, const HyenaWeights&, ElementType, const void* projections, const void* z,
                RowRange rows, void* out, cudaStream_t);
void hyena_query(const HyenaShape&, const HyenaWeights&, ElementType, const void* projections, const void* z,
                 const void* x, RowRange rows, void* out, cudaStream_t);
std::size_t hyena_gate_workspace(const HyenaShape&);
void hyena_gate_backward(const HyenaShape&, const HyenaWeights&, ElementType, const void* projections,
                         const void* z, const void* c, const void* dy, const void* du, void* dz, void* reach,
                         void* d_featurizer, void* workspace, cudaStream_t);
void featurizer_reach(const HyenaShape&, const HyenaWeights&, ElementType, const void* after, void* dz,
                      cudaStream_t);

}  // namespace striped::cuda
