// The largest magnitude of an array, found by whoever writes or reads it: what FP8 scales by.
#pragma once

#include "vector.cuh"

namespace striped::cuda {

// Raises *largest, bits of a non-negative float, to the largest of a block's values, rounded as bf16 are
// stored. A maximum does not depend on the order: deterministic. `shared` holds 32 values.
__device__ __forceinline__ void raise_to_block_max(float value, unsigned* largest, float* shared) {
  const int warps = static_cast<int>(blockDim.x) / 32, lane = threadIdx.x % 32;
  value = warp_max(value);
  if (lane == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  value = warp_max(lane < warps ? shared[lane] : 0.0f);
  if (lane != 0) return;
  const unsigned bits = __float_as_uint(to_float(from_float<bf16>(value)));
  // Most blocks find a larger one there, and need not queue for it.
  if (bits > __ldcg(largest)) atomicMax(largest, bits);
}

// The larger of `largest` and all magnitudes; a NaN, which fmaxf would drop, counts as infinite.
template <int N>
__device__ __forceinline__ float largest_of(float largest, const float (&values)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) largest = isnan(values[i]) ? INFINITY : fmaxf(largest, fabsf(values[i]));
  return largest;
}

}  // namespace striped::cuda
