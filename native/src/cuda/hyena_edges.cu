#include "hyena_edges.h"

#include <algorithm>
#include <utility>

#include "hyena_direct.cuh"
#include "hyena_direct.h"
#include "launch.h"

// With h taps and a featurizer of f, all that differs from the piece alone comes of
//   Δu: u of the h - 1 rows before the piece, and of its first f - 1 rows, whose features reach before it;
//   Δg: g of its first f - 1 rows, and of the h - 1 rows behind it.
// By the convolution these change c = h ∗ u in the first h + f - 2 rows ("head") and du = h ⋆ g in the first
// f - 1 and the last h - 1 ("tail"), and so d, the gradients of the featurized projections: in q in the head,
// in k and v in the first rows and the tail. Sums over time change by the terms of these rows.
namespace striped::cuda {
namespace {

using namespace direct;

constexpr int kThreads = 128, kChunk = 16;  // of finish_kernel; rows

// Rows of a piece.
struct Edges {
  int first;  // that see z from before the piece
  int head;
  int tail;  // first row of the tail, none of the first ones
  explicit Edges(const HyenaShape& s)
      : first(static_cast<int>(std::min<std::int64_t>(s.featurizer_taps - 1, s.length))),
        head(static_cast<int>(std::min<std::int64_t>(s.taps + s.featurizer_taps - 2, s.length))),
        tail(static_cast<int>(std::max<std::int64_t>(first, s.length - s.taps + 1))) {}
};

// What d changes by, of one projection: in its rows [0, head) and [tail, length), [batch, rows, width] one
// after the other.
struct Change {
  float* values;
  int head, tail, length, width;
  __device__ int rows() const { return head + length - tail; }
  __device__ float* at(int batch, int token, int channel) const {
    const int row = token < head ? token : head + token - tail;
    return values + (static_cast<std::int64_t>(batch) * rows() + row) * width + channel;
  }
  __device__ bool has(int token) const { return token < head || (token >= tail && token < length); }
};

template <class T>
struct EdgeArguments {
  Arguments<T> direct;
  Edges edges;
  Change change[3];  // of q', k', v'
  float* d;          // [batch, first, 3·width]: d of the first rows
  T* reach;          // the same

  __device__ Tensors<T> alone() const {
    Tensors<T> tensors = direct.tensors;
    tensors.projections = nullptr;
    return tensors;
  }
  __device__ void write_first(int batch, int token, int part, int channel, float value) const {
    const int width = direct.tensors.width;
    const std::int64_t at =
        ((static_cast<std::int64_t>(batch) * edges.first + token) * 3 + part) * width + channel;
    d[at] = value;
    reach[at] = from_float<T>(value);
  }
};

// Δu of 16 tokens, `first` a multiple of 16.
template <class T>
__device__ void load_gate_change(const EdgeArguments<T>& a, const Place& p, int first, float (&u)[kRun]) {
  if (first < 0) return load_before(a.direct, p, first, u);
#pragma unroll
  for (int i = 0; i < kRun; ++i) u[i] = 0;
  if (first >= a.edges.first) return;
  const auto gate = [&](const Tensors<T>& tensors, float(&out)[kRun]) {
    load_gate(Projection<T>(tensors, p.batch, 1, p.channel), Projection<T>(tensors, p.batch, 2, p.channel),
              first, out);
  };
  float x[kRun], alone[kRun];
  gate(a.direct.tensors, x);
  gate(a.alone(), alone);
#pragma unroll
  for (int i = 0; i < kRun; ++i) {
    if (first + i < a.edges.first) u[i] = x[i] - alone[i];
  }
}

// Δg of 16 tokens from 0 on.
template <class T>
__device__ void load_gradient_change(const EdgeArguments<T>& a, const Place& p, int first, float (&g)[kRun]) {
  const int rows = a.direct.filter.count - 1, width = a.direct.tensors.width;
  const T* after = a.direct.after + static_cast<std::int64_t>(p.batch) * rows * width + p.channel;
#pragma unroll
  for (int i = 0; i < kRun; ++i) {
    const int token = first + i - a.direct.tensors.length;
    const bool known = a.direct.after != nullptr && token >= 0 && token < rows;
    g[i] = known ? to_float(after[static_cast<std::int64_t>(token) * width]) : 0.0f;
  }
  if (first >= a.edges.first) return;
  float x[kRun], alone[kRun];
  const OutputGradient<T> dy(a.direct.tensors, p.batch, p.channel);
  load_gradient(Projection<T>(a.direct.tensors, p.batch, 0, p.channel), dy, first, x);
  load_gradient(Projection<T>(a.alone(), p.batch, 0, p.channel), dy, first, alone);
#pragma unroll
  for (int i = 0; i < kRun; ++i) {
    if (first + i < a.edges.first) g[i] += x[i] - alone[i];
  }
}

// Σ_{i < count} x_i·y_i
__device__ float dot(const float (&x)[kRun], const float (&y)[kRun], int count) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kRun; ++i) {
    if (i < count) sum += x[i] * y[i];
  }
  return sum;
}

// What dq changes by in 128 rows of the head; by the block of the first ones, dq itself there and what the
// skip's gradient changes by.
template <class T>
__global__ __launch_bounds__(kLanes* kWarps) void head_kernel(const EdgeArguments<T> a,
                                                              float* skip_partials) {
  __shared__ Window window;
  __shared__ float taps[kRows][kLanes];
  const Place p(a.direct.tensors.width);
  const OutputGradient<T> dy(a.direct.tensors, p.batch, p.channel);
  const float skip = a.direct.skip == nullptr ? 0.0f : a.direct.skip[p.channel];
  const int first = p.first + p.warp * kRun;
  float sum[kRun];
  load_gate_change(a, p, first, sum);
#pragma unroll
  for (int i = 0; i < kRun; ++i) sum[i] *= skip;
  convolve(
      window, taps, a.direct.filter, p, false,
      [&](int block, float(&u)[kRun]) { load_gate_change(a, p, first - block * kRows, u); }, sum);
  if (!p.live) return;
#pragma unroll
  for (int i = 0; i < kRun; ++i) {
    if (first + i < a.edges.head) *a.change[0].at(p.batch, first + i, p.channel) = dy(first + i) * sum[i];
  }
  if (first > 0) return;

  float u[kRun], alone[kRun], g[kRun];
  const Tensors<T> tensors = a.alone();
  load_gate(Projection<T>(tensors, p.batch, 1, p.channel), Projection<T>(tensors, p.batch, 2, p.channel), 0,
            alone);
  for (int j = 0; j < a.edges.first; ++j) {
    const float h = a.direct.filter.tap(p.channel, j) + (j == 0 ? skip : 0.0f);
#pragma unroll
    for (int i = 0; i < kMaxFeaturizerTaps; ++i) {
#pragma unroll
      for (int from = 0; from <= i; ++from) {
        if (i - from == j) sum[i] += h * alone[from];
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kMaxFeaturizerTaps; ++i) {
    if (i < a.edges.first) a.write_first(p.batch, i, 0, p.channel, dy(i) * sum[i]);
  }
  if (skip_partials == nullptr) return;
  load_gate(Projection<T>(a.direct.tensors, p.batch, 1, p.channel),
            Projection<T>(a.direct.tensors, p.batch, 2, p.channel), 0, u);
  load_gradient(Projection<T>(a.direct.tensors, p.batch, 0, p.channel), dy, 0, g);
  float d_skip = dot(g, u, a.edges.first);
  load_gradient(Projection<T>(tensors, p.batch, 0, p.channel), dy, 0, g);
  d_skip -= dot(g, alone, a.edges.first);
  skip_partials[static_cast<std::int64_t>(p.batch) * a.direct.tensors.width + p.channel] = d_skip;
}

// What dk and dv change by: in the first rows, with dk and dv themselves (the first block, where there are
// such rows), and in 128 rows of the tail (each other block).
template <class T>
__global__ __launch_bounds__(kLanes* kWarps) void tail_kernel(const EdgeArguments<T> a) {
  __shared__ Window window;
  __shared__ float taps[kRows][kLanes];
  const Place p(a.direct.tensors.width);
  const int blocks_before = a.edges.first > 0 ? 1 : 0, block = static_cast<int>(blockIdx.y) - blocks_before;
  const bool of_first = block < 0;
  const int begin = of_first ? 0 : a.edges.tail + block * kRows;
  const int end = of_first ? a.edges.first : a.direct.tensors.length;
  const float skip = a.direct.skip == nullptr ? 0.0f : a.direct.skip[p.channel];
  // As in hyena_direct's gradient_kernel, time runs backwards.
  const int mirrored = begin + (kWarps - 1 - p.warp) * kRun;
  float sum[kRun], alone[kRun], x[kRun];
  load_gradient_change(a, p, mirrored, x);
#pragma unroll
  for (int i = 0; i < kRun; ++i) sum[i] = skip * x[kRun - 1 - i];
  convolve(
      window, taps, a.direct.filter, p, true,
      [&](int far, float(&g)[kRun]) { load_gradient_change(a, p, mirrored + far * kRows, g); }, sum);
  if (of_first) {
    const Projection<T> q(a.alone(), p.batch, 0, p.channel);
    const OutputGradient<T> dy(a.direct.tensors, p.batch, p.channel);
    load_gradient(q, dy, mirrored, x);
#pragma unroll
    for (int i = 0; i < kRun; ++i) alone[i] = skip * x[kRun - 1 - i];
    convolve(
        window, taps, a.direct.filter, p, true,
        [&](int far, float(&g)[kRun]) { load_gradient(q, dy, mirrored + far * kRows, g); }, alone);
  }
  if (!p.live || mirrored >= end) return;
  for (int part = 1; part < 3; ++part) {  // dk has the factor v, dv has k
    float gate[kRun];
    Projection<T>(a.direct.tensors, p.batch, 3 - part, p.channel).run(mirrored, gate);
    if (of_first) Projection<T>(a.alone(), p.batch, 3 - part, p.channel).run(mirrored, x);
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      if (mirrored + i >= end) break;
      float change = sum[kRun - 1 - i] * gate[i];
      if (of_first) {
        const float before = alone[kRun - 1 - i];
        change += before * (gate[i] - x[i]);
        a.write_first(p.batch, i, part, p.channel, change + before * x[i]);
      }
      *a.change[part].at(p.batch, mirrored + i, p.channel) = change;
    }
  }
}

// What the filter's gradient changes by, one partial sum a block of 128 rows of the head (blockIdx.z: block
// of a sequence) for 128 lags (blockIdx.y): Σ_t g_t·Δu_{t-j} + Δg_t·u_{t-j}, the latter with u of the piece
// alone.
template <class T>
__global__ __launch_bounds__(kLanes* kWarps) void filter_kernel(const EdgeArguments<T> a, int blocks,
                                                                float* partials) {
  __shared__ Window window;
  __shared__ float gradients[kWarps][kRun][kLanes];
  Place p(a.direct.tensors.width);
  p.batch = static_cast<int>(blockIdx.z) / blocks;
  const int begin = static_cast<int>(blockIdx.z) % blocks * kRows, lags = static_cast<int>(blockIdx.y);
  const OutputGradient<T> dy(a.direct.tensors, p.batch, p.channel);
  const Projection<T> q(a.direct.tensors, p.batch, 0, p.channel);
  float sum[kRun] = {};
  correlate(
      window, gradients, p, begin, min(begin + kRows, a.edges.head), lags, a.direct.filter.count,
      [&](int first, float(&u)[kRun]) { load_gate_change(a, p, first, u); },
      [&](int first, float(&g)[kRun]) { load_gradient(q, dy, first, g); }, sum);
  if (begin == 0 && lags == 0 && p.warp == 0 && a.edges.first > 0) {
    float g[kRun], alone[kRun], u[kRun];
    const Tensors<T> tensors = a.alone();
    load_gradient(q, dy, 0, g);
    load_gradient(Projection<T>(tensors, p.batch, 0, p.channel), dy, 0, alone);
    load_gate(Projection<T>(tensors, p.batch, 1, p.channel), Projection<T>(tensors, p.batch, 2, p.channel), 0,
              u);
#pragma unroll
    for (int t = 0; t < kMaxFeaturizerTaps; ++t) {
      if (t >= a.edges.first) break;
#pragma unroll
      for (int j = 0; j <= t; ++j) sum[j] += (g[t] - alone[t]) * u[t - j];
    }
  }
  if (!p.live) return;
#pragma unroll
  for (int j = 0; j < kRun; ++j) {
    const int lag = lags * kRows + p.warp * kRun + j;
    if (lag >= a.direct.filter.count) break;
    const std::int64_t row = static_cast<std::int64_t>(blockIdx.z) * a.direct.filter.count + lag;
    partials[row * a.direct.tensors.width + p.channel] = sum[j];
  }
}

// d's changes through the featurizer: added to dz, and a partial sum of its gradient, for one column and 16
// of the rows of dz that change (blockIdx.y).
template <class T>
__global__ __launch_bounds__(kThreads) void finish_kernel(const EdgeArguments<T> a, T* dz, float* partials) {
  const int width = a.direct.tensors.width, taps = a.direct.tensors.featurizer_taps,
            length = a.direct.tensors.length, batch = blockIdx.z;
  const int column = blockIdx.x * kThreads + threadIdx.x;
  if (column >= 3 * width) return;
  const int part = column / width, channel = column % width;
  const Change& change = a.change[part];
  const Projection<T> z(a.direct.tensors, batch, part, channel);
  T* const dz_column = dz + (static_cast<std::int64_t>(batch) * length * 3 + part) * width + channel;
  const int tail = max(change.head, change.tail - (taps - 1));  // of dz
  const int rows = change.head + (change.tail < length ? length - tail : 0);
  float sum[kMaxFeaturizerTaps] = {};
  const int begin = blockIdx.y * kChunk;
  for (int row = begin; row < min(begin + kChunk, rows); ++row) {
    const int token = row < change.head ? row : tail + row - change.head;
    float out = 0;
#pragma unroll
    for (int i = 0; i < kMaxFeaturizerTaps; ++i) {
      if (i < taps && change.has(token + i)) out += z.tap[i] * *change.at(batch, token + i, channel);
    }
    T& target = dz_column[token * z.stride];
    target = from_float<T>(to_float(target) + out);
    if (!change.has(token)) continue;
    const float d = *change.at(batch, token, channel);
    // Products with rows before the piece count whole: alone it has none.
    const float whole =
        token < a.edges.first
            ? a.d[(static_cast<std::int64_t>(batch) * a.edges.first + token) * 3 * width + column]
            : 0.0f;
#pragma unroll
    for (int i = 0; i < kMaxFeaturizerTaps; ++i) {
      if (i < taps) sum[i] += (token < i ? whole : d) * z.raw(token - i);
    }
  }
#pragma unroll
  for (int i = 0; i < kMaxFeaturizerTaps; ++i) {
    if (i >= taps) break;
    const std::int64_t at = (static_cast<std::int64_t>(batch) * gridDim.y + blockIdx.y) * taps + i;
    partials[at * 3 * width + column] = sum[i];
  }
}

// Numbers of blocks, and of floats in the workspace.
struct Sizes {
  std::int64_t head_blocks, tail_blocks, chunks;
  std::int64_t query, gate, first, filter, skip, featurizer;
  explicit Sizes(const HyenaShape& s) {
    const Edges edges(s);
    const std::int64_t gate_rows = edges.first + s.length - edges.tail;
    head_blocks = ceil_div(edges.head, kRows);
    tail_blocks = (edges.first > 0 ? 1 : 0) + ceil_div(s.length - edges.tail, kRows);
    chunks = ceil_div(std::max<std::int64_t>(edges.head, gate_rows + s.featurizer_taps - 1), kChunk);
    query = s.batch * edges.head * s.width;
    gate = s.batch * gate_rows * s.width;
    first = s.batch * edges.first * 3 * s.width;
    filter = s.batch * head_blocks * s.taps * s.width;
    skip = s.has_skip ? s.batch * s.width : 0;
    featurizer = s.batch * chunks * s.featurizer_taps * 3 * s.width;
  }
};

template <class T>
void backward(const HyenaShape& shape, const HyenaWeights& weights, const HyenaSurroundings& around,
              const void* z, const void* dy, void* dz, void* reach, const HyenaGradients& gradients,
              void* workspace, cudaStream_t stream) {
  const Sizes sizes(shape);
  const Edges edges(shape);
  float* next = static_cast<float*>(workspace);
  const auto take = [&](std::int64_t count) { return std::exchange(next, next + count); };
  const int length = static_cast<int>(shape.length), width = static_cast<int>(shape.width);
  const EdgeArguments<T> a{arguments_of<T>(shape, weights, around, z, dy),
                           edges,
                           {{take(sizes.query), edges.head, length, length, width},
                            {take(sizes.gate), edges.first, edges.tail, length, width},
                            {take(sizes.gate), edges.first, edges.tail, length, width}},
                           take(sizes.first),
                           static_cast<T*>(reach)};
  float* const filter = take(sizes.filter);
  float* const skip = shape.has_skip ? take(sizes.skip) : nullptr;
  float* const featurizer = take(sizes.featurizer);

  const auto grid = [&](std::int64_t rows, std::int64_t batch) {
    return dim3(static_cast<unsigned>(ceil_div(shape.width, kLanes)), static_cast<unsigned>(rows),
                static_cast<unsigned>(batch));
  };
  launch<head_kernel<T>>(grid(sizes.head_blocks, shape.batch), kLanes * kWarps, 0, stream, a, skip);
  launch<tail_kernel<T>>(grid(sizes.tail_blocks, shape.batch), kLanes * kWarps, 0, stream, a);
  launch<filter_kernel<T>>(grid(ceil_div(shape.taps, kRows), shape.batch * sizes.head_blocks),
                           kLanes * kWarps, 0, stream, a, static_cast<int>(sizes.head_blocks), filter);
  const std::int64_t columns = 3 * shape.width;
  const dim3 finish(static_cast<unsigned>(ceil_div(columns, kThreads)), static_cast<unsigned>(sizes.chunks),
                    static_cast<unsigned>(shape.batch));
  launch<finish_kernel<T>>(finish, kThreads, 0, stream, a, static_cast<T*>(dz), featurizer);

  reduce({{filter, shape.batch * sizes.head_blocks, shape.taps, shape.width, shape.groups, gradients.filter,
           weights.decay},
          {featurizer, shape.batch * sizes.chunks, shape.featurizer_taps, columns, columns,
           gradients.featurizer},
          {skip, shape.batch, 1, shape.width, shape.width, gradients.skip}},
         stream);
}

}  // namespace

std::size_t edges_workspace(const HyenaShape& shape) {
  const Sizes s(shape);
  return static_cast<std::size_t>(s.query + 2 * s.gate + s.first + s.filter + s.skip + s.featurizer) *
         sizeof(float);
}

void edges_forward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type,
                   const HyenaSurroundings& around, const void* z, void* y, void* workspace,
                   cudaStream_t stream) {
  direct_forward(shape, weights, type, around, Edges(shape).head, z, y, workspace, stream);
}

void edges_backward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type,
                    const HyenaSurroundings& around, const void* z, const void* dy, void* dz, void* reach,
                    const HyenaGradients& gradients, void* workspace, cudaStream_t stream) {
  if (Edges(shape).head == 0) return;
  const auto call = [&]<class T>() {
    backward<T>(shape, weights, around, z, dy, dz, reach, gradients, workspace, stream);
  };
  type == ElementType::bf16 ? call.template operator()<bf16>() : call.template operator()<float>();
}

}  // namespace striped::cuda
