// Convolutions of sequences in pieces by residues of their spectra: striped::ShardOperators' calls of the
// same names, which say what the arrays are.
#pragma once

#include <cuda_runtime.h>

#include "fourier_plans.h"
#include "hyena.h"

namespace striped::cuda {

void fourier_add(const FourierPart&, int piece, ElementType, const void* x, std::int64_t stride,
                 void* spectrum, cudaStream_t);
void fourier_take(const FourierPart&, int piece, ElementType, const void* spectrum, void* x,
                  std::int64_t stride, cudaStream_t);

// Of the two calls below; makes the plans.
std::size_t fourier_filter_workspace(const FourierPart&, const HyenaShape&, FourierPlans&);
void fourier_filter(const FourierPart&, const HyenaShape&, const HyenaWeights&, void* spectrum,
                    void* workspace, FourierPlans&, cudaStream_t);
void fourier_filter_backward(const FourierPart&, const HyenaShape&, const HyenaWeights&, const void* u,
                             void* g, const HyenaGradients&, void* workspace, FourierPlans&, cudaStream_t);

}  // namespace striped::cuda
