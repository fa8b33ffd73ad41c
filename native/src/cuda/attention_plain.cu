// Causal attention by kernels of ours: blocked, online softmax (Dao et al. 2022), fp32 arithmetic on the CUDA
// cores. It serves fp32, shapes that cuDNN does not take, and as a check; no atomics, so results repeat.
#include <algorithm>
#include <cmath>

#include "operators.h"
#include "striped/error.h"
#include "vector.cuh"

namespace striped::cuda {
namespace {

constexpr int kSide = 16;  // a block is kSide x kSide threads

struct Shape {
  std::int64_t length;
  int heads, kv_heads, head_dim;
  std::int64_t window;
  float scale;
};

template <class T>
struct View {
  const T* data;
  std::int64_t stride;
  __device__ const T* head(const Shape& s, std::int64_t sequence, int head) const {
    return data + sequence * s.length * stride + static_cast<std::int64_t>(head) * s.head_dim;
  }
};
template <class T>
struct MutableView {
  T* data;
  std::int64_t stride;
  __device__ T* head(const Shape& s, std::int64_t sequence, int head) const {
    return data + sequence * s.length * stride + static_cast<std::int64_t>(head) * s.head_dim;
  }
};

// tile[kTile][D + 1]: rows first … of a head, zero outside.
template <int kTile, int D, class T>
__device__ void load_tile(const T* head, std::int64_t stride, std::int64_t first, const Shape& s,
                          float* tile) {
  const int thread = threadIdx.y * kSide + threadIdx.x;
  for (int i = thread; i < kTile * D; i += kSide * kSide) {
    const int row = i / D, column = i % D;
    const std::int64_t t = first + row;
    tile[row * (D + 1) + column] =
        t < s.length && column < s.head_dim ? to_float(head[t * stride + column]) : 0.0f;
  }
}

// out[r][c] = Σ_d a[y + 16r][d] · b[x + 16c][d]
template <int kTile, int D>
__device__ __forceinline__ void multiply_rows(const float* a, const float* b,
                                              float (&out)[kTile / kSide][kTile / kSide]) {
  constexpr int n = kTile / kSide;
#pragma unroll
  for (int r = 0; r < n; ++r) {
#pragma unroll
    for (int c = 0; c < n; ++c) out[r][c] = 0;
  }
#pragma unroll 8
  for (int d = 0; d < D; ++d) {
    float left[n], right[n];
#pragma unroll
    for (int r = 0; r < n; ++r) left[r] = a[(threadIdx.y + kSide * r) * (D + 1) + d];
#pragma unroll
    for (int c = 0; c < n; ++c) right[c] = b[(threadIdx.x + kSide * c) * (D + 1) + d];
#pragma unroll
    for (int r = 0; r < n; ++r) {
#pragma unroll
      for (int c = 0; c < n; ++c) out[r][c] += left[r] * right[c];
    }
  }
}

// out[r][c] += Σ_j p[y + 16r][j] · b[j][x + 16c], or with p transposed; p is [kTile][kTile + 1].
template <int kTile, int D, bool kTransposed>
__device__ __forceinline__ void accumulate(const float* p, const float* b,
                                           float (&out)[kTile / kSide][D / kSide]) {
  constexpr int rows = kTile / kSide, columns = D / kSide;
#pragma unroll 4
  for (int j = 0; j < kTile; ++j) {
    float left[rows];
#pragma unroll
    for (int r = 0; r < rows; ++r) {
      const int i = threadIdx.y + kSide * r;
      left[r] = kTransposed ? p[j * (kTile + 1) + i] : p[i * (kTile + 1) + j];
    }
#pragma unroll
    for (int c = 0; c < columns; ++c) {
      const float right = b[j * (D + 1) + threadIdx.x + kSide * c];
#pragma unroll
      for (int r = 0; r < rows; ++r) out[r][c] += left[r] * right;
    }
  }
}

// Over the kSide threads that share a row of a tile.
__device__ __forceinline__ float row_max(float value) {
#pragma unroll
  for (int offset = kSide / 2; offset > 0; offset /= 2)
    value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, offset));
  return value;
}
__device__ __forceinline__ float row_sum(float value) {
#pragma unroll
  for (int offset = kSide / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
  return value;
}

__device__ __forceinline__ bool sees(const Shape& s, std::int64_t query, std::int64_t key) {
  return query < s.length && key <= query && (s.window == 0 || query - key < s.window);
}

// The first tile of keys that queries from `query` on see, and one past the last tile of queries that keys up
// to `key` are seen by.
template <int kTile>
__device__ __forceinline__ std::int64_t first_key_tile(const Shape& s, std::int64_t query) {
  return s.window == 0 || query < s.window ? 0 : (query - s.window + 1) / kTile;
}
template <int kTile>
__device__ __forceinline__ std::int64_t end_query_tile(const Shape& s, std::int64_t key) {
  const std::int64_t end = s.window == 0 ? s.length : min(s.length, key + s.window);
  return (end + kTile - 1) / kTile;
}

template <class T, int kTile, int D>
__device__ void write_rows(T* head, std::int64_t stride, std::int64_t first, const Shape& s,
                           const float (&values)[kTile / kSide][D / kSide], float factor) {
#pragma unroll
  for (int r = 0; r < kTile / kSide; ++r) {
    const std::int64_t t = first + threadIdx.y + kSide * r;
    if (t >= s.length) continue;
#pragma unroll
    for (int c = 0; c < D / kSide; ++c) {
      const int d = threadIdx.x + kSide * c;
      if (d < s.head_dim) head[t * stride + d] = from_float<T>(values[r][c] * factor);
    }
  }
}

// Grid: query tiles, heads, batch.
template <class T, int kTile, int D>
__global__ void __launch_bounds__(kSide* kSide)
    forward(Shape s, View<T> q, View<T> k, View<T> v, MutableView<T> y, float* statistics) {
  constexpr int n = kTile / kSide;
  extern __shared__ float memory[];
  float* queries = memory;
  float* others = queries + kTile * (D + 1);
  float* p = others + kTile * (D + 1);
  const std::int64_t tile = gridDim.x - 1 - blockIdx.x, first = tile * kTile;  // long rows first
  const int head = blockIdx.y, kv_head = head / (s.heads / s.kv_heads);
  const std::int64_t sequence = blockIdx.z;
  load_tile<kTile, D>(q.head(s, sequence, head), q.stride, first, s, queries);
  float out[n][D / kSide] = {}, peak[n], total[n] = {};
#pragma unroll
  for (int r = 0; r < n; ++r) peak[r] = -INFINITY;
  for (std::int64_t other = first_key_tile<kTile>(s, first); other <= tile; ++other) {
    __syncthreads();
    load_tile<kTile, D>(k.head(s, sequence, kv_head), k.stride, other * kTile, s, others);
    __syncthreads();
    float scores[n][n];
    multiply_rows<kTile, D>(queries, others, scores);
#pragma unroll
    for (int r = 0; r < n; ++r) {
      const int row = threadIdx.y + kSide * r;
      float highest = peak[r], sum = 0;
#pragma unroll
      for (int c = 0; c < n; ++c) {
        const bool seen = sees(s, first + row, other * kTile + threadIdx.x + kSide * c);
        scores[r][c] = seen ? scores[r][c] * s.scale : -INFINITY;
        highest = fmaxf(highest, scores[r][c]);
      }
      highest = row_max(highest);
      // A row that has seen nothing yet keeps peak -inf: its exponentials are zero, not NaN.
      const float base = highest == -INFINITY ? 0.0f : highest;
      const float rescale = expf(peak[r] - base);
#pragma unroll
      for (int c = 0; c < n; ++c) {
        const float e = expf(scores[r][c] - base);
        p[row * (kTile + 1) + threadIdx.x + kSide * c] = e;
        sum += e;
      }
      total[r] = total[r] * rescale + row_sum(sum);
      peak[r] = highest;
#pragma unroll
      for (int c = 0; c < D / kSide; ++c) out[r][c] *= rescale;
    }
    __syncthreads();
    load_tile<kTile, D>(v.head(s, sequence, kv_head), v.stride, other * kTile, s, others);
    __syncthreads();
    accumulate<kTile, D, false>(p, others, out);
  }
#pragma unroll
  for (int r = 0; r < n; ++r) {
    const std::int64_t t = first + threadIdx.y + kSide * r;
    const float inverse = total[r] == 0 ? 0.0f : 1.0f / total[r];
#pragma unroll
    for (int c = 0; c < D / kSide; ++c) out[r][c] *= inverse;
    if (threadIdx.x == 0 && t < s.length) {
      statistics[(sequence * s.heads + head) * s.length + t] = peak[r] + logf(total[r]);
    }
  }
  write_rows<T, kTile, D>(y.head(s, sequence, head), y.stride, first, s, out, 1.0f);
}

// delta = Σ_d y · dy; a warp a row. Grid: rows of a head, heads, batch.
template <class T>
__global__ void dot_outputs(Shape s, View<T> y, View<T> dy, float* delta) {
  const std::int64_t t = static_cast<std::int64_t>(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32;
  if (t >= s.length) return;
  const T* a = y.head(s, blockIdx.z, blockIdx.y) + t * y.stride;
  const T* b = dy.head(s, blockIdx.z, blockIdx.y) + t * dy.stride;
  float sum = 0;
  for (int d = threadIdx.x % 32; d < s.head_dim; d += 32) sum += to_float(a[d]) * to_float(b[d]);
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0)
    delta[(static_cast<std::int64_t>(blockIdx.z) * s.heads + blockIdx.y) * s.length + t] = sum;
}

// p = exp(scale·q·k - lse) and ds = p ⊙ (dy·v - delta) of one pair of tiles, either into shared memory if
// given.
template <int kTile, int D>
__device__ void score_gradients(const Shape& s, std::int64_t first_query, std::int64_t first_key,
                                const float* queries, const float* keys, const float* values,
                                const float* dys, const float* statistics, const float* delta, float* p,
                                float* ds) {
  constexpr int n = kTile / kSide;
  float scores[n][n], dp[n][n];
  multiply_rows<kTile, D>(queries, keys, scores);
  multiply_rows<kTile, D>(dys, values, dp);
#pragma unroll
  for (int r = 0; r < n; ++r) {
    const int row = threadIdx.y + kSide * r;
    const std::int64_t t = first_query + row;
    const float lse = t < s.length ? statistics[t] : 0.0f, d = t < s.length ? delta[t] : 0.0f;
#pragma unroll
    for (int c = 0; c < n; ++c) {
      const int column = threadIdx.x + kSide * c;
      const float weight = sees(s, t, first_key + column) ? expf(scores[r][c] * s.scale - lse) : 0.0f;
      if (p) p[row * (kTile + 1) + column] = weight;
      ds[row * (kTile + 1) + column] = weight * (dp[r][c] - d);
    }
  }
}

// Grid: query tiles, heads, batch.
template <class T, int kTile, int D>
__global__ void __launch_bounds__(kSide* kSide)
    query_gradient(Shape s, View<T> q, View<T> k, View<T> v, View<T> dy, const float* statistics,
                   const float* delta, MutableView<T> dq) {
  extern __shared__ float memory[];
  constexpr int kSize = kTile * (D + 1);
  float *queries = memory, *dys = queries + kSize, *keys = dys + kSize, *values = keys + kSize,
        *ds = values + kSize;
  const std::int64_t tile = gridDim.x - 1 - blockIdx.x, first = tile * kTile, sequence = blockIdx.z;
  const int head = blockIdx.y, kv_head = head / (s.heads / s.kv_heads);
  const std::int64_t row_offset = (sequence * s.heads + head) * s.length;
  load_tile<kTile, D>(q.head(s, sequence, head), q.stride, first, s, queries);
  load_tile<kTile, D>(dy.head(s, sequence, head), dy.stride, first, s, dys);
  float out[kTile / kSide][D / kSide] = {};
  for (std::int64_t other = first_key_tile<kTile>(s, first); other <= tile; ++other) {
    __syncthreads();
    load_tile<kTile, D>(k.head(s, sequence, kv_head), k.stride, other * kTile, s, keys);
    load_tile<kTile, D>(v.head(s, sequence, kv_head), v.stride, other * kTile, s, values);
    __syncthreads();
    score_gradients<kTile, D>(s, first, other * kTile, queries, keys, values, dys, statistics + row_offset,
                              delta + row_offset, nullptr, ds);
    __syncthreads();
    accumulate<kTile, D, false>(ds, keys, out);
  }
  write_rows<T, kTile, D>(dq.head(s, sequence, head), dq.stride, first, s, out, s.scale);
}

// Grid: key tiles, kv heads, batch; a block sums over the query heads of its kv head, in order.
template <class T, int kTile, int D>
__global__ void __launch_bounds__(kSide* kSide)
    key_value_gradient(Shape s, View<T> q, View<T> k, View<T> v, View<T> dy, const float* statistics,
                       const float* delta, MutableView<T> dk, MutableView<T> dv) {
  extern __shared__ float memory[];
  constexpr int kSize = kTile * (D + 1), kPairs = kTile * (kTile + 1);
  float *keys = memory, *values = keys + kSize, *queries = values + kSize, *dys = queries + kSize;
  float *p = dys + kSize, *ds = p + kPairs;
  const std::int64_t tile = blockIdx.x, first = tile * kTile, sequence = blockIdx.z;
  const int kv_head = blockIdx.y, group = s.heads / s.kv_heads;
  load_tile<kTile, D>(k.head(s, sequence, kv_head), k.stride, first, s, keys);
  load_tile<kTile, D>(v.head(s, sequence, kv_head), v.stride, first, s, values);
  float key_out[kTile / kSide][D / kSide] = {}, value_out[kTile / kSide][D / kSide] = {};
  const std::int64_t end = end_query_tile<kTile>(s, min(first + kTile, s.length) - 1);
  for (int head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    const std::int64_t row_offset = (sequence * s.heads + head) * s.length;
    for (std::int64_t other = tile; other < end; ++other) {
      __syncthreads();
      load_tile<kTile, D>(q.head(s, sequence, head), q.stride, other * kTile, s, queries);
      load_tile<kTile, D>(dy.head(s, sequence, head), dy.stride, other * kTile, s, dys);
      __syncthreads();
      score_gradients<kTile, D>(s, other * kTile, first, queries, keys, values, dys, statistics + row_offset,
                                delta + row_offset, p, ds);
      __syncthreads();
      accumulate<kTile, D, true>(p, dys, value_out);
      accumulate<kTile, D, true>(ds, queries, key_out);
    }
  }
  write_rows<T, kTile, D>(dk.head(s, sequence, kv_head), dk.stride, first, s, key_out, s.scale);
  write_rows<T, kTile, D>(dv.head(s, sequence, kv_head), dv.stride, first, s, value_out, 1.0f);
}

struct Call {
  Shape shape;
  std::int64_t batch;
  HeadView q, k, v, y, dy;
  MutableHeadView out, dq, dk, dv;
  float *statistics, *delta;
};

template <class T>
View<T> typed(HeadView view) {
  return {static_cast<const T*>(view.data), view.stride};
}
template <class T>
MutableView<T> typed(MutableHeadView view) {
  return {static_cast<T*>(view.data), view.stride};
}

template <class Kernel, class... Arguments>
void launch(Context& context, Kernel kernel, dim3 grid, std::size_t floats, const char* name,
            Arguments... arguments) {
  const int bytes = static_cast<int>(floats * sizeof(float));
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes), name);
  kernel<<<grid, dim3(kSide, kSide), bytes, context.stream>>>(arguments...);
  check_launch(name);
}

template <class T, int kTile, int D>
void run(Context& context, const Call& c) {
  constexpr std::size_t size = kTile * (D + 1), pairs = kTile * (kTile + 1);
  const Shape& s = c.shape;
  const unsigned tiles = static_cast<unsigned>(ceil_div(s.length, kTile)),
                 batch = static_cast<unsigned>(c.batch);
  const dim3 queries(tiles, s.heads, batch), keys(tiles, s.kv_heads, batch);
  if (!c.delta) {
    launch(context, forward<T, kTile, D>, queries, 2 * size + pairs, "attention_plain", s, typed<T>(c.q),
           typed<T>(c.k), typed<T>(c.v), typed<T>(c.out), c.statistics);
    return;
  }
  dot_outputs<T><<<dim3(ceil_div(s.length, 8), s.heads, batch), 256, 0, context.stream>>>(
      s, typed<T>(c.y), typed<T>(c.dy), c.delta);
  check_launch("dot_outputs");
  const float *statistics = c.statistics, *delta = c.delta;
  launch(context, query_gradient<T, kTile, D>, queries, 4 * size + pairs, "query_gradient", s, typed<T>(c.q),
         typed<T>(c.k), typed<T>(c.v), typed<T>(c.dy), statistics, delta, typed<T>(c.dq));
  launch(context, key_value_gradient<T, kTile, D>, keys, 4 * size + 2 * pairs, "key_value_gradient", s,
         typed<T>(c.q), typed<T>(c.k), typed<T>(c.v), typed<T>(c.dy), statistics, delta, typed<T>(c.dk),
         typed<T>(c.dv));
}

template <class T>
void choose_tile(Context& context, const Call& c) {
  if (c.shape.head_dim <= 32) return run<T, 64, 32>(context, c);
  if (c.shape.head_dim <= 64) return run<T, 64, 64>(context, c);
  if (c.shape.head_dim <= 128) return run<T, 32, 128>(context, c);
  if (c.shape.head_dim <= 256) return run<T, 32, 256>(context, c);
  throw Error("unsupported-shape", "Attention on CUDA takes heads of up to 256 dimensions; got " +
                                       std::to_string(c.shape.head_dim) + ".");
}

void dispatch(Context& context, const AttentionShape& s, Call& c) {
  if (s.batch == 0 || s.length == 0) return;
  c.shape = {s.length,   s.heads,  s.kv_heads,
             s.head_dim, s.window, 1.0f / std::sqrt(static_cast<float>(s.head_dim))};
  c.batch = s.batch;
  context.type == ElementType::bf16 ? choose_tile<bf16>(context, c) : choose_tile<float>(context, c);
}

}  // namespace

void attention_plain(Context& context, const AttentionShape& s, HeadView q, HeadView k, HeadView v, void* y,
                     float* statistics) {
  Call c{};
  c.q = q, c.k = k, c.v = v, c.statistics = statistics;
  c.out = {y, static_cast<std::int64_t>(s.heads) * s.head_dim};
  dispatch(context, s, c);
}

void attention_plain_backward(Context& context, const AttentionShape& s, HeadView q, HeadView k, HeadView v,
                              const void* y, const float* statistics, const void* dy, MutableHeadView dq,
                              MutableHeadView dk, MutableHeadView dv, float* delta) {
  const std::int64_t stride = static_cast<std::int64_t>(s.heads) * s.head_dim;
  Call c{};
  c.q = q, c.k = k, c.v = v, c.y = {y, stride}, c.dy = {dy, stride};
  c.dq = dq, c.dk = dk, c.dv = dv;
  c.statistics = const_cast<float*>(statistics), c.delta = delta;
  dispatch(context, s, c);
}

}  // namespace striped::cuda
