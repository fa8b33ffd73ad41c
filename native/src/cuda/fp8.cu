#include "fp8.h"

#include <cuda_fp8.h>

#include <algorithm>
#include <cstddef>

#include "largest.cuh"

namespace striped::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kTile = 128;  // of the transposing kernel, in both directions
constexpr int kTileWords =
    kTile / 4 + 1;  // a column of a tile, 4 bytes a word, padded against bank conflicts

enum class Fp8Format { e4m3, e5m2 };

template <Fp8Format kFormat>
constexpr float kLargest = kFormat == Fp8Format::e4m3 ? 448.0f : 57344.0f;
template <Fp8Format kFormat>
constexpr __nv_fp8_interpretation_t kInterpretation = kFormat == Fp8Format::e4m3 ? __NV_E4M3 : __NV_E5M2;

struct alignas(16) DeviceScale {
  float inverse;
  unsigned largest;
};

__global__ void measure_kernel(std::int64_t packs, const bf16* x, DeviceScale* scale) {
  __shared__ float shared[32];
  float largest = 0;
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * kThreads;
#pragma unroll 4
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < packs;
       i += stride) {
    float values[8];
    load<8>(x + i * 8, values);
    largest = largest_of(largest, values);  // a NaN must reach the loss and be reported there
  }
  raise_to_block_max(largest, &scale->largest, shared);
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
// memory, laid out by columns, and write 16 bytes of a column each. The tile as it is goes to row_target, if
// given.
template <Fp8Format kFormat>
__global__ void __launch_bounds__(kThreads)
    quantize_transposed_kernel(std::int64_t rows, std::int64_t columns, const bf16* x, DeviceScale* scale,
                               std::uint8_t* row_target, std::uint8_t* column_target) {
  __shared__ unsigned tile[kTile * kTileWords];
  const float factor = quantizing_factor<kFormat>(scale);
  const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.y) * kTile;
  const std::int64_t first_column = static_cast<std::int64_t>(blockIdx.x) * kTile;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  // A warp takes 32 columns (4 packs of 8) by 32 rows (8 groups of 4); the tile has 4 x 4 such patches.
#pragma unroll
  for (int patch = warp; patch < 16; patch += kThreads / 32) {
    const int column = patch % 4 * 32 + lane % 4 * 8, group = patch / 4 * 8 + lane / 4;
    const std::int64_t row = first_row + group * 4;
    if (row >= rows || first_column + column >= columns) continue;
    float v[4][8];
#pragma unroll
    for (int r = 0; r < 4; ++r) load<8>(x + (row + r) * columns + first_column + column, v[r]);
#pragma unroll
    for (int r = 0; r < 4; ++r) {
#pragma unroll
      for (int c = 0; c < 8; ++c) v[r][c] *= factor;
      if (row_target) {
        *reinterpret_cast<uint2*>(row_target + (row + r) * columns + first_column + column) =
            make_uint2(pack_four<kFormat>(v[r][0], v[r][1], v[r][2], v[r][3]),
                       pack_four<kFormat>(v[r][4], v[r][5], v[r][6], v[r][7]));
      }
    }
#pragma unroll
    for (int c = 0; c < 8; ++c) {
      tile[(column + c) * kTileWords + group] = pack_four<kFormat>(v[0][c], v[1][c], v[2][c], v[3][c]);
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < kTile * (kTile / 16); i += kThreads) {
    const int column = i / (kTile / 16), chunk = i % (kTile / 16);
    if (first_column + column >= columns || first_row + chunk * 16 >= rows) continue;
    const unsigned* words = tile + column * kTileWords + chunk * 4;
    *reinterpret_cast<uint4*>(column_target + (first_column + column) * rows + first_row + chunk * 16) =
        make_uint4(words[0], words[1], words[2], words[3]);
  }
}

template <Fp8Format kFormat>
void launch(const Context& context, const Fp8Source& x, DeviceScale* scale, std::uint8_t* rows,
            std::uint8_t* columns) {
  const bf16* data = static_cast<const bf16*>(x.data);
  if (columns) {
    const dim3 grid(static_cast<unsigned>(ceil_div(x.columns, kTile)),
                    static_cast<unsigned>(ceil_div(x.rows, kTile)));
    quantize_transposed_kernel<kFormat>
        <<<grid, kThreads, 0, context.stream>>>(x.rows, x.columns, data, scale, rows, columns);
  } else {
    const std::int64_t packs = x.rows * x.columns / 16;
    const std::int64_t blocks =
        std::min<std::int64_t>(ceil_div(packs, kThreads), context.multiprocessors * 64);
    quantize_kernel<kFormat><<<static_cast<unsigned>(blocks), kThreads, 0, context.stream>>>(
        packs, data, scale, reinterpret_cast<uint4*>(rows));
  }
  check_launch("quantize");
}

constexpr int kRoles = static_cast<int>(Fp8Role::count);

}  // namespace

Fp8Quantizer::Fp8Quantizer(Context& context) : context_(context) {
  static_assert(sizeof(Scale) == sizeof(DeviceScale) &&
                offsetof(Scale, largest) == offsetof(DeviceScale, largest));
  scales_ = static_cast<Scale*>(device_allocate(sizeof(Scale) * kMaxSites * kRoles));
  watched_ = static_cast<unsigned*>(device_allocate(sizeof *watched_));
}

Fp8Quantizer::~Fp8Quantizer() {
  cudaFree(scales_);
  cudaFree(watched_);
}

Fp8Quantizer::Scale* Fp8Quantizer::scale_of(const Fp8Source& x) const {
  return scales_ + x.site * kRoles + static_cast<int>(x.role);
}

Fp8Quantizer::Known& Fp8Quantizer::known(const Fp8Source& x) {
  const auto index = static_cast<std::size_t>(x.site * kRoles + static_cast<int>(x.role));
  if (index >= known_.size()) known_.resize(index + 1);
  return known_[index];
}

Fp8Quantizer::Scale* Fp8Quantizer::measure(const Fp8Source& x) {
  Scale* scale = scale_of(x);
  known(x) = {x.data, recording_id(context_.stream)};
  if (watched(x)) {
    check(cudaMemcpyAsync(&scale->largest, watched_, sizeof *watched_, cudaMemcpyDeviceToDevice,
                          context_.stream),
          "measure");
    return scale;
  }
  check(cudaMemsetAsync(scale, 0, sizeof(Scale), context_.stream), "measure");
  const std::int64_t packs = x.rows * x.columns / 8;
  const std::int64_t blocks =
      std::min<std::int64_t>(ceil_div(packs, kThreads * 4), context_.multiprocessors * 8);
  measure_kernel<<<static_cast<unsigned>(blocks), kThreads, 0, context_.stream>>>(
      packs, static_cast<const bf16*>(x.data), reinterpret_cast<DeviceScale*>(scale));
  check_launch("measure");
  return scale;
}

unsigned* Fp8Quantizer::watch(const void* data, std::int64_t count) {
  watch_ = {data, count, context_.calls, recording_id(context_.stream)};
  check(cudaMemsetAsync(watched_, 0, sizeof *watched_, context_.stream), "watch");
  return watched_;
}

bool Fp8Quantizer::watched(const Fp8Source& x) const {
  return watch_.data == x.data && watch_.count == x.rows * x.columns && watch_.call + 1 == context_.calls &&
         watch_.recording == recording_id(context_.stream);
}

Fp8Quantizer::Scale* Fp8Quantizer::measure_if_changed(const Fp8Source& x) {
  const Known& last = known(x);
  const bool holds = last.data == x.data && last.recording == recording_id(context_.stream);
  return holds ? scale_of(x) : measure(x);
}

void Fp8Quantizer::convert(const Fp8Source& x, Scale* scale, std::uint8_t* rows, std::uint8_t* columns) {
  DeviceScale* on_device = reinterpret_cast<DeviceScale*>(scale);
  x.role == Fp8Role::gradient ? launch<Fp8Format::e5m2>(context_, x, on_device, rows, columns)
                              : launch<Fp8Format::e4m3>(context_, x, on_device, rows, columns);
}

Fp8Operand Fp8Quantizer::row_major(const Fp8Source& x) {
  Scale* scale = x.role == Fp8Role::weight ? measure_if_changed(x) : measure(x);
  auto* target = operands_[static_cast<int>(x.role)].reserve<std::uint8_t>(x.rows * x.columns, context_);
  convert(x, scale, target, nullptr);
  return {target, &scale->inverse};
}

Fp8Operand Fp8Quantizer::transposed(const Fp8Source& x) {
  Scale* scale = measure_if_changed(x);
  auto* target = operands_[static_cast<int>(x.role)].reserve<std::uint8_t>(x.rows * x.columns, context_);
  convert(x, scale, nullptr, target);
  return {target, &scale->inverse};
}

Fp8Operand Fp8Quantizer::gradient(const Fp8Source& x, bool transposed) {
  const bool follows = pair_.call != 0 && pair_.call + 1 == context_.calls && pair_.source.data == x.data &&
                       pair_.source.site == x.site && pair_.source.rows == x.rows &&
                       pair_.source.columns == x.columns && pair_.recording == recording_id(context_.stream);
  if (!follows) {
    Scale* scale = measure(x);
    auto* rows = operands_[static_cast<int>(x.role)].reserve<std::uint8_t>(x.rows * x.columns, context_);
    auto* columns = gradient_columns_.reserve<std::uint8_t>(x.rows * x.columns, context_);
    convert(x, scale, rows, columns);
    pair_ = {x,
             context_.calls,
             recording_id(context_.stream),
             {rows, &scale->inverse},
             {columns, &scale->inverse}};
  }
  return transposed ? pair_.columns : pair_.rows;
}

void Fp8Quantizer::forget(const void* data, std::size_t bytes) {
  const auto first = reinterpret_cast<std::uintptr_t>(data);
  for (Known& measured : known_) {
    const auto at = reinterpret_cast<std::uintptr_t>(measured.data);
    if (at >= first && at < first + bytes) measured = {};
  }
}

void Fp8Quantizer::forget_all() { std::fill(known_.begin(), known_.end(), Known{}); }

}  // namespace striped::cuda
