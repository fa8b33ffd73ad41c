#include <algorithm>

#include "hyena_fir_fragments.cuh"
#include "hyena_fir_kernels.h"
#include "launch.h"
#include "tensor_map.h"

namespace striped::cuda::fir {
namespace {

constexpr int kStageTiles = 4;
constexpr int kStageRows = kStageTiles * kTile;
constexpr int kStages = 2;
constexpr int kAtOnce = 2;  // tiles, whose products do not wait for each other
constexpr int kOperandBytes = (kStageRows + kHalo) * kRowBytes;
constexpr int kStageBytes = 3 * kOperandBytes;
constexpr int kOutputBytes = kStageRows * kRowBytes;
constexpr int kSharedBytes = 2 * kOutputBytes + kStages * kStageBytes + 1024 /* alignment */;

struct ForwardArguments {
  int length, width, taps, group_size, strip_rows;
  const float *featurizer, *filter, *decay, *skip;
};

template <int Window>
__global__ __launch_bounds__(kWarps * 32,
                             kForwardBlocks) void forward_kernel(const __grid_constant__ CUtensorMap z_map,
                                                                 const __grid_constant__ CUtensorMap y_map,
                                                                 const ForwardArguments a) {
#if __CUDA_ARCH__ >= 900
  std::uint8_t* const raw = ptx::dynamic_shared();
  __shared__ std::uint64_t full_barriers[kStages];
  const std::uint32_t outputs = (ptx::shared_address(raw) + 1023u) & ~1023u;
  const std::uint32_t inputs = outputs + 2 * kOutputBytes;
  const std::uint32_t full = ptx::shared_address(full_barriers);

  const Lane lane;
  const int warp = threadIdx.x / 32;
  const int column = blockIdx.x * kChannels;
  const int channel = column + warp * kTile + lane.g;
  const int batch = blockIdx.z;
  const int begin = blockIdx.y * a.strip_rows;
  const int end = min(begin + a.strip_rows, a.length);
  constexpr int warm_rows = (Window * kTile + kStageRows - 1) / kStageRows * kStageRows;
  const int first = begin == 0 ? 0 : begin - warm_rows;
  const int stages = (end - first + kStageRows - 1) / kStageRows;

  // Before the strip only u is needed, not q.
  const auto fetch = [&](int stage) {
    const std::uint32_t buffer = inputs + stage % kStages * kStageBytes;
    const std::uint32_t barrier = full + stage % kStages * 8;
    const int row = first + stage * kStageRows;
    const int from = row < begin ? 1 : 0;
    ptx::barrier_expect(barrier, (3 - from) * kOperandBytes);
    for (int operand = from; operand < 3; ++operand) {
      ptx::copy_in(buffer + operand * kOperandBytes, &z_map, barrier, operand * a.width + column, row - kHalo,
                   batch);
    }
  };
  if (threadIdx.x == 0) {
    for (int s = 0; s < kStages; ++s) ptx::barrier_init(full + s * 8, 1);
    ptx::barrier_init_fence();
    for (int s = 0; s < min(kStages, stages); ++s) fetch(s);
  }

  const std::int64_t group = (column + warp * kTile) / a.group_size;
  const Filter filter{a.filter + group * a.taps, a.decay == nullptr ? nullptr : a.decay + group * a.taps,
                      a.taps};
  const TapPairs<Window> pairs(outputs + warp * TapPairs<Window>::kBytes, lane);
  pairs.load(filter, lane);
  __syncwarp();
  const TapsInRegisters<Window> taps(pairs);
  Featurizer fq, fk, fv;
  fq.load(a.featurizer, channel);
  fk.load(a.featurizer, a.width + channel);
  fv.load(a.featurizer, 2 * a.width + channel);
  const float skip[2] = {a.skip == nullptr ? 0.0f : a.skip[channel],
                         a.skip == nullptr ? 0.0f : a.skip[channel + 8]};
  __syncthreads();  // barriers are there, outputs are free again

  const std::uint32_t own_rows = tile_offset(warp, lane);
  std::uint32_t history[Window + kStageTiles][4] = {};  // u = k' ⊙ v' of the window and this stage
  const auto visit = [&]<bool warm_up>(int stage) {
    const std::uint32_t buffer = inputs + stage % kStages * kStageBytes;
    // This lane's rows of q, k and v, at the tile and two tokens earlier; and of y.
    std::uint32_t at[3], earlier[3];
#pragma unroll
    for (int operand = 0; operand < 3; ++operand) {
      earlier[operand] = ptx::swizzle128(buffer + operand * kOperandBytes + own_rows);
      at[operand] = ptx::swizzle128(buffer + operand * kOperandBytes + kHalo * kRowBytes + own_rows);
    }
    const std::uint32_t y_at = ptx::swizzle128(outputs + stage % 2 * kOutputBytes + own_rows);
#pragma unroll
    for (int first_tile = 0; first_tile < kStageTiles; first_tile += kAtOnce) {
      const auto load = [&](int operand, int tile, std::uint32_t(&pair)[4], std::uint32_t(&before)[4]) {
        ptx::load_matrix_transposed(pair, at[operand] + tile * kTileBytes);
        ptx::load_matrix_transposed(before, earlier[operand] + tile * kTileBytes);
      };
      float sum[kAtOnce][2][4];
#pragma unroll
      for (int n = 0; n < kAtOnce; ++n) {
        std::uint32_t pair[4], before[4], key_pair[4], key_before[4];
        load(1, first_tile + n, key_pair, key_before);
        load(2, first_tile + n, pair, before);
        std::uint32_t(&u)[4] = history[Window + first_tile + n];
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          const int c = r % 2;
          const float2 k = fk.apply(c, key_pair[r], key_before[r]), v = fv.apply(c, pair[r], before[r]);
          const float2 gated = {k.x * v.x, k.y * v.y};
          u[r] = ptx::pack_bf16(gated);
          sum[n][r / 2][c * 2] = skip[c] * gated.x;
          sum[n][r / 2][c * 2 + 1] = skip[c] * gated.y;
        }
      }
      if constexpr (warm_up) continue;
#pragma unroll
      for (int j = 0; j <= Window; ++j) {
#pragma unroll
        for (int n = 0; n < kAtOnce; ++n)
          convolve<Window, false>(sum[n], history[Window + first_tile + n - j], taps.at(j), j);
      }
#pragma unroll
      for (int n = 0; n < kAtOnce; ++n) {
        std::uint32_t pair[4], before[4], y[4];
        load(0, first_tile + n, pair, before);
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          const int c = r % 2;
          const float2 q = fq.apply(c, pair[r], before[r]);
          y[r] = ptx::pack_bf16(q.x * sum[n][r / 2][c * 2], q.y * sum[n][r / 2][c * 2 + 1]);
        }
        ptx::store_matrix_transposed(y_at + (first_tile + n) * kTileBytes, y);
      }
    }
#pragma unroll
    for (int j = 0; j < Window; ++j) {
#pragma unroll
      for (int r = 0; r < 4; ++r) history[j][r] = history[j + kStageTiles][r];
    }
  };
  for (int stage = 0; stage < stages; ++stage) {
    const int row = first + stage * kStageRows;
    ptx::barrier_wait(full + stage % kStages * 8, stage / kStages & 1);
    if (row < begin) {
      visit.template operator()<true>(stage);
    } else {
      visit.template operator()<false>(stage);
    }

    // One barrier a stage: it also tells everyone that the other output buffer has been read.
    ptx::copy_engine_fence();
    if (threadIdx.x == 0) ptx::copy_out_wait_read();
    __syncthreads();
    if (threadIdx.x == 0) {
      if (row >= begin) {
        ptx::copy_out(&y_map, outputs + stage % 2 * kOutputBytes, column, row, batch);
        ptx::copy_out_commit();
      }
      if (stage + kStages < stages) fetch(stage + kStages);
    }
  }
  if (threadIdx.x == 0) ptx::copy_out_wait();
#endif
}

template <int Window>
void start(const HyenaShape& shape, const HyenaWeights& weights, const void* z, void* y,
           cudaStream_t stream) {
  const Strips strips = cut_strips(Window, shape, kForwardBlocks);
  const auto z_map =
      bf16_tensor_map(z, shape.batch, shape.length, 3 * shape.width, kStageRows + kHalo, kChannels);
  const auto y_map = bf16_tensor_map(y, shape.batch, shape.length, shape.width, kStageRows, kChannels);
  const ForwardArguments arguments{static_cast<int>(shape.length),
                                   static_cast<int>(shape.width),
                                   shape.taps,
                                   static_cast<int>(shape.width / shape.groups),
                                   strips.rows,
                                   static_cast<const float*>(weights.featurizer),
                                   static_cast<const float*>(weights.filter),
                                   static_cast<const float*>(weights.decay),
                                   static_cast<const float*>(weights.skip)};
  const dim3 grid(static_cast<unsigned>(shape.width / kChannels), static_cast<unsigned>(strips.per_sequence),
                  static_cast<unsigned>(shape.batch));
  launch<forward_kernel<Window>>(grid, kWarps * 32, kSharedBytes, stream, z_map, y_map, arguments);
}

}  // namespace

void launch_forward(int window, const HyenaShape& shape, const HyenaWeights& weights, const void* z, void* y,
                    cudaStream_t stream) {
  if (window == 1) return start<1>(shape, weights, z, y, stream);
  if (window == 4) return start<4>(shape, weights, z, y, stream);
  if (window == 8) return start<8>(shape, weights, z, y, stream);
  return start<16>(shape, weights, z, y, stream);
}

}  // namespace striped::cuda::fir
