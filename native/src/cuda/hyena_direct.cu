#include "hyena_direct.h"

#include <algorithm>
#include <utility>

#include "hyena_direct.cuh"
#include "launch.h"

namespace striped::cuda {
namespace {

using namespace direct;

constexpr int kStrips = 32;  // parts of a sequence that filter gradients are summed over separately, at most

// y of the first `rows` tokens.
template <class T>
__global__ __launch_bounds__(kLanes* kWarps) void forward_kernel(const Arguments<T> a, int rows, T* y) {
  __shared__ Window window;
  __shared__ float taps[kRows][kLanes];
  const Place p(a.tensors.width);
  const Projection<T> k(a.tensors, p.batch, 1, p.channel), v(a.tensors, p.batch, 2, p.channel);
  const int first = p.first + p.warp * kRun;
  float sum[kRun] = {};
  if (a.skip != nullptr) {
    const float skip = a.skip[p.channel];
    load_gate(k, v, first, sum);
#pragma unroll
    for (int i = 0; i < kRun; ++i) sum[i] *= skip;
  }
  const auto fill = [&](int block, float(&u)[kRun]) {
    const int token = first - block * kRows;
    if (token < 0) {
      load_before(a, p, token, u);
    } else {
      load_gate(k, v, token, u);
    }
  };
  convolve(window, taps, a.filter, p, false, fill, sum);
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

// d of all projections, and a partial sum of the skip's gradient a block of tokens.
template <class T>
__global__ __launch_bounds__(kLanes* kWarps) void gradient_kernel(const Arguments<T> a,
                                                                  const ProjectionGradient<T> out,
                                                                  float* skip_partials) {
  __shared__ Window window;
  __shared__ float taps[kRows][kLanes];
  const Place p(a.tensors.width);
  const Projection<T> q(a.tensors, p.batch, 0, p.channel), k(a.tensors, p.batch, 1, p.channel),
      v(a.tensors, p.batch, 2, p.channel);
  const OutputGradient<T> dy(a.tensors, p.batch, p.channel);
  const float skip = a.skip == nullptr ? 0.0f : a.skip[p.channel];
  const int first = p.first + p.warp * kRun;
  float sum[kRun], x[kRun];

  load_gate(k, v, first, sum);
  load_gradient(q, dy, first, x);
  float d_skip = 0;
#pragma unroll
  for (int i = 0; i < kRun; ++i) {
    d_skip += sum[i] * x[i];
    sum[i] *= skip;
  }
  convolve(
      window, taps, a.filter, p, false,
      [&](int block, float(&u)[kRun]) { load_gate(k, v, first - block * kRows, u); }, sum);
  if (p.live) {
    for (int i = 0; i < kRun; ++i) out.write(p.batch, first + i, 0, p.channel, dy(first + i) * sum[i]);
  }

  // h ⋆ g: time runs backwards in the window, so warp w has the tokens of warp 7 - w, last one first.
  const int mirrored = p.first + (kWarps - 1 - p.warp) * kRun;
  load_gradient(q, dy, mirrored, x);
#pragma unroll
  for (int i = 0; i < kRun; ++i) sum[i] = skip * x[kRun - 1 - i];
  convolve(
      window, taps, a.filter, p, true,
      [&](int block, float(&g)[kRun]) { load_gradient(q, dy, mirrored + block * kRows, g); }, sum);
  if (p.live) {
    float gate[kRun];
    v.run(mirrored, gate);
#pragma unroll
    for (int i = 0; i < kRun; ++i)
      out.write(p.batch, mirrored + i, 1, p.channel, sum[kRun - 1 - i] * gate[i]);
    k.run(mirrored, gate);
#pragma unroll
    for (int i = 0; i < kRun; ++i)
      out.write(p.batch, mirrored + i, 2, p.channel, sum[kRun - 1 - i] * gate[i]);
  }

  taps[p.warp][p.lane] = d_skip;
  __syncthreads();
  if (p.warp != 0 || !p.live || skip_partials == nullptr) return;
  for (int w = 1; w < kWarps; ++w) d_skip += taps[w][p.lane];
  skip_partials[(static_cast<std::int64_t>(p.batch) * gridDim.y + blockIdx.y) * a.tensors.width + p.channel] =
      d_skip;
}

// Σ_t g_t·u_{t-j} for 128 lags (blockIdx.y) over one strip of tokens (blockIdx.z: strip of a sequence), 16
// lags a warp.
template <class T>
__global__ __launch_bounds__(kLanes* kWarps) void filter_kernel(const Arguments<T> a, int strips,
                                                                int strip_rows, float* partials) {
  __shared__ Window window;
  __shared__ float gradients[kWarps][kRun][kLanes];
  const Place p(a.tensors.width);
  const int batch = blockIdx.z / strips, begin = blockIdx.z % strips * strip_rows, lag_block = blockIdx.y;
  const int end = min(begin + strip_rows, a.tensors.length);
  const Projection<T> q(a.tensors, batch, 0, p.channel), k(a.tensors, batch, 1, p.channel),
      v(a.tensors, batch, 2, p.channel);
  const OutputGradient<T> dy(a.tensors, batch, p.channel);
  float sum[kRun] = {};
  correlate(
      window, gradients, p, begin, end, lag_block,
      [&](int first, float(&u)[kRun]) { load_gate(k, v, first, u); },
      [&](int first, float(&g)[kRun]) { load_gradient(q, dy, first, g); }, sum);
  if (!p.live) return;
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

struct Sizes {
  std::int64_t reach, featurizer, skip, filter;  // floats
  explicit Sizes(const HyenaShape& s)
      : reach(reach_size(s, kRows)),
        featurizer(featurizer_partials_size(s, kRows)),
        skip(s.batch * ceil_div(s.length, kRows) * s.width),
        filter(s.batch * strips_of(s).count * s.taps * s.width) {}
};

template <class T>
void backward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type, const void* z,
              const void* dy, void* dz, const HyenaGradients& gradients, void* workspace,
              cudaStream_t stream) {
  const Sizes sizes(shape);
  float* next = static_cast<float*>(workspace);
  const auto take = [&](std::int64_t count) { return std::exchange(next, next + count); };
  const FeaturizerScratch scratch{take(sizes.reach), take(sizes.featurizer)};
  float* skip = shape.has_skip ? take(sizes.skip) : nullptr;
  float* filter = take(sizes.filter);

  const Arguments<T> a = arguments_of<T>(shape, weights, {}, z, dy);
  launch<gradient_kernel<T>>(grid_of(shape, shape.length), kLanes * kWarps, 0, stream, a,
                             projection_gradient<T>(shape, dz, scratch.reach, kRows), skip);
  const Strips strips = strips_of(shape);
  const dim3 filter_grid(static_cast<unsigned>(ceil_div(shape.width, kLanes)),
                         static_cast<unsigned>(ceil_div(shape.taps, kRows)),
                         static_cast<unsigned>(shape.batch * strips.count));
  launch<filter_kernel<T>>(filter_grid, kLanes * kWarps, 0, stream, a, strips.count, strips.rows, filter);

  featurizer_backward(shape, weights, type, nullptr, z, dz, kRows, scratch, gradients.featurizer, stream);
  reduce(filter, shape.batch * strips.count, shape.taps, shape.width, shape.groups, weights.decay,
         gradients.filter, stream);
  if (shape.has_skip) {
    reduce(skip, shape.batch * ceil_div(shape.length, kRows), 1, shape.width, shape.width, nullptr,
           gradients.skip, stream);
  }
}

}  // namespace

std::size_t direct_workspace(const HyenaShape& shape, ElementType) {
  const Sizes sizes(shape);
  return static_cast<std::size_t>(sizes.reach + sizes.featurizer + sizes.skip + sizes.filter) * sizeof(float);
}

void direct_forward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type,
                    const HyenaSurroundings& around, std::int64_t rows, const void* z, void* y,
                    cudaStream_t stream) {
  if (rows == 0) return;
  const auto call = [&]<class T>() {
    launch<forward_kernel<T>>(grid_of(shape, rows), kLanes * kWarps, 0, stream,
                              arguments_of<T>(shape, weights, around, z, nullptr), static_cast<int>(rows),
                              static_cast<T*>(y));
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
