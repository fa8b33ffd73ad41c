// The inner Hyena operators on CUDA: shapes and meaning are those of striped::Backend. Calls are asynchronous
// on the stream, allocate nothing and may be captured in a CUDA graph once hyena_workspace() was asked for
// the shape, which makes the plans that its Fourier transforms need.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "striped/shard_operators.h"

namespace striped::cuda {

class FourierPlans;
using Arrived = ShardOperators::Arrived;

// Of the activations; weights and gradients of weights are always fp32.
enum class ElementType { f32, bf16 };

std::size_t hyena_kept(const HyenaShape&, ElementType);
// Throws Error "no-cuda" where the shape needs Fourier transforms and there is no cuFFT.
std::size_t hyena_workspace(const HyenaShape&, ElementType, FourierPlans&);
void hyena_forward(const HyenaShape&, const HyenaWeights&, ElementType, const void* z, void* y, void* kept,
                   void* workspace, FourierPlans&, cudaStream_t);
void hyena_backward(const HyenaShape&, const HyenaWeights&, ElementType, const void* z, const void* kept,
                    const void* dy, void* dz, const HyenaGradients&, void* workspace, FourierPlans&,
                    cudaStream_t);

// The same on pieces of sequences, as striped::ShardOperators has them. The workspace is that of every call
// on pieces of this shape.
std::size_t hyena_piece_kept(const HyenaShape&, ElementType);
std::size_t hyena_piece_workspace(const HyenaShape&, ElementType, FourierPlans&);
void hyena_piece(const HyenaShape&, const HyenaWeights&, ElementType, const HyenaSurroundings&,
                 const Arrived&, const void* z, void* y, void* kept, void* workspace, FourierPlans&,
                 cudaStream_t);
void hyena_piece_backward(const HyenaShape&, const HyenaWeights&, ElementType, const HyenaSurroundings&,
                          const Arrived&, const void* z, const void* kept, const void* dy, void* dz,
                          void* reach, const HyenaGradients&, void* workspace, FourierPlans&, cudaStream_t);

}  // namespace striped::cuda
