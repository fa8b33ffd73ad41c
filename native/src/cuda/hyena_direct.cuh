// What the kernels of explicit filters on CUDA cores are made of: whole sequences in hyena_direct.cu, the
// edges of pieces in hyena_edges.cu.
#pragma once

#include "hyena_elements.cuh"

// A block has 32 channels (a lane each) and 128 tokens, 16 a warp. The filter is applied 128 lags at a time:
// the taps of these lags and the two neighbouring blocks of 128 tokens that they reach lie in shared memory,
// and a thread slides over them 16 × 16 products at a time from registers.
namespace striped::cuda::direct {

using namespace general;

constexpr int kLanes = 32, kWarps = 8, kRun = 16, kRows = kWarps * kRun;

struct Filter {
  const float *taps, *decay;
  int count, group_size;
  // Where a channel's taps begin: asked for once, since it takes a division.
  __device__ std::int64_t begin(int channel) const {
    return static_cast<std::int64_t>(channel / group_size) * count;
  }
  __device__ float tap(std::int64_t begin, int t) const {
    if (t >= count) return 0.0f;
    return decay == nullptr ? taps[begin + t] : taps[begin + t] * decay[begin + t];
  }
};

// `before` and `after`: u and g of the rows beyond the ends of pieces, [batch, taps - 1, width], or null.
template <class T>
struct Arguments {
  Tensors<T> tensors;
  Filter filter;
  const float* skip;
  const T *before, *after;
};

struct Place {
  int lane, warp, channel, first, batch;
  bool live;
  __device__ explicit Place(int width)
      : lane(threadIdx.x % kLanes),
        warp(threadIdx.x / kLanes),
        channel(blockIdx.x * kLanes + lane),
        first(blockIdx.y * kRows),
        batch(blockIdx.z),
        live(channel < width) {
    if (!live) channel = width - 1;
  }
};

// A channel of u or g as it lies in memory, [batch, rows, width]; zero beyond its rows.
template <class T>
struct Column {
  const T* values;
  std::int64_t stride;
  int rows;
  __device__ Column(const T* array, const Place& p, int rows, int width)
      : values(array + static_cast<std::int64_t>(p.batch) * rows * width + p.channel),
        stride(width),
        rows(rows) {}
  __device__ float at(int token) const { return to_float(values[token * stride]); }
  // Tokens first … first + 15.
  __device__ void run(int first, float (&x)[kRun]) const {
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      const int token = first + i;
      x[i] = token >= 0 && token < rows ? at(token) : 0.0f;
    }
  }
};

// Runs of 16 values a warp, [run][value][lane]; two blocks of tokens: `slot` alternates.
struct Window {
  float values[2][kWarps][kRun][kLanes];
  __device__ void put(int slot, int run, int lane, const float (&x)[kRun], bool reversed) {
#pragma unroll
    for (int i = 0; i < kRun; ++i) values[slot][run][reversed ? kRun - 1 - i : i][lane] = x[i];
  }
  // Run -8 … 7 relative to block `b`; negative runs lie in block b + 1, that is before it.
  __device__ void get(int b, int run, int lane, float (&x)[kRun]) const {
#pragma unroll
    for (int i = 0; i < kRun; ++i) x[i] = values[run < 0 ? (b + 1) % 2 : b % 2][run & 7][i][lane];
  }
};

// sum[i] += h ∗ x at this thread's tokens, if its warp's are `wanted`. fill(block, out): 16 values of x in
// the order of the window, `block` blocks of 128 tokens further into the filter's reach.
template <class Fill>
__device__ void convolve(Window& window, float (&taps)[kRows][kLanes], const Filter& filter, const Place& p,
                         bool reversed, bool wanted, const Fill& fill, float (&sum)[kRun]) {
  const std::int64_t filter_begin = filter.begin(p.channel);
  const auto fill_block = [&](int block) {
    float x[kRun];
    fill(block, x);
    window.put(block % 2, p.warp, p.lane, x, reversed);
  };
  __syncthreads();
  fill_block(0);
  for (int block = 0; block * kRows < filter.count; ++block) {
    fill_block(block + 1);
    for (int i = 0; i < kRun; ++i) {
      taps[p.warp * kRun + i][p.lane] = filter.tap(filter_begin, block * kRows + p.warp * kRun + i);
    }
    __syncthreads();
    float near[kRun], far[kRun];
    window.get(block, p.warp, p.lane, near);
    for (int lag = 0; wanted && lag < kWarps && block * kRows + lag * kRun < filter.count; ++lag) {
      window.get(block, p.warp - lag - 1, p.lane, far);
#pragma unroll
      for (int j = 0; j < kRun; ++j) {
        const float h = taps[lag * kRun + j][p.lane];
#pragma unroll
        for (int i = 0; i < kRun; ++i) sum[i] += h * (i >= j ? near[(i - j) & 15] : far[(kRun + i - j) & 15]);
      }
#pragma unroll
      for (int i = 0; i < kRun; ++i) near[i] = far[i];
    }
    __syncthreads();
  }
}

// sum[j] += Σ_t g_t·u_{t-j} over tokens [begin, end), j the 16 lags of this thread's warp in the lags' block
// `block`; where these are fewer than 16 a warp, the first warps have them, and all share out the tokens.
// gate and gradient(first, out): 16 values of u and g; `begin` a multiple of 16.
template <class Gate, class Gradient>
__device__ void correlate(Window& window, float (&gradients)[kWarps][kRun][kLanes], const Place& p, int begin,
                          int end, int block, int lags, const Gate& gate, const Gradient& gradient,
                          float (&sum)[kRun]) {
  int lag_runs = 1;  // a power of two
  while (lag_runs < kWarps && block * kRows + lag_runs * kRun < lags) lag_runs *= 2;
  const int shares = kWarps / lag_runs, share = p.warp / lag_runs, lag_run = p.warp % lag_runs;
  float x[kRun];
  gate(begin - (block + 1) * kRows + p.warp * kRun, x);
  window.put(1, p.warp, p.lane, x, false);
  for (int first = begin, tile = 0; first < end; first += kRows, ++tile) {
    // Slot tile % 2 holds the tokens of this tile less the block's lags, the other one those before.
    gate(first - block * kRows + p.warp * kRun, x);
    window.put(tile % 2, p.warp, p.lane, x, false);
    gradient(first + p.warp * kRun, x);
#pragma unroll
    for (int i = 0; i < kRun; ++i) gradients[p.warp][i][p.lane] = x[i];
    __syncthreads();
    float near[kRun], far[kRun];
    for (int run = share; run < kWarps && first + run * kRun < end; run += shares) {
      if (run == share || shares > 1) window.get(tile, run - lag_run - 1, p.lane, far);
      window.get(tile, run - lag_run, p.lane, near);
#pragma unroll
      for (int i = 0; i < kRun; ++i) {
        const float g = gradients[run][i][p.lane];
#pragma unroll
        for (int j = 0; j < kRun; ++j) sum[j] += g * (i >= j ? near[(i - j) & 15] : far[(kRun + i - j) & 15]);
      }
#pragma unroll
      for (int i = 0; i < kRun; ++i) far[i] = near[i];
    }
    __syncthreads();
  }
  if (shares == 1) return;
#pragma unroll
  for (int j = 0; j < kRun; ++j) gradients[p.warp][j][p.lane] = sum[j];
  __syncthreads();
  for (int other = p.warp + lag_runs; share == 0 && other < kWarps; other += lag_runs) {
#pragma unroll
    for (int j = 0; j < kRun; ++j) sum[j] += gradients[other][j][p.lane];
  }
}

// u of tokens before the first.
template <class T>
__device__ void load_before(const Arguments<T>& a, const Place& p, int first, float (&u)[kRun]) {
  const int rows = a.filter.count - 1;
  const T* end = a.before + static_cast<std::int64_t>(p.batch + 1) * rows * a.tensors.width + p.channel;
#pragma unroll
  for (int i = 0; i < kRun; ++i) {
    const int token = first + i;
    const bool known = a.before != nullptr && token >= -rows;
    u[i] = known ? to_float(end[static_cast<std::int64_t>(token) * a.tensors.width]) : 0.0f;
  }
}

template <class T>
Arguments<T> arguments_of(const HyenaShape& shape, const HyenaWeights& weights,
                          const HyenaSurroundings& around, const void* z, const void* dy) {
  return {tensors_of<T>(shape, weights, z, dy, around.projections),
          {static_cast<const float*>(weights.filter), static_cast<const float*>(weights.decay), shape.taps,
           static_cast<int>(shape.width / shape.groups)},
          shape.has_skip ? static_cast<const float*>(weights.skip) : nullptr,
          static_cast<const T*>(around.before),
          static_cast<const T*>(around.after)};
}

}  // namespace striped::cuda::direct
