// Vectors of activations as fp32 registers, and reductions over warps and blocks.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "hyena.h"

namespace striped::cuda {

using bf16 = __nv_bfloat16;

template <class T>
__device__ __forceinline__ float to_float(T value);
template <>
__device__ __forceinline__ float to_float(float value) {
  return value;
}
template <>
__device__ __forceinline__ float to_float(bf16 value) {
  return __bfloat162float(value);
}
template <class T>
__device__ __forceinline__ T from_float(float value);
template <>
__device__ __forceinline__ float from_float(float value) {
  return value;
}
template <>
__device__ __forceinline__ bf16 from_float(float value) {
  return __float2bfloat16_rn(value);
}

// How many values of T a 16-byte access moves.
template <class T>
constexpr int kWide = 16 / static_cast<int>(sizeof(T));

// N values of T: one access where N fills 16 bytes, single ones for N = 1.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T values[N];
};

template <int N, class T>
__device__ __forceinline__ void unpack(const Pack<T, N>& pack, float (&target)[N]) {
  if constexpr (sizeof(T) == 2 && N % 2 == 0) {
    // A bf16 is the upper half of an fp32. By a pointer: with a bit_cast the compiler moves the loads of a
    // pack that was fetched ahead back to here.
    using Word [[gnu::may_alias]] = unsigned;
    const Word* words = reinterpret_cast<const Word*>(&pack);
#pragma unroll
    for (int i = 0; i < N / 2; ++i) {
      target[2 * i] = __uint_as_float(words[i] << 16);
      target[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) target[i] = to_float(pack.values[i]);
  }
}

// By value: a pack that is unpacked where it lies is read value by value.
template <int N, class T>
__device__ __forceinline__ Pack<T, N> fetch(const T* source) {
  return *reinterpret_cast<const Pack<T, N>*>(source);
}

template <int N, class T>
__device__ __forceinline__ void load(const T* source, float (&target)[N]) {
  unpack<N>(fetch<N>(source), target);
}

template <int N, class T>
__device__ __forceinline__ void store(T* target, const float (&source)[N]) {
  if constexpr (sizeof(T) == 2 && N % 2 == 0) {
    Pack<__nv_bfloat162, N / 2> pack;
#pragma unroll
    for (int i = 0; i < N / 2; ++i) pack.values[i] = __floats2bfloat162_rn(source[2 * i], source[2 * i + 1]);
    *reinterpret_cast<Pack<__nv_bfloat162, N / 2>*>(target) = pack;
  } else {
    Pack<T, N> pack;
#pragma unroll
    for (int i = 0; i < N; ++i) pack.values[i] = from_float<T>(source[i]);
    *reinterpret_cast<Pack<T, N>*>(target) = pack;
  }
}

// fp32 parameters beside N activations: as many 16-byte accesses as needed.
template <int N>
__device__ __forceinline__ void load_real(const float* source, float (&target)[N]) {
  if constexpr (N % 4 == 0) {
#pragma unroll
    for (int i = 0; i < N; i += 4) {
      const float4 four = *reinterpret_cast<const float4*>(source + i);
      target[i] = four.x, target[i + 1] = four.y, target[i + 2] = four.z, target[i + 3] = four.w;
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) target[i] = source[i];
  }
}

template <int N>
__device__ __forceinline__ void store_real(float* target, const float (&source)[N]) {
  if constexpr (N % 4 == 0) {
#pragma unroll
    for (int i = 0; i < N; i += 4) {
      *reinterpret_cast<float4*>(target + i) =
          make_float4(source[i], source[i + 1], source[i + 2], source[i + 3]);
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) target[i] = source[i];
  }
}

template <class T>
__device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
  return value;
}

__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2)
    value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, offset));
  return value;
}

// Sum over a block of whole warps, in a fixed order; every thread gets it. `shared` holds 32 values and may
// be reused right after.
template <class T>
__device__ __forceinline__ T block_sum(T value, T* shared) {
  const int warps = static_cast<int>(blockDim.x) / 32, lane = threadIdx.x % 32;
  value = warp_sum(value);
  if (warps == 1) return value;
  if (lane == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  value = warp_sum(lane < warps ? shared[lane] : T(0));
  __syncthreads();
  return value;
}

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Whether rows of `count` values of T can be moved 16 bytes at a time.
template <class T>
bool is_wide(std::int64_t count) {
  return count % kWide<T> == 0;
}

}  // namespace striped::cuda
