#include "hyena_edges.h"

#include <algorithm>
#include <string>
#include <utility>

#include "hyena_direct.cuh"
#include "hyena_direct.h"
#include "launch.h"
#include "ptx.cuh"
#include "striped/error.h"

// With h taps and a featurizer of f, all that differs from the piece alone comes of
//   Δu: u of the h - 1 rows before the piece, and of its first f - 1 rows, whose features reach before it;
//   Δg: g of its first f - 1 rows, and of the h - 1 rows behind it.
// By the convolution these change c = h ∗ u in the first h + f - 2 rows ("head") and du = h ⋆ g in the first
// f - 1 and the last h - 1 ("tail"), and so d, the gradients of the featurized projections: in q in the head,
// in k and v in the first rows and the tail. Sums over time change by the terms of these rows.
namespace striped::cuda {
namespace {

using namespace direct;

constexpr int kThreads = kLanes * kWarps, kBlocks = 3;  // of edges_kernel; blocks a multiprocessor
constexpr int kColumns = 128;                           // of a block of features_kernel
constexpr int kMostTaps = 65000;                        // rows of its grid, less the featurizer's
// Of finish_kernel: columns, warps, rows a warp.
constexpr int kFinishColumns = 32, kFinishRows = 8, kFinishRun = 4, kChunk = kFinishRows * kFinishRun;

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

// Values in a piece's rows [0, head) and [tail, length): [batch, rows, width], one after the other.
struct EndRows {
  float* values;
  int head, tail, length, width;
  __device__ int rows() const { return head + length - tail; }
  __device__ int token(int row) const { return row < head ? row : tail + row - head; }
  __device__ float& at(int batch, int token, int channel) const {
    const int row = token < head ? token : head + token - tail;
    return values[(static_cast<std::int64_t>(batch) * rows() + row) * width + channel];
  }
  __device__ bool has(int token) const {
    return token >= 0 && (token < head || (token >= tail && token < length));
  }
};

// What features_kernel makes of the rows near a piece's ends, and edges_kernel of that: fp32, [batch, rows,
// width] each.
struct EdgeArrays {
  float *input_change, *first_input;  // Δu of the rows before and the first ones; u alone, of the first
  float* gradient_change;             // Δg of the first rows, then of those behind
  float *gradient, *alone_gradient;   // g of the head, and g alone
  EndRows gates[2], alone_gates[2];   // k', v' of the first rows and the tail; alone, of the first
  EndRows change[3];                  // what d changes by: of q', k', v'
};

template <class T>
struct EdgeArguments {
  Arguments<T> direct;
  Edges edges;
  EdgeArrays arrays;
  float* d;  // [batch, first, 3·width]: d of the first rows
  T* reach;  // the same

  __device__ void write_first(int batch, int token, int part, int channel, float value) const {
    const int width = direct.tensors.width;
    const std::int64_t at =
        ((static_cast<std::int64_t>(batch) * edges.first + token) * 3 + part) * width + channel;
    d[at] = value;
    reach[at] = from_float<T>(value);
  }
  __device__ Column<float> column(const float* array, const Place& p, int rows) const {
    return Column<float>(array, p, rows, direct.tensors.width);
  }
  // Δu, from the first row before the piece on; u of the first rows alone; g of the head; and g alone.
  __device__ Column<float> input_change(const Place& p) const {
    return column(arrays.input_change, p, direct.filter.count - 1 + edges.first);
  }
  __device__ Column<float> first_input(const Place& p) const {
    return column(arrays.first_input, p, edges.first);
  }
  __device__ Column<float> gradient(const Place& p) const { return column(arrays.gradient, p, edges.head); }
  __device__ Column<float> alone_gradient(const Place& p) const {
    return column(arrays.alone_gradient, p, edges.head);
  }
};

// What edges_kernel convolves: one channel of one row (blockIdx.y) of each array.
template <class T>
__global__ __launch_bounds__(kColumns) void features_kernel(const EdgeArguments<T> a) {
  const Tensors<T>& tensors = a.direct.tensors;
  const EdgeArrays& arrays = a.arrays;
  const int channel = blockIdx.x * kColumns + threadIdx.x, row = blockIdx.y, batch = blockIdx.z,
            width = tensors.width, around = a.direct.filter.count - 1, first = a.edges.first;
  if (channel >= width) return;
  const auto at = [&](int rows, int index) {
    return (static_cast<std::int64_t>(batch) * rows + index) * width + channel;
  };
  if (row < around) {
    const auto value = [&](const T* rows) {
      return rows == nullptr ? 0.0f : to_float(rows[at(around, row)]);
    };
    arrays.input_change[at(around + first, row)] = value(a.direct.before);
    arrays.gradient_change[at(around + first, first + row)] = value(a.direct.after);
  }
  // q', k' and v', and what they would be if nothing lay before the piece.
  const int token = arrays.gates[0].token(row), tokens[3] = {row, token, token};
  const float* weights = tensors.featurizer + static_cast<std::int64_t>(channel) * tensors.featurizer_taps;
  float feature[3] = {}, alone[3] = {};
  for (int i = 0; i < tensors.featurizer_taps; ++i) {
#pragma unroll
    for (int part = 0; part < 3; ++part) {
      const float product = weights[static_cast<std::int64_t>(part) * width * tensors.featurizer_taps + i] *
                            Projection<T>(tensors, batch, part, channel).raw(tokens[part] - i);
      feature[part] += product;
      if (i <= tokens[part]) alone[part] += product;
    }
  }
  if (row < a.edges.head) {
    const float dy = OutputGradient<T>(tensors, batch, channel)(row);
    arrays.gradient[at(a.edges.head, row)] = dy * feature[0];
    arrays.alone_gradient[at(a.edges.head, row)] = dy * alone[0];
    if (row < first) arrays.gradient_change[at(around + first, row)] = dy * (feature[0] - alone[0]);
  }
  if (row >= arrays.gates[0].rows()) return;
  arrays.gates[0].at(batch, token, channel) = feature[1];
  arrays.gates[1].at(batch, token, channel) = feature[2];
  if (token >= first) return;
  arrays.alone_gates[0].at(batch, token, channel) = alone[1];
  arrays.alone_gates[1].at(batch, token, channel) = alone[2];
  arrays.input_change[at(around + first, around + token)] = feature[1] * feature[2] - alone[1] * alone[2];
  arrays.first_input[at(first, token)] = alone[1] * alone[2];
}

// What a block of edges_kernel has to itself.
struct Shared {
  Window window;
  float rows[kRows][kLanes];
};

// What dq changes by in 128 rows of the head; by the block of the first ones, dq itself there and what the
// skip's gradient changes by.
template <class T>
__device__ void change_head(Shared& shared, const EdgeArguments<T>& a, const Place& p, float* skip_partials) {
  const Column<float> change = a.input_change(p);
  const int first = p.first + p.warp * kRun, before = a.direct.filter.count - 1;
  const float skip = a.direct.skip == nullptr ? 0.0f : a.direct.skip[p.channel];
  float sum[kRun];
  change.run(before + first, sum);
#pragma unroll
  for (int i = 0; i < kRun; ++i) sum[i] *= skip;
  convolve(
      shared.window, shared.rows, a.direct.filter, p, false, first < a.edges.head,
      [&](int block, float(&u)[kRun]) { change.run(before + first - block * kRows, u); }, sum);
  if (!p.live) return;
#pragma unroll
  for (int i = 0; i < kRun; ++i) shared.rows[p.warp * kRun + i][p.lane] = sum[i];
  const OutputGradient<T> dy(a.direct.tensors, p.batch, p.channel);
  const Column<float> input = a.first_input(p), gradient = a.gradient(p), alone = a.alone_gradient(p);
  const std::int64_t filter_begin = a.direct.filter.begin(p.channel);
  float d_skip = 0;
#pragma unroll 1
  for (int token = first; token < min(first + kRun, a.edges.head); ++token) {
    float c = shared.rows[token - p.first][p.lane];
    a.arrays.change[0].at(p.batch, token, p.channel) = dy(token) * c;
    if (token >= a.edges.first) continue;
    const float u = input.at(token);
    d_skip += gradient.at(token) * (u + change.at(before + token)) - alone.at(token) * u;
    c += skip * u;
    for (int j = 0; j <= token; ++j) c += a.direct.filter.tap(filter_begin, j) * input.at(token - j);
    a.write_first(p.batch, token, 0, p.channel, dy(token) * c);
  }
  if (first == 0 && skip_partials != nullptr)
    skip_partials[static_cast<std::int64_t>(p.batch) * a.direct.tensors.width + p.channel] = d_skip;
}

// What dk and dv change by in 128 rows from `begin` on: the first rows, with dk and dv themselves, or rows of
// the tail.
template <class T>
__device__ void change_gates(Shared& shared, const EdgeArguments<T>& a, const Place& p, bool of_first,
                             int begin) {
  const int first = a.edges.first, length = a.direct.tensors.length, end = of_first ? first : length,
            behind = a.direct.filter.count - 1;
  const float skip = a.direct.skip == nullptr ? 0.0f : a.direct.skip[p.channel];
  const Column<float> change = a.column(a.arrays.gradient_change, p, first + behind),
                      gradient = a.alone_gradient(p);
  // As in hyena_direct's gate_kernel, time runs backwards.
  const int mirrored = begin + (kWarps - 1 - p.warp) * kRun;
  float sum[kRun], alone[kRun] = {}, x[kRun];
  // Of the first rows du alone, then what du changes by.
#pragma unroll 1
  for (int whole = of_first ? 1 : 0; whole >= 0; --whole) {
    const auto load = [&](int far, float(&g)[kRun]) {
      const int token = mirrored + far * kRows;
      if (whole) return gradient.run(token, g);
      // Between the first rows and those behind the piece g does not change.
#pragma unroll
      for (int i = 0; i < kRun; ++i) {
        const int row = token + i < first ? token + i : token + i - length + first;
        g[i] = token + i < first || (token + i >= length && row < first + behind) ? change.at(row) : 0.0f;
      }
    };
    load(0, x);
#pragma unroll
    for (int i = 0; i < kRun; ++i) sum[i] = skip * x[kRun - 1 - i];
    convolve(shared.window, shared.rows, a.direct.filter, p, true, mirrored < end, load, sum);
    if (!whole) break;
#pragma unroll
    for (int i = 0; i < kRun; ++i) alone[i] = sum[i];
  }
  if (!p.live) return;
  auto& alone_rows = shared.window.values[0];
#pragma unroll
  for (int i = 0; i < kRun; ++i) {
    shared.rows[p.warp * kRun + i][p.lane] = sum[kRun - 1 - i];
    alone_rows[p.warp][i][p.lane] = alone[kRun - 1 - i];
  }
#pragma unroll 1
  for (int i = 0; i < kRun && mirrored + i < end; ++i) {
    const int token = mirrored + i;
    for (int part = 1; part < 3; ++part) {  // dk has the factor v, dv has k
      const float gate = a.arrays.gates[2 - part].at(p.batch, token, p.channel);
      float of_part = shared.rows[p.warp * kRun + i][p.lane] * gate;
      if (of_first) {
        const float du = alone_rows[p.warp][i][p.lane],
                    alone_gate = a.arrays.alone_gates[2 - part].at(p.batch, token, p.channel);
        of_part += du * (gate - alone_gate);
        a.write_first(p.batch, token, part, p.channel, of_part + du * alone_gate);
      }
      a.arrays.change[part].at(p.batch, token, p.channel) = of_part;
    }
  }
}

// What the filter's gradient changes by, of 128 lags: Σ_t g_t·Δu_{t-j} + Δg_t·u_{t-j} over the head, the
// latter with u of the piece alone.
template <class T>
__device__ void change_filter(Shared& shared, const EdgeArguments<T>& a, const Place& p, int lag_block,
                              float* partials) {
  const Column<float> change = a.input_change(p), gradient = a.gradient(p);
  const int before = a.direct.filter.count - 1;
  float sum[kRun] = {};
  correlate(
      shared.window, reinterpret_cast<float(&)[kWarps][kRun][kLanes]>(shared.rows), p, 0, a.edges.head,
      lag_block, a.direct.filter.count, [&](int first, float(&u)[kRun]) { change.run(before + first, u); },
      [&](int first, float(&g)[kRun]) { gradient.run(first, g); }, sum);
  if (!p.live) return;
  const Column<float> input = a.first_input(p), alone = a.alone_gradient(p);
  if (lag_block == 0 && p.warp == 0) {
    for (int t = 0; t < a.edges.first; ++t) {
      const float change_of_gradient = gradient.at(t) - alone.at(t);
#pragma unroll
      for (int j = 0; j < kMaxFeaturizerTaps - 1; ++j) {
        if (j <= t) sum[j] += change_of_gradient * input.at(t - j);
      }
    }
  }
#pragma unroll
  for (int j = 0; j < kRun; ++j) {
    const int lag = lag_block * kRows + p.warp * kRun + j;
    if (lag >= a.direct.filter.count) break;
    partials[static_cast<std::int64_t>(lag) * a.direct.tensors.width + p.channel] = sum[j];
  }
}

// blockIdx.y: blocks of the head, then of the first rows (where there are such) and the tail, then of lags.
struct Roles {
  int head_blocks, gate_blocks, lag_blocks;
};

template <class T>
__global__ __launch_bounds__(kThreads, kBlocks) void edges_kernel(const EdgeArguments<T> a, const Roles roles,
                                                                  float* skip_partials,
                                                                  float* filter_partials) {
  __shared__ Shared shared;
  const Place p(a.direct.tensors.width);
  ptx::wait_for_kernel_before();
  int block = static_cast<int>(blockIdx.y);
  if (block < roles.head_blocks) return change_head(shared, a, p, skip_partials);
  block -= roles.head_blocks;
  if (block < roles.gate_blocks) {
    const int of_first = a.edges.first > 0 ? 1 : 0;
    const int begin = block < of_first ? 0 : a.edges.tail + (block - of_first) * kRows;
    return change_gates(shared, a, p, block < of_first, begin);
  }
  change_filter(
      shared, a, p, block - roles.gate_blocks,
      filter_partials + static_cast<std::int64_t>(p.batch) * a.direct.filter.count * a.direct.tensors.width);
}

// d's changes through the featurizer: added to dz, and a partial sum of its gradient, for 32 columns and 32
// of the rows of dz that change (blockIdx.y).
template <class T>
__global__ __launch_bounds__(kFinishColumns* kFinishRows) void finish_kernel(const EdgeArguments<T> a, T* dz,
                                                                             float* partials) {
  __shared__ float sums[kMaxFeaturizerTaps][kFinishRows][kFinishColumns];
  const int width = a.direct.tensors.width, taps = a.direct.tensors.featurizer_taps,
            length = a.direct.tensors.length, batch = blockIdx.z, lane = threadIdx.x % kFinishColumns,
            warp = threadIdx.x / kFinishColumns;
  const int column = blockIdx.x * kFinishColumns + lane;
  const bool live = column < 3 * width;
  const int part = live ? column / width : 0, channel = live ? column - part * width : 0;
  const EndRows& change = a.arrays.change[part];
  const Projection<T> z(a.direct.tensors, batch, part, channel);
  const float* weights = a.direct.tensors.featurizer + static_cast<std::int64_t>(live ? column : 0) * taps;
  ptx::wait_for_kernel_before();
  T* const dz_column = dz + (static_cast<std::int64_t>(batch) * length * 3 + part) * width + channel;
  const int tail = max(change.head, change.tail - (taps - 1));  // of dz
  const int rows = live ? change.head + (change.tail < length ? length - tail : 0) : 0;
  float sum[kMaxFeaturizerTaps] = {}, out[kFinishRun] = {};
  const int begin = blockIdx.y * kChunk + warp;
  const auto token_of = [&](int run) {
    const int row = begin + run * kFinishRows;
    return row < change.head ? row : tail + row - change.head;
  };
  // All is read before anything is written.
#pragma unroll
  for (int run = 0; run < kFinishRun; ++run) {
    if (begin + run * kFinishRows >= rows) break;
    const int token = token_of(run);
    out[run] = to_float(dz_column[token * z.stride]);
    for (int i = 0; i < taps; ++i) {
      if (change.has(token + i)) out[run] += weights[i] * change.at(batch, token + i, channel);
    }
    if (!change.has(token)) continue;
    const float d = change.at(batch, token, channel);
    // Products with rows before the piece count whole: alone it has none.
    const float whole =
        token < a.edges.first
            ? a.d[(static_cast<std::int64_t>(batch) * a.edges.first + token) * 3 * width + column]
            : 0.0f;
#pragma unroll
    for (int i = 0; i < kMaxFeaturizerTaps; ++i) {
      if (i >= taps) break;
      sum[i] += (token < i ? whole : d) * z.raw(token - i);
    }
  }
#pragma unroll
  for (int run = 0; run < kFinishRun; ++run) {
    if (begin + run * kFinishRows < rows) dz_column[token_of(run) * z.stride] = from_float<T>(out[run]);
  }
#pragma unroll
  for (int i = 0; i < kMaxFeaturizerTaps; ++i) sums[i][warp][lane] = sum[i];
  __syncthreads();
  // A tap a warp.
  if (!live || warp >= taps) return;
  float total = 0;
  for (int other = 0; other < kFinishRows; ++other) total += sums[warp][other][lane];
  const std::int64_t at = (static_cast<std::int64_t>(batch) * gridDim.y + blockIdx.y) * taps + warp;
  partials[at * 3 * width + column] = total;
}

// Numbers of blocks, and of rows of the arrays.
struct Sizes {
  std::int64_t values;  // a row, of all sequences
  std::int64_t first, head, gates, around, chunks;
  Roles roles;
  explicit Sizes(const HyenaShape& s) : values(s.batch * s.width) {
    const Edges edges(s);
    const std::int64_t tail = s.length - edges.tail;
    first = edges.first;
    head = edges.head;
    gates = first + tail;
    around = s.taps - 1;
    chunks = ceil_div(std::max(head, gates + s.featurizer_taps - 1), kChunk);
    roles = {static_cast<int>(ceil_div(head, kRows)),
             static_cast<int>((first > 0 ? 1 : 0) + ceil_div(tail, kRows)),
             static_cast<int>(ceil_div(s.taps, kRows))};
  }
};

struct Workspace {
  EdgeArrays arrays;
  float *d, *filter, *skip, *featurizer;
  std::int64_t floats = 0;

  // At `base`, which may be null where only the number of floats is wanted.
  Workspace(const HyenaShape& s, float* base) {
    const Sizes n(s);
    const Edges edges(s);
    const int length = static_cast<int>(s.length), width = static_cast<int>(s.width);
    const auto take = [&](std::int64_t rows) {
      const std::int64_t at = std::exchange(floats, floats + rows * n.values);
      return base == nullptr ? nullptr : base + at;
    };
    const auto ends = [&](int head, int tail) {
      return EndRows{take(head + length - tail), head, tail, length, width};
    };
    const auto gate = [&] { return ends(edges.first, edges.tail); };
    const auto first = [&] { return ends(edges.first, length); };
    arrays = {take(n.around + n.first),
              take(n.first),
              take(n.first + n.around),
              take(n.head),
              take(n.head),
              {gate(), gate()},
              {first(), first()},
              {ends(edges.head, length), gate(), gate()}};
    d = take(3 * n.first);
    filter = take(s.taps);
    featurizer = take(n.chunks * s.featurizer_taps * 3);
    skip = s.has_skip ? take(1) : nullptr;
  }
};

template <class T>
void backward(const HyenaShape& shape, const HyenaWeights& weights, const HyenaSurroundings& around,
              const void* z, const void* dy, void* dz, void* reach, const HyenaGradients& gradients,
              void* workspace, cudaStream_t stream) {
  const Sizes sizes(shape);
  const Workspace w(shape, static_cast<float*>(workspace));
  const EdgeArguments<T> a{arguments_of<T>(shape, weights, around, z, dy), Edges(shape), w.arrays, w.d,
                           static_cast<T*>(reach)};
  const auto grid = [&](std::int64_t columns, int columns_a_block, std::int64_t rows) {
    return dim3(static_cast<unsigned>(ceil_div(columns, columns_a_block)), static_cast<unsigned>(rows),
                static_cast<unsigned>(shape.batch));
  };
  const auto [head_blocks, gate_blocks, lag_blocks] = sizes.roles;
  launch<features_kernel<T>>(grid(shape.width, kColumns, std::max({sizes.head, sizes.gates, sizes.around})),
                             kColumns, 0, stream, a);
  launch_ahead<edges_kernel<T>>(grid(shape.width, kLanes, head_blocks + gate_blocks + lag_blocks), kThreads,
                                0, stream, a, sizes.roles, w.skip, w.filter);
  launch_ahead<finish_kernel<T>>(grid(3 * shape.width, kFinishColumns, sizes.chunks),
                                 kFinishColumns * kFinishRows, 0, stream, a, static_cast<T*>(dz),
                                 w.featurizer);

  reduce({{w.filter, shape.batch, shape.taps, shape.width, shape.groups, gradients.filter, weights.decay},
          {w.featurizer, shape.batch * sizes.chunks, shape.featurizer_taps, 3 * shape.width, 3 * shape.width,
           gradients.featurizer},
          {w.skip, shape.batch, 1, shape.width, shape.width, gradients.skip}},
         stream);
}

}  // namespace

std::size_t edges_workspace(const HyenaShape& shape) {
  if (shape.taps > kMostTaps) {
    throw Error("context-strategy", "the cuda backend takes filters of up to " + std::to_string(kMostTaps) +
                                        " taps from piece to piece of a sequence, this layer has " +
                                        std::to_string(shape.taps) + ": spread it by all-to-all");
  }
  return static_cast<std::size_t>(Workspace(shape, nullptr).floats) * sizeof(float);
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
