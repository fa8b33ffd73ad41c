// Causal attention of sequences, or of parts of one, by kernels of ours: blocked, online softmax (Dao et al.
// 2022), fp32 arithmetic on the CUDA cores. It serves fp32, shapes that cuDNN does not take, and as a check;
// no atomics, so results repeat.
#include <cmath>

#include "attention_tiles.cuh"
#include "launch.h"
#include "operators.h"
#include "striped/error.h"

namespace striped::cuda {
namespace {

using namespace attention_tiles;

// Grid: query tiles, heads, batch.
// With `more`, y and statistics hold the result for other keys.
template <class T, class Out, int kTile, int D>
__global__ void __launch_bounds__(kSide* kSide)
    forward(Shape s, View<const T> q, View<const T> k, View<const T> v, View<Out> y, float* statistics,
            bool more) {
  constexpr int n = kTile / kSide;
  float* queries = shared_floats();
  float* others = queries + kTile * (D + 1);
  float* p = others + kTile * (D + 1);
  const std::int64_t tile = gridDim.x - 1 - blockIdx.x, first = tile * kTile;  // long rows first
  const int head = blockIdx.y, kv_head = head / (s.heads / s.kv_heads);
  const std::int64_t sequence = blockIdx.z, begin = s.first_key_tile<kTile>(first),
                     end = s.end_key_tile<kTile>(first);
  if (more && begin >= end) return;
  Out* const results = y.head(sequence, head);
  statistics += (sequence * s.heads + head) * s.queries;
  load_tile<kTile, D>(q.head(sequence, head), q.strides.row, first, s.queries, s.head_dim, queries);
  float out[n][D / kSide], peak[n], total[n];
#pragma unroll
  for (int r = 0; r < n; ++r) {
    const std::int64_t t = first + threadIdx.y + kSide * r;
    const bool resumed = more && t < s.queries;
    peak[r] = resumed ? statistics[t] : -INFINITY;
    total[r] = resumed ? 1.0f : 0.0f;
#pragma unroll
    for (int c = 0; c < D / kSide; ++c) {
      const int d = threadIdx.x + kSide * c;
      out[r][c] = resumed && d < s.head_dim ? to_float(results[t * y.strides.row + d]) : 0.0f;
    }
  }
  for (std::int64_t other = begin; other < end; ++other) {
    __syncthreads();
    load_tile<kTile, D>(k.head(sequence, kv_head), k.strides.row, other * kTile, s.keys, s.head_dim, others);
    __syncthreads();
    float scores[n][n];
    multiply_rows<kTile, D>(queries, others, scores);
#pragma unroll
    for (int r = 0; r < n; ++r) {
      const int row = threadIdx.y + kSide * r;
      float highest = peak[r], sum = 0;
#pragma unroll
      for (int c = 0; c < n; ++c) {
        const bool seen = s.sees(first + row, other * kTile + threadIdx.x + kSide * c);
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
    load_tile<kTile, D>(v.head(sequence, kv_head), v.strides.row, other * kTile, s.keys, s.head_dim, others);
    __syncthreads();
    accumulate<kTile, D, false>(p, others, out);
  }
#pragma unroll
  for (int r = 0; r < n; ++r) {
    const std::int64_t t = first + threadIdx.y + kSide * r;
    const float inverse = total[r] == 0 ? 0.0f : 1.0f / total[r];
#pragma unroll
    for (int c = 0; c < D / kSide; ++c) out[r][c] *= inverse;
    if (threadIdx.x == 0 && t < s.queries) statistics[t] = peak[r] + logf(total[r]);
  }
  write_rows<kTile, D>(results, y.strides.row, first, s.queries, s.head_dim, out, 1.0f, false);
}

// delta = Σ_d y · dy; a warp a row. Grid: rows of a head, heads, batch.
template <class T>
__global__ void dot_outputs(Shape s, View<const T> y, View<const T> dy, float* delta) {
  const std::int64_t t = static_cast<std::int64_t>(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32;
  if (t >= s.queries) return;
  const T* a = y.head(blockIdx.z, blockIdx.y) + t * y.strides.row;
  const T* b = dy.head(blockIdx.z, blockIdx.y) + t * dy.strides.row;
  float sum = 0;
  for (int d = threadIdx.x % 32; d < s.head_dim; d += 32) sum += to_float(a[d]) * to_float(b[d]);
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0)
    delta[(static_cast<std::int64_t>(blockIdx.z) * s.heads + blockIdx.y) * s.queries + t] = sum;
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
    const float lse = t < s.queries ? statistics[t] : 0.0f, d = t < s.queries ? delta[t] : 0.0f;
#pragma unroll
    for (int c = 0; c < n; ++c) {
      const int column = threadIdx.x + kSide * c;
      const float weight = s.sees(t, first_key + column) ? expf(scores[r][c] * s.scale - lse) : 0.0f;
      if (p) p[row * (kTile + 1) + column] = weight;
      ds[row * (kTile + 1) + column] = weight * (dp[r][c] - d);
    }
  }
}

// Grid: query tiles, heads, batch.
template <class T, class Out, int kTile, int D>
__global__ void __launch_bounds__(kSide* kSide)
    query_gradient(Shape s, View<const T> q, View<const T> k, View<const T> v, View<const T> dy,
                   const float* statistics, const float* delta, View<Out> dq, bool more) {
  constexpr int kSize = kTile * (D + 1);
  float *queries = shared_floats(), *dys = queries + kSize, *keys = dys + kSize, *values = keys + kSize,
        *ds = values + kSize;
  const std::int64_t tile = gridDim.x - 1 - blockIdx.x, first = tile * kTile, sequence = blockIdx.z;
  const int head = blockIdx.y, kv_head = head / (s.heads / s.kv_heads);
  const std::int64_t row_offset = (sequence * s.heads + head) * s.queries;
  load_tile<kTile, D>(q.head(sequence, head), q.strides.row, first, s.queries, s.head_dim, queries);
  load_tile<kTile, D>(dy.head(sequence, head), dy.strides.row, first, s.queries, s.head_dim, dys);
  float out[kTile / kSide][D / kSide] = {};
  const std::int64_t end = s.end_key_tile<kTile>(first);
  for (std::int64_t other = s.first_key_tile<kTile>(first); other < end; ++other) {
    __syncthreads();
    load_tile<kTile, D>(k.head(sequence, kv_head), k.strides.row, other * kTile, s.keys, s.head_dim, keys);
    load_tile<kTile, D>(v.head(sequence, kv_head), v.strides.row, other * kTile, s.keys, s.head_dim, values);
    __syncthreads();
    score_gradients<kTile, D>(s, first, other * kTile, queries, keys, values, dys, statistics + row_offset,
                              delta + row_offset, nullptr, ds);
    __syncthreads();
    accumulate<kTile, D, false>(ds, keys, out);
  }
  write_rows<kTile, D>(dq.head(sequence, head), dq.strides.row, first, s.queries, s.head_dim, out, s.scale,
                       more);
}

// Grid: key tiles, kv heads, batch; a block sums over the query heads of its kv head, in order.
template <class T, class Out, int kTile, int D>
__global__ void __launch_bounds__(kSide* kSide)
    key_value_gradient(Shape s, View<const T> q, View<const T> k, View<const T> v, View<const T> dy,
                       const float* statistics, const float* delta, View<Out> dk, View<Out> dv, bool more) {
  constexpr int kSize = kTile * (D + 1), kPairs = kTile * (kTile + 1);
  float *keys = shared_floats(), *values = keys + kSize, *queries = values + kSize, *dys = queries + kSize;
  float *p = dys + kSize, *ds = p + kPairs;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kTile, sequence = blockIdx.z;
  const int kv_head = blockIdx.y, group = s.heads / s.kv_heads;
  load_tile<kTile, D>(k.head(sequence, kv_head), k.strides.row, first, s.keys, s.head_dim, keys);
  load_tile<kTile, D>(v.head(sequence, kv_head), v.strides.row, first, s.keys, s.head_dim, values);
  float key_out[kTile / kSide][D / kSide] = {}, value_out[kTile / kSide][D / kSide] = {};
  const std::int64_t begin = s.first_query_tile<kTile>(first), end = s.end_query_tile<kTile>(first);
  for (int head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    const std::int64_t row_offset = (sequence * s.heads + head) * s.queries;
    for (std::int64_t other = begin; other < end; ++other) {
      __syncthreads();
      load_tile<kTile, D>(q.head(sequence, head), q.strides.row, other * kTile, s.queries, s.head_dim,
                          queries);
      load_tile<kTile, D>(dy.head(sequence, head), dy.strides.row, other * kTile, s.queries, s.head_dim, dys);
      __syncthreads();
      score_gradients<kTile, D>(s, other * kTile, first, queries, keys, values, dys, statistics + row_offset,
                                delta + row_offset, p, ds);
      __syncthreads();
      accumulate<kTile, D, true>(p, dys, value_out);
      accumulate<kTile, D, true>(ds, queries, key_out);
    }
  }
  write_rows<kTile, D>(dk.head(sequence, kv_head), dk.strides.row, first, s.keys, s.head_dim, key_out,
                       s.scale, more);
  write_rows<kTile, D>(dv.head(sequence, kv_head), dv.strides.row, first, s.keys, s.head_dim, value_out, 1.0f,
                       more);
}

struct Call {
  Shape shape;
  unsigned batch;
  HeadView q, k, v, y, dy;
  MutableHeadView out;
  float* statistics;
  const AttentionGradients* gradients;  // of a backward pass
  float* delta;
  Results results;
};

template <class T>
View<const T> typed(HeadView view) {
  return {static_cast<const T*>(view.data), view.strides};
}
template <class T>
View<T> typed(MutableHeadView view) {
  return {static_cast<T*>(view.data), view.strides};
}

template <class T, class Out, int kTile, int D>
void run(Context& context, const Call& c) {
  constexpr std::size_t size = kTile * (D + 1) * sizeof(float), pairs = kTile * (kTile + 1) * sizeof(float);
  const Shape& s = c.shape;
  const auto tiles = [&](std::int64_t rows) { return static_cast<unsigned>(ceil_div(rows, kTile)); };
  const auto heads = static_cast<unsigned>(s.heads), kv_heads = static_cast<unsigned>(s.kv_heads);
  const dim3 queries(tiles(s.queries), heads, c.batch), keys(tiles(s.keys), kv_heads, c.batch);
  const dim3 block(kSide, kSide);
  const bool more = c.results == Results::more;
  const auto q = typed<T>(c.q), k = typed<T>(c.k), v = typed<T>(c.v);
  if (!c.gradients) {
    launch<forward<T, Out, kTile, D>>(queries, block, 2 * size + pairs, context.stream, s, q, k, v,
                                      typed<Out>(c.out), c.statistics, more);
    return;
  }
  const auto dy = typed<T>(c.dy);
  const float *statistics = c.statistics, *delta = c.delta;
  launch<dot_outputs<T>>(dim3(static_cast<unsigned>(ceil_div(s.queries, 8)), heads, c.batch), 256, 0,
                         context.stream, s, typed<T>(c.y), dy, c.delta);
  launch<query_gradient<T, Out, kTile, D>>(queries, block, 4 * size + pairs, context.stream, s, q, k, v, dy,
                                           statistics, delta, typed<Out>(c.gradients->dq), more);
  launch<key_value_gradient<T, Out, kTile, D>>(keys, block, 4 * size + 2 * pairs, context.stream, s, q, k, v,
                                               dy, statistics, delta, typed<Out>(c.gradients->dk),
                                               typed<Out>(c.gradients->dv), more);
}

template <class T, class Out>
void choose_tile(Context& context, const Call& c) {
  if (c.shape.head_dim <= 32) return run<T, Out, 64, 32>(context, c);
  if (c.shape.head_dim <= 64) return run<T, Out, 64, 64>(context, c);
  if (c.shape.head_dim <= 128) return run<T, Out, 32, 128>(context, c);
  if (c.shape.head_dim <= 256) return run<T, Out, 32, 256>(context, c);
  throw Error("unsupported-shape", "Attention on CUDA takes heads of up to 256 dimensions; got " +
                                       std::to_string(c.shape.head_dim) + ".");
}

void dispatch(Context& context, std::int64_t batch, const AttentionPart& p, Call& c) {
  if (batch == 0 || p.queries == 0 || p.keys == 0) return;
  const float scale = 1.0f / std::sqrt(static_cast<float>(p.head_dim));
  c.shape = {p.queries, p.keys, p.offset, p.heads, p.kv_heads, p.head_dim, p.window, scale};
  c.batch = static_cast<unsigned>(batch);
  if (context.type == ElementType::f32) {
    choose_tile<float, float>(context, c);
  } else if (c.results == Results::activations) {
    choose_tile<bf16, bf16>(context, c);
  } else {
    choose_tile<bf16, float>(context, c);
  }
}

}  // namespace

void attention_plain(Context& context, std::int64_t batch, const AttentionPart& p, HeadView q, HeadView k,
                     HeadView v, MutableHeadView y, float* statistics, Results results) {
  Call c{};
  c.q = q, c.k = k, c.v = v, c.out = y, c.statistics = statistics, c.results = results;
  dispatch(context, batch, p, c);
}

void attention_plain_backward(Context& context, std::int64_t batch, const AttentionPart& p, HeadView q,
                              HeadView k, HeadView v, HeadView y, const float* statistics, HeadView dy,
                              const AttentionGradients& gradients, float* delta) {
  Call c{};
  c.q = q, c.k = k, c.v = v, c.y = y, c.dy = dy, c.gradients = &gradients, c.results = gradients.results;
  c.statistics = const_cast<float*>(statistics), c.delta = delta;
  dispatch(context, batch, p, c);
}

}  // namespace striped::cuda
