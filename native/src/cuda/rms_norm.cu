// RMSNorm fused with the residual add, and its backward pass. One block takes a row at a time and keeps it in
// registers: forward reads x and the branch and writes the sum and y; backward reads sum, dy and dx, writes
// dx. The next row is on its way while one is summed.
#include <algorithm>

#include "largest.cuh"
#include "operators.h"
#include "striped/error.h"

namespace striped::cuda {
namespace {

// A thread has P packs of N values of a row: the block covers width <= blockDim.x · P · N. This is the first
// column of one of them.
template <int N>
__device__ __forceinline__ int column(int pack) {
  return static_cast<int>(pack * blockDim.x + threadIdx.x) * N;
}

// A thread's packs of the weights.
template <int N, int P>
__device__ __forceinline__ void load_weights(const float* w, int width, float (&weight)[P][N]) {
#pragma unroll
  for (int p = 0; p < P; ++p)
    if (column<N>(p) < width) load_real<N>(w + column<N>(p), weight[p]);
}

template <class T, int N, int P>
__global__ void __launch_bounds__(1024)
    normalise(std::int64_t rows, int width, float eps, const T* x, const T* branch, const float* w, T* sum,
              T* y, float* reciprocal_rms, unsigned* largest) {
  constexpr bool kAhead = P <= 2;  // registers have room for the next row, and for the weights
  __shared__ float shared[32];
  float most = 0;
  float weight[P][N];
  if (kAhead) load_weights(w, width, weight);
  Pack<T, N> next_x[P], next_branch[P];
  const auto fetch_pack = [&](std::int64_t row, int p) {
    const int c = column<N>(p);
    if (row >= rows || c >= width) return;
    next_x[p] = fetch<N>(x + row * width + c);
    if (branch) next_branch[p] = fetch<N>(branch + row * width + c);
  };
  const auto fetch_ahead = [&](std::int64_t row) {
#pragma unroll
    for (int p = 0; kAhead && p < P; ++p) fetch_pack(row, p);
  };
  fetch_ahead(blockIdx.x);
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const std::int64_t base = row * width;
    float s[P][N];
    float squares = 0;
#pragma unroll
    for (int p = 0; p < P; ++p) {
      const int c = column<N>(p);
      if (c >= width) continue;
      if (!kAhead) fetch_pack(row, p);
      unpack(next_x[p], s[p]);
      if (branch) {
        float other[N];
        unpack(next_branch[p], other);
        // The norm is that of the sum as it is stored, which is what the backward pass reads.
#pragma unroll
        for (int i = 0; i < N; ++i) s[p][i] = to_float(from_float<T>(s[p][i] + other[i]));
      }
      if (sum) store<N>(sum + base + c, s[p]);
#pragma unroll
      for (int i = 0; i < N; ++i) squares += s[p][i] * s[p][i];
    }
    fetch_ahead(row + gridDim.x);
    const float scale = 1.0f / sqrtf(block_sum(squares, shared) / width + eps);
    if (threadIdx.x == 0) reciprocal_rms[row] = scale;
#pragma unroll
    for (int p = 0; p < P; ++p) {
      const int c = column<N>(p);
      if (c >= width) continue;
      if (!kAhead) load_real<N>(w + c, weight[p]);
#pragma unroll
      for (int i = 0; i < N; ++i) s[p][i] *= scale * weight[p][i];
      store<N>(y + base + c, s[p]);
      if (largest) most = largest_of(most, s[p]);
    }
  }
  if (largest) raise_to_block_max(most, largest, shared);
}

// With r = 1/rms and p = Σ_c dy_c·w_c·s_c: ds = r·(w ⊙ dy) - s·r³·p/width. A block sums dy ⊙ s·r over its
// rows into its row of dw_partial[gridDim.x, width].
template <class T, int N, int P>
__global__ void __launch_bounds__(1024)
    normalise_backward(std::int64_t rows, int width, const T* sum, const float* w,
                       const float* reciprocal_rms, const T* dy, T* dx, float* dw_partial,
                       unsigned* largest) {
  constexpr bool kAhead = P == 1;
  __shared__ float shared[32];
  float most = 0;
  float weight[P][N];
  if (kAhead) load_weights(w, width, weight);
  float dw[P][N] = {};
  Pack<T, N> next_sum[P], next_dy[P], next_dx[P];
  float next_scale = 0;
  const auto fetch_pack = [&](std::int64_t row, int p) {
    const int c = column<N>(p);
    if (row >= rows || c >= width) return;
    next_sum[p] = fetch<N>(sum + row * width + c);
    next_dy[p] = fetch<N>(dy + row * width + c);
    next_dx[p] = fetch<N>(dx + row * width + c);
  };
  const auto fetch_ahead = [&](std::int64_t row) {
    if (row < rows) next_scale = reciprocal_rms[row];
#pragma unroll
    for (int p = 0; kAhead && p < P; ++p) fetch_pack(row, p);
  };
  fetch_ahead(blockIdx.x);
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const float scale = next_scale;
    float s[P][N], d[P][N];
    float projection = 0;
#pragma unroll
    for (int p = 0; p < P; ++p) {
      const int c = column<N>(p);
      if (c >= width) continue;
      if (!kAhead) fetch_pack(row, p);
      float g[N];
      unpack(next_sum[p], s[p]);
      unpack(next_dy[p], g);
      unpack(next_dx[p], d[p]);
      if (!kAhead) load_real<N>(w + c, weight[p]);
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const float product = g[i] * s[p][i];
        dw[p][i] += product * scale;
        projection += product * weight[p][i];
        d[p][i] += scale * weight[p][i] * g[i];
      }
    }
    fetch_ahead(row + gridDim.x);
    const float along = scale * scale * scale * block_sum(projection, shared) / width;
#pragma unroll
    for (int p = 0; p < P; ++p) {
      const int c = column<N>(p);
      if (c >= width) continue;
#pragma unroll
      for (int i = 0; i < N; ++i) d[p][i] -= along * s[p][i];
      store<N>(dx + row * width + c, d[p]);
      if (largest) most = largest_of(most, d[p]);
    }
  }
  if (largest) raise_to_block_max(most, largest, shared);
#pragma unroll
  for (int p = 0; p < P; ++p) {
    const int c = column<N>(p);
    if (c < width) store_real<N>(dw_partial + blockIdx.x * static_cast<std::int64_t>(width) + c, dw[p]);
  }
}

struct Arguments {
  std::int64_t rows, width;
  float eps;
  const void *x, *branch, *dy;
  const float* w;
  void *sum, *y, *dx;
  float* reciprocal_rms;
  float* dw;
  unsigned* largest;
};

template <class T, int N, int P>
void launch_forward(Context& context, const Arguments& a, unsigned threads) {
  // Enough rows in flight to hide latency, few enough blocks that each lives long.
  const unsigned blocks = static_cast<unsigned>(std::min<std::int64_t>(
      a.rows, static_cast<std::int64_t>(context.multiprocessors) * (2048 / threads) * 4));
  normalise<T, N, P><<<blocks, threads, 0, context.stream>>>(
      a.rows, static_cast<int>(a.width), a.eps, static_cast<const T*>(a.x), static_cast<const T*>(a.branch),
      a.w, static_cast<T*>(a.sum), static_cast<T*>(a.y), a.reciprocal_rms, a.largest);
  check_launch("rms_norm");
}

template <class T, int N, int P>
void launch_backward(Context& context, const Arguments& a, unsigned threads) {
  const std::int64_t resident = std::max<std::int64_t>(1, 1024 / threads);
  const std::int64_t blocks = std::min<std::int64_t>(a.rows, context.multiprocessors * resident);
  float* partial = context.scratch.reserve<float>(static_cast<std::size_t>(blocks * a.width), context);
  normalise_backward<T, N, P><<<static_cast<unsigned>(blocks), threads, 0, context.stream>>>(
      a.rows, static_cast<int>(a.width), static_cast<const T*>(a.sum), a.w, a.reciprocal_rms,
      static_cast<const T*>(a.dy), static_cast<T*>(a.dx), partial, a.largest);
  check_launch("rms_norm_backward");
  add_partial_rows(context, blocks, a.width, partial, a.dw);
}

template <class T, int N, int P, bool kBackward>
void launch(Context& context, const Arguments& a) {
  const unsigned threads = static_cast<unsigned>(ceil_div(ceil_div(a.width, N * P), 32) * 32);
  if constexpr (kBackward) {
    launch_backward<T, N, P>(context, a, threads);
  } else {
    launch_forward<T, N, P>(context, a, threads);
  }
}

template <class T, int N, bool kBackward>
void choose_packs(Context& context, const Arguments& a) {
  const std::int64_t packs = ceil_div(a.width, N);
  if (packs <= (kBackward ? 1024 : 256)) return launch<T, N, 1, kBackward>(context, a);
  if (packs <= 2048) return launch<T, N, 2, kBackward>(context, a);
  if (packs <= 4096) return launch<T, N, 4, kBackward>(context, a);
  if (packs <= 8192) return launch<T, N, 8, kBackward>(context, a);
  throw Error("unsupported-shape",
              "RMSNorm on CUDA takes widths up to 8192, or up to 32768 in multiples of 8; got " +
                  std::to_string(a.width) + ".");
}

template <bool kBackward>
void dispatch(Context& context, const Arguments& a) {
  if (a.rows == 0) return;
  if (context.type == ElementType::bf16) {
    is_wide<bf16>(a.width) ? choose_packs<bf16, kWide<bf16>, kBackward>(context, a)
                           : choose_packs<bf16, 1, kBackward>(context, a);
  } else {
    is_wide<float>(a.width) ? choose_packs<float, kWide<float>, kBackward>(context, a)
                            : choose_packs<float, 1, kBackward>(context, a);
  }
}

}  // namespace

void rms_norm(Context& context, std::int64_t rows, std::int64_t width, float eps, const void* x,
              const void* branch, const float* w, void* sum, void* y, float* reciprocal_rms,
              unsigned* largest) {
  Arguments a{};
  a.rows = rows, a.width = width, a.eps = eps, a.x = x, a.branch = branch, a.w = w;
  a.sum = sum == x && !branch ? nullptr : sum;
  a.y = y, a.reciprocal_rms = reciprocal_rms, a.largest = largest;
  dispatch<false>(context, a);
}

void rms_norm_backward(Context& context, std::int64_t rows, std::int64_t width, const void* sum,
                       const float* w, const float* reciprocal_rms, const void* dy, void* dx, float* dw,
                       unsigned* largest) {
  Arguments a{};
  a.rows = rows, a.width = width, a.w = w, a.sum = const_cast<void*>(sum), a.dy = dy, a.dx = dx, a.dw = dw;
  a.reciprocal_rms = const_cast<float*>(reciprocal_rms), a.largest = largest;
  dispatch<true>(context, a);
}

}  // namespace striped::cuda
