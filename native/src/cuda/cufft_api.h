// The part of cuFFT's C interface that is used here. Declared by hand, so that building needs no cuFFT and
// one binary serves versions 11 and 12; the numbers are fixed by the library's binary interface.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

namespace striped::cuda::cufft {

using Handle = int;

constexpr int kSuccess = 0, kNoMemory = 2;
constexpr int kComplexToComplex = 0x29;
constexpr int kForward = -1, kInverse = 1;

struct Functions {
  int (*create)(Handle*);
  int (*set_auto_allocation)(Handle, int automatic);
  // Null for `input_embedding` and `output_embedding`: transforms lie one behind the other.
  int (*make_plan)(Handle, int rank, long long* lengths, long long* input_embedding, long long input_stride,
                   long long input_distance, long long* output_embedding, long long output_stride,
                   long long output_distance, int type, long long batch, std::size_t* workspace);
  int (*set_stream)(Handle, cudaStream_t);
  int (*set_workspace)(Handle, void*);
  int (*execute)(Handle, float2* input, float2* output, int direction);
  int (*destroy)(Handle);
};

}  // namespace striped::cuda::cufft
