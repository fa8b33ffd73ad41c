// Copies of rows, and conversions between activations and fp32. Calls are asynchronous on the stream.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "hyena.h"

namespace striped::cuda {

void to_activations(std::int64_t count, const float* real, ElementType, void* activations, cudaStream_t);
// real += activations.
void add_to_real(std::int64_t count, ElementType, const void* activations, float* real, cudaStream_t);
// `rows` runs of `bytes`, from and to places so many bytes apart; 0 apart: the same run again and again.
void copy_rows(std::int64_t rows, std::int64_t bytes, const void* from, std::int64_t from_stride, void* to,
               std::int64_t to_stride, cudaStream_t);

}  // namespace striped::cuda
