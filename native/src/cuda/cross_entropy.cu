// Weighted softmax cross-entropy; logits turn into their gradient in place, read once where a row fits the
// registers of a warp or of a block, twice beyond.
#include <algorithm>

#include "operators.h"
#include "vector.cuh"

namespace striped::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRowThreads = 512;

struct Arguments {
  std::int64_t rows, vocab;
  const std::int32_t* targets;
  const float* weights;
  float total_weight;
  bool gradient;
  double* partial;  // one loss a block
};

// The running maximum of a softmax and the sum of exponentials below it.
struct Softmax {
  float peak, total;
};

__device__ __forceinline__ Softmax merge(Softmax a, Softmax b) {
  const float peak = fmaxf(a.peak, b.peak);
  // exp(-inf - -inf) would be NaN: an empty part has total 0.
  const float left = a.total == 0 ? 0.0f : a.total * __expf(a.peak - peak);
  const float right = b.total == 0 ? 0.0f : b.total * __expf(b.peak - peak);
  return {peak, left + right};
}

// A warp a row, the row in registers: vocab <= 32 · P · N.
template <class T, int N, int P>
__global__ void __launch_bounds__(kThreads) warp_rows(Arguments a, T* logits) {
  __shared__ double losses[kThreads / 32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, vocab = static_cast<int>(a.vocab);
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * (kThreads / 32) + warp;
  double loss = 0;
  if (row < a.rows) {
    const float weight = a.weights[row];
    const std::int32_t target = a.targets[row];
    T* values = logits + row * vocab;
    float x[P][N];
    float peak = -INFINITY, total = 0, chosen = 0;
#pragma unroll
    for (int p = 0; p < P; ++p) {
      const int c = (p * 32 + lane) * N;
      if (c < vocab) load<N>(values + c, x[p]);
#pragma unroll
      for (int i = 0; i < N; ++i) {
        if (c >= vocab) x[p][i] = -INFINITY;
        peak = fmaxf(peak, x[p][i]);
        if (c + i == target) chosen = x[p][i];
      }
    }
    peak = warp_max(peak);
    chosen = warp_sum(chosen);
#pragma unroll
    for (int p = 0; p < P; ++p) {
#pragma unroll
      for (int i = 0; i < N; ++i) total += x[p][i] = __expf(x[p][i] - peak);
    }
    total = warp_sum(total);
    if (weight != 0) loss = static_cast<double>(weight) * (logf(total) - (chosen - peak));
    if (a.gradient) {
      const float scale = weight / a.total_weight, factor = scale / total;
#pragma unroll
      for (int p = 0; p < P; ++p) {
        const int c = (p * 32 + lane) * N;
#pragma unroll
        for (int i = 0; i < N; ++i) {
          x[p][i] = weight == 0 ? 0.0f : x[p][i] * factor - (c + i == target ? scale : 0.0f);
        }
        if (c < vocab) store<N>(values + c, x[p]);
      }
    }
  }
  if (lane == 0) losses[warp] = loss;
  __syncthreads();
  if (threadIdx.x == 0) {
    double sum = 0;
    for (int w = 0; w < kThreads / 32; ++w) sum += losses[w];
    a.partial[blockIdx.x] = sum;
  }
}

__device__ Softmax block_merge(Softmax mine, Softmax* shared) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    mine = merge(mine, {__shfl_xor_sync(0xffffffffu, mine.peak, offset),
                        __shfl_xor_sync(0xffffffffu, mine.total, offset)});
  }
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = mine;
  __syncthreads();
  Softmax all = shared[0];
  for (int w = 1; w < kRowThreads / 32; ++w) all = merge(all, shared[w]);
  return all;
}

// A block a row, twice over the row: an online softmax, then the gradient (mostly from the L2 cache).
template <class T, int N>
__global__ void __launch_bounds__(kRowThreads) block_row(Arguments a, T* logits) {
  __shared__ Softmax shared[kRowThreads / 32];
  const std::int64_t row = blockIdx.x;
  const float weight = a.weights[row];
  const std::int32_t target = a.targets[row];
  T* values = logits + row * a.vocab;
  const float chosen = to_float(values[target]);
  Softmax mine{-INFINITY, 0};
  for (std::int64_t c = threadIdx.x * N; c < a.vocab; c += kRowThreads * N) {
    float x[N], peak = mine.peak;
    load<N>(values + c, x);
#pragma unroll
    for (int i = 0; i < N; ++i) peak = fmaxf(peak, x[i]);
    float total = mine.total == 0 ? 0.0f : mine.total * __expf(mine.peak - peak);
#pragma unroll
    for (int i = 0; i < N; ++i) total += __expf(x[i] - peak);
    mine = {peak, total};
  }
  // Its barrier also keeps every read of `chosen` before the first write of the gradient.
  const Softmax all = block_merge(mine, shared);
  if (threadIdx.x == 0) {
    a.partial[row] =
        weight == 0 ? 0.0 : static_cast<double>(weight) * (logf(all.total) - (chosen - all.peak));
  }
  if (!a.gradient) return;
  const float scale = weight / a.total_weight, factor = scale / all.total;
  for (std::int64_t c = threadIdx.x * N; c < a.vocab; c += kRowThreads * N) {
    float x[N];
    load<N>(values + c, x);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      x[i] = weight == 0 ? 0.0f : __expf(x[i] - all.peak) * factor - (c + i == target ? scale : 0.0f);
    }
    store<N>(values + c, x);
  }
}

__global__ void total_loss(std::int64_t parts, const double* partial, float* loss_sum) {
  __shared__ double shared[32];
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < parts; i += blockDim.x) sum += partial[i];
  sum = block_sum(sum, shared);
  if (threadIdx.x == 0) *loss_sum += static_cast<float>(sum);
}

template <class T, int N, int P>
std::int64_t launch_warp_rows(Context& context, Arguments a, T* logits) {
  const std::int64_t blocks = ceil_div(a.rows, kThreads / 32);
  a.partial = context.scratch.reserve<double>(static_cast<std::size_t>(blocks), context);
  warp_rows<T, N, P><<<static_cast<unsigned>(blocks), kThreads, 0, context.stream>>>(a, logits);
  return blocks;
}

template <class T, int N>
std::int64_t launch(Context& context, Arguments a, T* logits) {
  if (a.vocab <= 32 * N) return launch_warp_rows<T, N, 1>(context, a, logits);
  if (a.vocab <= 64 * N) return launch_warp_rows<T, N, 2>(context, a, logits);
  if (a.vocab <= 128 * N) return launch_warp_rows<T, N, 4>(context, a, logits);
  a.partial = context.scratch.reserve<double>(static_cast<std::size_t>(a.rows), context);
  block_row<T, N><<<static_cast<unsigned>(a.rows), kRowThreads, 0, context.stream>>>(a, logits);
  return a.rows;
}

template <class T>
void dispatch(Context& context, const Arguments& a, void* logits, float* loss_sum) {
  T* values = static_cast<T*>(logits);
  const std::int64_t parts =
      is_wide<T>(a.vocab) ? launch<T, kWide<T>>(context, a, values) : launch<T, 1>(context, a, values);
  check_launch("cross_entropy");
  const double* partial = context.scratch.reserve<double>(static_cast<std::size_t>(parts), context);
  total_loss<<<1, 1024, 0, context.stream>>>(parts, partial, loss_sum);
  check_launch("total_loss");
}

}  // namespace

void cross_entropy(Context& context, std::int64_t rows, std::int64_t vocab, void* logits,
                   const std::int32_t* targets, const float* weights, float total_weight, bool gradient,
                   float* loss_sum) {
  if (rows == 0) return;
  const Arguments a{rows, vocab, targets, weights, total_weight, gradient, nullptr};
  context.type == ElementType::bf16 ? dispatch<bf16>(context, a, logits, loss_sum)
                                    : dispatch<float>(context, a, logits, loss_sum);
}

}  // namespace striped::cuda
