#include "fp8.h"

#include <cuda_fp8.h>

#include <algorithm>

#include "vector.cuh"

namespace striped::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kTile = 128;  // of the transposing kernel, in both directions
constexpr int kTileWords =
    kTile / 4 + 1;  // a column of a tile, 4 bytes a word, padded against bank conflicts

template <Fp8Format kFormat>
constexpr float kLargest = kFormat == Fp8Format::e4m3 ? 448.0f : 57344.0f;
template <Fp8Format kFormat>
constexpr __nv_fp8_interpretation_t kInterpretation = kFormat == Fp8Format::e4m3 ? __NV_E4M3 : __NV_E5M2;

struct DeviceScale {
  unsigned largest;
  float inverse;
};

// Bits of non-negative floats order like the floats, and a maximum does not depend on the order:
// deterministic.
__global__ void measure_kernel(std::int64_t packs, const bf16* x, DeviceScale* scale) {
  float largest = 0;
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * kThreads;
#pragma unroll 4
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < packs;
       i += stride) {
    float values[8];
    load<8>(x + i * 8, values);
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      // fmaxf would drop a NaN; it must reach the loss and be reported there.
      largest = isnan(values[k]) ? INFINITY : fmaxf(largest, fabsf(values[k]));
    }
  }
  largest = warp_max(largest);
  if (threadIdx.x % 32 == 0) atomicMax(&scale->largest, __float_as_uint(largest));
}

// The factor to multiply with before rounding; writes its inverse for the product once.
template <Fp8Format kFormat>
__device__ __forceinline__ float quantizing_factor(DeviceScale* scale) {
  const float largest = __uint_as_float(scale->largest);
  // An infinite maximum makes the inverse infinite and so the product NaN, as it would be without FP8.
  const float factor = largest == 0 ? 1.0f : kLargest<kFormat> / largest;
  if (blockIdx.x == 0 && blockIdx.y == 0 && threadIdx.x == 0) {
    scale->inverse = largest == 0 ? 1.0f : largest / kLargest<kFormat>;
  }
  return factor;
}

template <Fp8Format kFormat>
__device__ __forceinline__ unsigned pack_four(float a, float b, float c, float d) {
  const unsigned low = __nv_cvt_float2_to_fp8x2(make_float2(a, b), __NV_SATFINITE, kInterpretation<kFormat>);
  const unsigned high = __nv_cvt_float2_to_fp8x2(make_float2(c, d), __NV_SATFINITE, kInterpretation<kFormat>);
  return low | high << 16;
}

// 16 values a thread.
template <Fp8Format kFormat>
__global__ void __launch_bounds__(kThreads)
    quantize_kernel(std::int64_t packs, const bf16* x, DeviceScale* scale, uint4* target) {
  const float factor = quantizing_factor<kFormat>(scale);
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * kThreads;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < packs;
       i += stride) {
    float v[16], low[8], high[8];
    load<8>(x + i * 16, low);
    load<8>(x + i * 16 + 8, high);
#pragma unroll
    for (int k = 0; k < 8; ++k) v[k] = low[k] * factor, v[k + 8] = high[k] * factor;
    target[i] = make_uint4(
        pack_four<kFormat>(v[0], v[1], v[2], v[3]), pack_four<kFormat>(v[4], v[5], v[6], v[7]),
        pack_four<kFormat>(v[8], v[9], v[10], v[11]), pack_four<kFormat>(v[12], v[13], v[14], v[15]));
  }
}

// A block turns a tile of x[rows, columns] around: threads pack four rows of a column into a word of shared
// memory, laid out by columns, and write 16 bytes of a column each.
template <Fp8Format kFormat>
__global__ void __launch_bounds__(kThreads)
    quantize_transposed_kernel(std::int64_t rows, std::int64_t columns, const bf16* x, DeviceScale* scale,
                               std::uint8_t* target) {
  __shared__ unsigned tile[kTile * kTileWords];
  const float factor = quantizing_factor<kFormat>(scale);
  const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.y) * kTile;
  const std::int64_t first_column = static_cast<std::int64_t>(blockIdx.x) * kTile;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  // A warp takes 32 columns (4 packs of 8) by 32 rows (8 groups of 4); the tile has 4 x 4 such patches.
  for (int patch = warp; patch < 16; patch += kThreads / 32) {
    const int column = patch % 4 * 32 + lane % 4 * 8, group = patch / 4 * 8 + lane / 4;
    const std::int64_t row = first_row + group * 4;
    if (row >= rows || first_column + column >= columns) continue;
    float v[4][8];
#pragma unroll
    for (int r = 0; r < 4; ++r) load<8>(x + (row + r) * columns + first_column + column, v[r]);
#pragma unroll
    for (int c = 0; c < 8; ++c) {
      tile[(column + c) * kTileWords + group] =
          pack_four<kFormat>(v[0][c] * factor, v[1][c] * factor, v[2][c] * factor, v[3][c] * factor);
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < kTile * (kTile / 16); i += kThreads) {
    const int column = i / (kTile / 16), chunk = i % (kTile / 16);
    if (first_column + column >= columns || first_row + chunk * 16 >= rows) continue;
    const unsigned* words = tile + column * kTileWords + chunk * 4;
    *reinterpret_cast<uint4*>(target + (first_column + column) * rows + first_row + chunk * 16) =
        make_uint4(words[0], words[1], words[2], words[3]);
  }
}

}  // namespace

Fp8Quantizer::Fp8Quantizer(Context& context) : context_(context) {
  static_assert(sizeof(Scale) == sizeof(DeviceScale));
  scales_ = static_cast<Scale*>(device_allocate(sizeof(Scale) * static_cast<int>(Role::count)));
}

Fp8Quantizer::~Fp8Quantizer() { cudaFree(scales_); }

Fp8Quantizer::Scale* Fp8Quantizer::measure(Role role, std::int64_t count, const void* x) {
  Scale* scale = scales_ + static_cast<int>(role);
  check(cudaMemsetAsync(scale, 0, sizeof(Scale), context_.stream), "measure");
  const std::int64_t packs = count / 8;
  const std::int64_t blocks =
      std::min<std::int64_t>(ceil_div(packs, kThreads * 4), context_.multiprocessors * 8);
  measure_kernel<<<static_cast<unsigned>(blocks), kThreads, 0, context_.stream>>>(
      packs, static_cast<const bf16*>(x), reinterpret_cast<DeviceScale*>(scale));
  check_launch("measure");
  return scale;
}

Fp8Operand Fp8Quantizer::quantize(Role role, Fp8Format format, std::int64_t rows, std::int64_t columns,
                                  const void* x) {
  Scale* scale = measure(role, rows * columns, x);
  void* target = operands_[static_cast<int>(role)].reserve<std::uint8_t>(rows * columns, context_);
  const auto kernel =
      format == Fp8Format::e4m3 ? quantize_kernel<Fp8Format::e4m3> : quantize_kernel<Fp8Format::e5m2>;
  const std::int64_t packs = rows * columns / 16;
  const std::int64_t blocks =
      std::min<std::int64_t>(ceil_div(packs, kThreads), context_.multiprocessors * 64);
  kernel<<<static_cast<unsigned>(blocks), kThreads, 0, context_.stream>>>(
      packs, static_cast<const bf16*>(x), reinterpret_cast<DeviceScale*>(scale), static_cast<uint4*>(target));
  check_launch("quantize");
  return {target, &scale->inverse};
}

Fp8Operand Fp8Quantizer::quantize_transposed(Role role, Fp8Format format, std::int64_t rows,
                                             std::int64_t columns, const void* x) {
  Scale* scale = measure(role, rows * columns, x);
  void* target = operands_[static_cast<int>(role)].reserve<std::uint8_t>(rows * columns, context_);
  const auto kernel = format == Fp8Format::e4m3 ? quantize_transposed_kernel<Fp8Format::e4m3>
                                                : quantize_transposed_kernel<Fp8Format::e5m2>;
  const dim3 grid(static_cast<unsigned>(ceil_div(columns, kTile)),
                  static_cast<unsigned>(ceil_div(rows, kTile)));
  kernel<<<grid, kThreads, 0, context_.stream>>>(rows, columns, static_cast<const bf16*>(x),
                                                 reinterpret_cast<DeviceScale*>(scale),
                                                 static_cast<std::uint8_t*>(target));
  check_launch("quantize_transposed");
  return {target, &scale->inverse};
}

}  // namespace striped::cuda
