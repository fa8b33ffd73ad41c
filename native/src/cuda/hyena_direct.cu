#include "hyena_direct.h"

#include <algorithm>
#include <utility>

#include "hyena_direct.cuh"
#include "hyena_gates.h"
#include "launch.h"

namespace striped::cuda {
namespace {

using namespace direct;

constexpr int kStrips = 32;  // parts of a sequence that filter gradients are summed over separately, at most
constexpr int kBlocks = 3;   // a multiprocessor
constexpr int kVector = 8;   // values; arrays in the workspace begin at multiples of it

__device__ void scale(float (&x)[kRun], float factor) {
#pragma unroll
  for (int i = 0; i < kRun; ++i) x[i] *= factor;
}

// y of the first `rows` tokens, of which u holds the inputs.
template <class T>
__global__ __launch_bounds__(kLanes* kWarps, kBlocks) void forward_kernel(const Arguments<T> a, const T* u,
                                                                          int rows, T* y) {
  __shared__ Window window;
  __shared__ float taps[kRows][kLanes];
  const Place p(a.tensors.width);
  const Column<T> input(u, p, rows, a.tensors.width);
  const int first = p.first + p.warp * kRun;
  float sum[kRun];
  input.run(first, sum);
  scale(sum, a.skip == nullptr ? 0.0f : a.skip[p.channel]);
  const auto fill = [&](int block, float(&x)[kRun]) {
    const int token = first - block * kRows;
    if (token < 0) {
      load_before(a, p, token, x);
    } else {
      input.run(token, x);
    }
  };
  convolve(window, taps, a.filter, p, false, first < rows, fill, sum);
  if (!p.live) return;
  float q[kRun];
  Projection<T>(a.tensors, p.batch, 0, p.channel).run(first, q);
#pragma unroll
  for (int i = 0; i < kRun; ++i) {
    if (first + i >= rows) break;
    y[(static_cast<std::int64_t>(p.batch) * a.tensors.length + first + i) * a.tensors.width + p.channel] =
        from_float<T>(q[i] * sum[i]);
  }
}

// d of the query, dy ⊙ (h ∗ u), and a partial sum of the skip's gradient a block of tokens.
template <class T>
__global__ __launch_bounds__(kLanes* kWarps, kBlocks) void query_kernel(const Arguments<T> a, const T* u,
                                                                        const T* g,
                                                                        const ProjectionGradient<T> out,
                                                                        float* skip_partials) {
  __shared__ Window window;
  __shared__ float taps[kRows][kLanes];
  const Place p(a.tensors.width);
  const Column<T> input(u, p, a.tensors.length, a.tensors.width);
  const int first = p.first + p.warp * kRun;
  float sum[kRun], x[kRun];
  input.run(first, sum);
  Column<T>(g, p, a.tensors.length, a.tensors.width).run(first, x);
  float d_skip = 0;
#pragma unroll
  for (int i = 0; i < kRun; ++i) d_skip += sum[i] * x[i];
  scale(sum, a.skip == nullptr ? 0.0f : a.skip[p.channel]);
  convolve(
      window, taps, a.filter, p, false, first < a.tensors.length,
      [&](int block, float(&far)[kRun]) { input.run(first - block * kRows, far); }, sum);
  if (p.live) {
    const OutputGradient<T> dy(a.tensors, p.batch, p.channel);
#pragma unroll
    for (int i = 0; i < kRun; ++i) sum[i] *= dy(first + i);
    out.write_run(p.batch, first, 0, p.channel, sum);
  }
  if (skip_partials == nullptr) return;
  taps[p.warp][p.lane] = d_skip;
  __syncthreads();
  if (p.warp != 0 || !p.live) return;
  for (int w = 1; w < kWarps; ++w) d_skip += taps[w][p.lane];
  skip_partials[(static_cast<std::int64_t>(p.batch) * gridDim.y + blockIdx.y) * a.tensors.width + p.channel] =
      d_skip;
}

// d of key and value, from h ⋆ g: time runs backwards in the window, so warp w has the tokens of warp 7 - w,
// last one first.
template <class T>
__global__ __launch_bounds__(kLanes* kWarps, kBlocks) void gate_kernel(const Arguments<T> a, const T* g,
                                                                       const ProjectionGradient<T> out) {
  __shared__ Window window;
  __shared__ float taps[kRows][kLanes];
  const Place p(a.tensors.width);
  const Column<T> input(g, p, a.tensors.length, a.tensors.width);
  const int mirrored = p.first + (kWarps - 1 - p.warp) * kRun;
  float sum[kRun], x[kRun];
  input.run(mirrored, x);
#pragma unroll
  for (int i = 0; i < kRun; ++i) sum[i] = x[kRun - 1 - i];
  scale(sum, a.skip == nullptr ? 0.0f : a.skip[p.channel]);
  convolve(
      window, taps, a.filter, p, true, mirrored < a.tensors.length,
      [&](int block, float(&far)[kRun]) { input.run(mirrored + block * kRows, far); }, sum);
  if (!p.live) return;
  for (int part = 1; part < 3; ++part) {  // dk has the factor v, dv has k
    Projection<T>(a.tensors, p.batch, 3 - part, p.channel).run(mirrored, x);
#pragma unroll
    for (int i = 0; i < kRun; ++i) x[i] *= sum[kRun - 1 - i];
    out.write_run(p.batch, mirrored, part, p.channel, x);
  }
}

// Σ_t g_t·u_{t-j} for 128 lags (blockIdx.y) over one strip of tokens (blockIdx.z: strip of a sequence), 16
// lags a warp.
template <class T>
__global__ __launch_bounds__(kLanes* kWarps, kBlocks) void filter_kernel(const Arguments<T> a, const T* u,
                                                                         const T* g, int strips,
                                                                         int strip_rows, float* partials) {
  __shared__ Window window;
  __shared__ float gradients[kWarps][kRun][kLanes];
  Place p(a.tensors.width);
  p.batch = static_cast<int>(blockIdx.z) / strips;
  const int begin = static_cast<int>(blockIdx.z) % strips * strip_rows, lag_block = blockIdx.y;
  const int end = min(begin + strip_rows, a.tensors.length);
  const Column<T> input(u, p, a.tensors.length, a.tensors.width),
      gradient(g, p, a.tensors.length, a.tensors.width);
  float sum[kRun] = {};
  correlate(
      window, gradients, p, begin, end, lag_block, a.filter.count,
      [&](int first, float(&x)[kRun]) { input.run(first, x); },
      [&](int first, float(&x)[kRun]) { gradient.run(first, x); }, sum);
  if (!p.live) return;
#pragma unroll
  for (int j = 0; j < kRun; ++j) {
    const int lag = lag_block * kRows + p.warp * kRun + j;
    if (lag >= a.filter.count) break;
    partials[(static_cast<std::int64_t>(blockIdx.z) * a.filter.count + lag) * a.tensors.width + p.channel] =
        sum[j];
  }
}

dim3 grid_of(const HyenaShape& shape, std::int64_t rows) {
  return dim3(static_cast<unsigned>(ceil_div(shape.width, kLanes)),
              static_cast<unsigned>(ceil_div(rows, kRows)), static_cast<unsigned>(shape.batch));
}

struct Strips {
  int count, rows;
};
Strips strips_of(const HyenaShape& shape) {
  const std::int64_t tiles = ceil_div(shape.length, kRows);
  const std::int64_t rows = ceil_div(tiles, std::min<std::int64_t>(tiles, kStrips)) * kRows;
  return {static_cast<int>(ceil_div(shape.length, rows)), static_cast<int>(rows)};
}

// Of the workspace: u and g, then what the backward pass sums up.
struct Sizes {
  std::int64_t inputs;                           // values of u, and of g; whole vectors
  std::int64_t reach, featurizer, skip, filter;  // floats
  explicit Sizes(const HyenaShape& s)
      : inputs(ceil_div(s.batch * s.length * s.width, kVector) * kVector),
        reach(reach_size(s, kRows)),
        featurizer(featurizer_partials_size(s, kRows)),
        skip(s.has_skip ? s.batch * ceil_div(s.length, kRows) * s.width : 0),
        filter(s.batch * strips_of(s).count * s.taps * s.width) {}
};

template <class T>
void backward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type, const void* z,
              const void* dy, void* dz, const HyenaGradients& gradients, void* workspace,
              cudaStream_t stream) {
  const Sizes sizes(shape);
  T* const u = static_cast<T*>(workspace);
  T* const g = u + sizes.inputs;
  float* next = reinterpret_cast<float*>(g + sizes.inputs);
  const auto take = [&](std::int64_t count) { return std::exchange(next, next + count); };
  const FeaturizerScratch scratch{take(sizes.reach), take(sizes.featurizer)};
  float* const skip = shape.has_skip ? take(sizes.skip) : nullptr;
  float* const filter = take(sizes.filter);

  const RowRange all{0, shape.length};
  hyena_gate(shape, weights, type, nullptr, z, all, u, stream);
  hyena_query(shape, weights, type, nullptr, z, dy, all, g, stream);
  const Arguments<T> a = arguments_of<T>(shape, weights, {}, z, dy);
  const ProjectionGradient<T> d = projection_gradient<T>(shape, dz, scratch.reach, kRows);
  const dim3 grid = grid_of(shape, shape.length);
  launch<query_kernel<T>>(grid, kLanes * kWarps, 0, stream, a, u, g, d, skip);
  launch<gate_kernel<T>>(grid, kLanes * kWarps, 0, stream, a, g, d);
  const Strips strips = strips_of(shape);
  const dim3 filter_grid(static_cast<unsigned>(ceil_div(shape.width, kLanes)),
                         static_cast<unsigned>(ceil_div(shape.taps, kRows)),
                         static_cast<unsigned>(shape.batch * strips.count));
  launch<filter_kernel<T>>(filter_grid, kLanes * kWarps, 0, stream, a, u, g, strips.count, strips.rows,
                           filter);

  featurizer_backward(shape, weights, type, nullptr, z, dz, kRows, scratch, gradients.featurizer, stream);
  reduce({{filter, shape.batch * strips.count, shape.taps, shape.width, shape.groups, gradients.filter,
           weights.decay},
          {skip, shape.batch * ceil_div(shape.length, kRows), 1, shape.width, shape.width, gradients.skip}},
         stream);
}

}  // namespace

std::size_t direct_workspace(const HyenaShape& shape, ElementType type) {
  const Sizes sizes(shape);
  const std::size_t value = type == ElementType::bf16 ? sizeof(bf16) : sizeof(float);
  return static_cast<std::size_t>(2 * sizes.inputs) * value +
         static_cast<std::size_t>(sizes.reach + sizes.featurizer + sizes.skip + sizes.filter) * sizeof(float);
}

void direct_forward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type,
                    const HyenaSurroundings& around, std::int64_t rows, const void* z, void* y,
                    void* workspace, cudaStream_t stream) {
  if (rows == 0) return;
  hyena_gate(shape, weights, type, around.projections, z, {0, rows}, workspace, stream);
  const auto call = [&]<class T>() {
    launch<forward_kernel<T>>(grid_of(shape, rows), kLanes * kWarps, 0, stream,
                              arguments_of<T>(shape, weights, around, z, nullptr),
                              static_cast<const T*>(workspace), static_cast<int>(rows), static_cast<T*>(y));
  };
  type == ElementType::bf16 ? call.template operator()<bf16>() : call.template operator()<float>();
}

void direct_backward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type, const void* z,
                     const void* dy, void* dz, const HyenaGradients& gradients, void* workspace,
                     cudaStream_t stream) {
  if (type == ElementType::bf16) {
    backward<bf16>(shape, weights, type, z, dy, dz, gradients, workspace, stream);
  } else {
    backward<float>(shape, weights, type, z, dy, dz, gradients, workspace, stream);
  }
}

}  // namespace striped::cuda
