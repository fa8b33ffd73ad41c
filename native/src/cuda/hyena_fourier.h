// The inner Hyena operators of any kind by Fourier transform, fp32 or bf16, with the transforms in fp32: what
// takes filters of any length, and a check of the other kernels, with which it shares nothing but gates and
// featurizers.
#pragma once

#include <cuda_runtime.h>

#include "fourier_plans.h"
#include "hyena.h"

namespace striped::cuda {

std::size_t fourier_workspace(const HyenaShape&, FourierPlans&);
void fourier_forward(const HyenaShape&, const HyenaWeights&, ElementType, const void* z, void* y,
                     void* workspace, FourierPlans&, cudaStream_t);
void fourier_backward(const HyenaShape&, const HyenaWeights&, ElementType, const void* z, const void* dy,
                      void* dz, const HyenaGradients&, void* workspace, FourierPlans&, cudaStream_t);

}  // namespace striped::cuda
