#include "hyena_long_filter.h"

#include <algorithm>

#include "hyena_fourier_turn.cuh"
#include "hyena_general.h"
#include "launch.h"
#include "vector.cuh"

namespace striped::cuda::fourier {
namespace {

constexpr int kThreads = 256;
constexpr int kTogether = 8;  // groups that share a twiddle factor

// Exponentials: a thread has 16 places, a block's thread count apart.
constexpr int kModeThreads = 128, kRun = 16, kTile = kModeThreads * kRun, kModes = 32;

// Explicit filters: h = ĥ ⊙ decay of a range of groups.
__global__ void explicit_taps_kernel(const float* filter, const float* decay, std::int64_t taps,
                                     std::int64_t count, float* out) {
  const std::int64_t k = blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x, group = blockIdx.y;
  if (k >= count) return;
  const float h = filter[group * taps + k];
  out[group * count + k] = decay == nullptr ? h : h * decay[group * taps + k];
}

__global__ void explicit_gradient_kernel(const float* d_taps, const float* decay, std::int64_t taps,
                                         std::int64_t count, float* gradient) {
  const std::int64_t k = blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x, group = blockIdx.y;
  if (k >= count) return;
  const float d = d_taps[group * count + k];
  gradient[group * taps + k] += decay == nullptr ? d : d * decay[group * taps + k];
}

// Powers of some exponentials of a filter, for a block. The exponent is in double precision, so that a pole
// next to 1 is right after a million tokens.
struct Powers {
  double log_poles[kModes];
  float steps[kModes][kRun];  // λ^(128·j)

  __device__ void load(const float* source, int count) {
    for (int i = threadIdx.x; i < count * kRun; i += kModeThreads) {
      const int n = i / kRun, j = i % kRun;
      const double log_pole = source[n];
      if (j == 0) log_poles[n] = log_pole;
      steps[n][j] = static_cast<float>(exp(log_pole * (kModeThreads * j)));
    }
  }
  __device__ float at(int n, std::int64_t k) const {
    return static_cast<float>(exp(log_poles[n] * static_cast<double>(k)));
  }
};

__global__ __launch_bounds__(kModeThreads) void modal_taps_kernel(const float* residues,
                                                                  const float* log_poles, int order,
                                                                  std::int64_t count, float* out) {
  __shared__ Powers powers;
  __shared__ float residue[kModes];
  const std::int64_t first = blockIdx.x * static_cast<std::int64_t>(kTile) + threadIdx.x, group = blockIdx.y;
  float h[kRun] = {};
  for (int mode = 0; mode < order; mode += kModes) {
    const int modes = min(kModes, order - mode);
    __syncthreads();
    powers.load(log_poles + group * order + mode, modes);
    if (static_cast<int>(threadIdx.x) < modes) {
      residue[threadIdx.x] = residues[group * order + mode + threadIdx.x];
    }
    __syncthreads();
    for (int n = 0; n < modes; ++n) {
      const float scale = residue[n] * powers.at(n, first);
#pragma unroll
      for (int j = 0; j < kRun; ++j) h[j] += scale * powers.steps[n][j];
    }
  }
  for (int j = 0; j < kRun; ++j) {
    const std::int64_t k = first + j * kModeThreads;
    if (k < count) out[group * count + k] = h[j];
  }
}

// Σ_k λ_n^k·d_k and Σ_k k·λ_n^k·d_k over a tile of places: partials[2, tiles, order, groups].
__global__ __launch_bounds__(kModeThreads) void modal_gradient_kernel(const float* d_taps,
                                                                      const float* log_poles, int order,
                                                                      std::int64_t count, float* partials) {
  constexpr int warps = kModeThreads / 32;
  __shared__ Powers powers;
  __shared__ float sums[2][kModes][warps];
  const std::int64_t first = blockIdx.x * static_cast<std::int64_t>(kTile) + threadIdx.x, group = blockIdx.y;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float d[kRun];
#pragma unroll
  for (int j = 0; j < kRun; ++j) {
    const std::int64_t k = first + j * kModeThreads;
    d[j] = k < count ? d_taps[group * count + k] : 0.0f;
  }
  for (int mode = 0; mode < order; mode += kModes) {
    const int modes = min(kModes, order - mode);
    __syncthreads();
    powers.load(log_poles + group * order + mode, modes);
    __syncthreads();
    for (int n = 0; n < modes; ++n) {
      const float power = powers.at(n, first);
      float sum = 0, moment = 0;
#pragma unroll
      for (int j = 0; j < kRun; ++j) {
        const float term = powers.steps[n][j] * d[j];
        sum += term;
        moment += static_cast<float>(j * kModeThreads) * term;
      }
      moment = warp_sum(power * (static_cast<float>(first) * sum + moment));
      sum = warp_sum(power * sum);
      if (lane == 0) sums[0][n][warp] = sum, sums[1][n][warp] = moment;
    }
    __syncthreads();
    const int which = threadIdx.x / kModes, n = threadIdx.x % kModes;
    if (which >= 2 || n >= modes) continue;
    float sum = 0;
    for (int w = 0; w < warps; ++w) sum += sums[which][n][w];
    partials[((static_cast<std::int64_t>(which) * gridDim.x + blockIdx.x) * order + mode + n) * gridDim.y +
             group] = sum;
  }
}

__global__ void fold_kernel(const Turn turn, const FourierPart part, std::int64_t groups, std::int64_t count,
                            const float* taps, float2* residues) {
  const std::int64_t row = blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x,
                     first = blockIdx.z * static_cast<std::int64_t>(kTogether);
  const int q = blockIdx.y;
  if (row >= part.rows) return;
  float2 sum[kTogether] = {};
  for (std::int64_t k = row; k < count; k += part.rows) {
    const float2 factor = turn(part.first + q, k);
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      const float x = first + i < groups ? taps[(first + i) * count + k] : 0.0f;
      sum[i].x += x * factor.x;
      sum[i].y += x * factor.y;
    }
  }
#pragma unroll
  for (int i = 0; i < kTogether; ++i) {
    if (first + i < groups) residues[((first + i) * part.count + q) * part.rows + row] = sum[i];
  }
}

__global__ void unfold_kernel(const Turn turn, const FourierPart part, std::int64_t groups,
                              std::int64_t count, const float2* residues, float* taps) {
  const std::int64_t k = blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x,
                     first = blockIdx.z * static_cast<std::int64_t>(kTogether);
  if (k >= count) return;
  float sum[kTogether] = {};
  for (int q = 0; q < part.count; ++q) {
    const float2 factor = turn(part.first + q, k);
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      if (first + i >= groups) break;
      const float2 x = residues[((first + i) * part.count + q) * part.rows + k % part.rows];
      sum[i] += x.x * factor.x + x.y * factor.y;
    }
  }
  const float share = 1.0f / (static_cast<float>(part.pieces) * static_cast<float>(part.rows));
#pragma unroll
  for (int i = 0; i < kTogether; ++i) {
    if (first + i < groups) taps[(first + i) * count + k] = sum[i] * share;
  }
}

unsigned blocks(std::int64_t count, int each) { return static_cast<unsigned>(ceil_div(count, each)); }

const float* rows_of(const void* array, std::int64_t first, std::int64_t columns) {
  return array == nullptr ? nullptr : static_cast<const float*>(array) + first * columns;
}
float* rows_of(void* array, std::int64_t first, std::int64_t columns) {
  return array == nullptr ? nullptr : static_cast<float*>(array) + first * columns;
}

}  // namespace

std::int64_t tap_count(const HyenaShape& shape, std::int64_t length) {
  return shape.kind == HyenaKind::long_implicit ? length : std::min<std::int64_t>(shape.taps, length);
}

void write_taps(const HyenaShape& shape, const HyenaWeights& weights, GroupRange groups, std::int64_t count,
                float* taps, cudaStream_t stream) {
  const auto range = static_cast<unsigned>(groups.count);
  if (shape.kind == HyenaKind::long_implicit) {
    launch<modal_taps_kernel>(dim3(blocks(count, kTile), range), kModeThreads, 0, stream,
                              rows_of(weights.residues, groups.first, shape.order),
                              rows_of(weights.log_poles, groups.first, shape.order), shape.order, count,
                              taps);
  } else {
    launch<explicit_taps_kernel>(dim3(blocks(count, kThreads), range), kThreads, 0, stream,
                                 rows_of(weights.filter, groups.first, shape.taps),
                                 rows_of(weights.decay, groups.first, shape.taps),
                                 static_cast<std::int64_t>(shape.taps), count, taps);
  }
}

std::int64_t tap_gradient_scratch(const HyenaShape& shape, std::int64_t groups, std::int64_t count) {
  return shape.kind == HyenaKind::long_implicit ? 2 * ceil_div(count, kTile) * shape.order * groups : 0;
}

void add_tap_gradients(const HyenaShape& shape, const HyenaWeights& weights, GroupRange groups,
                       std::int64_t count, const float* d_taps, const HyenaGradients& gradients,
                       float* scratch, cudaStream_t stream) {
  const auto range = static_cast<unsigned>(groups.count);
  if (shape.kind != HyenaKind::long_implicit) {
    if (gradients.filter == nullptr) return;
    launch<explicit_gradient_kernel>(dim3(blocks(count, kThreads), range), kThreads, 0, stream, d_taps,
                                     rows_of(weights.decay, groups.first, shape.taps),
                                     static_cast<std::int64_t>(shape.taps), count,
                                     rows_of(gradients.filter, groups.first, shape.taps));
    return;
  }
  const std::int64_t tiles = ceil_div(count, kTile);
  launch<modal_gradient_kernel>(dim3(static_cast<unsigned>(tiles), range), kModeThreads, 0, stream, d_taps,
                                rows_of(weights.log_poles, groups.first, shape.order), shape.order, count,
                                scratch);
  general::reduce({{scratch, tiles, shape.order, groups.count, groups.count,
                    rows_of(gradients.residues, groups.first, shape.order)},
                   {scratch + tiles * shape.order * groups.count, tiles, shape.order, groups.count,
                    groups.count, rows_of(gradients.log_poles, groups.first, shape.order),
                    rows_of(weights.residues, groups.first, shape.order)}},
                  stream);
}

void fold(const FourierPart& part, std::int64_t groups, std::int64_t count, const float* taps,
          float2* residues, cudaStream_t stream) {
  const dim3 grid(blocks(part.rows, kThreads), static_cast<unsigned>(part.count), blocks(groups, kTogether));
  launch<fold_kernel>(grid, kThreads, 0, stream, Turn(part), part, groups, count, taps, residues);
}

void unfold(const FourierPart& part, std::int64_t groups, std::int64_t count, const float2* residues,
            float* taps, cudaStream_t stream) {
  const dim3 grid(blocks(count, kThreads), 1, blocks(groups, kTogether));
  launch<unfold_kernel>(grid, kThreads, 0, stream, Turn(part), part, groups, count, residues, taps);
}

}  // namespace striped::cuda::fourier
