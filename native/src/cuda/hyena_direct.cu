#include "hyena_direct.h"

#include <algorithm>
#include <utility>

#include "hyena_elements.cuh"
#include "launch.h"

// A block has 32 channels (a lane each) and 128 tokens, 16 a warp. The filter is applied 128 lags at a time:
// the taps of these lags and the two neighbouring blocks of 128 tokens that they reach lie in shared memory,
// and a thread slides over them 16 × 16 products at a time from registers.
namespace striped::cuda {
namespace {

using namespace general;

constexpr int kLanes = 32, kWarps = 8, kRun = 16, kRows = kWarps * kRun;
constexpr int kStrips = 32;  // parts of a sequence that filter gradients are summed over separately, at most

struct Filter {
  const float *taps, *decay;
  int count, group_size;
  __device__ float tap(int channel, int t) const {
    if (t >= count) return 0.0f;
    const std::int64_t at = static_cast<std::int64_t>(channel / group_size) * count + t;
    return decay == nullptr ? taps[at] : taps[at] * decay[at];
  }
};

template <class T>
struct Arguments {
  Tensors<T> tensors;
  Filter filter;
  const float* skip;
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

// sum[i] += h ∗ x at this thread's tokens. fill(block, run, out): 16 values of x in the order of the window,
// `block` blocks of 128 tokens further into the filter's reach.
template <class Fill>
__device__ void convolve(Window& window, float (&taps)[kRows][kLanes], const Filter& filter, const Place& p,
                         bool reversed, const Fill& fill, float (&sum)[kRun]) {
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
      taps[p.warp * kRun + i][p.lane] = filter.tap(p.channel, block * kRows + p.warp * kRun + i);
    }
    __syncthreads();
    float near[kRun], far[kRun];
    window.get(block, p.warp, p.lane, near);
    for (int lag = 0; lag < kWarps && block * kRows + lag * kRun < filter.count; ++lag) {
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

template <class T>
__device__ void load_gate(const Projection<T>& k, const Projection<T>& v, int first, float (&u)[kRun]) {
  float value[kRun];
  k.run(first, u);
  v.run(first, value);
#pragma unroll
  for (int i = 0; i < kRun; ++i) u[i] *= value[i];
}
template <class T>
__device__ void load_gradient(const Projection<T>& q, const OutputGradient<T>& dy, int first,
                              float (&g)[kRun]) {
  q.run(first, g);
#pragma unroll
  for (int i = 0; i < kRun; ++i) g[i] *= dy(first + i);
}

template <class T>
__global__ __launch_bounds__(kLanes* kWarps) void forward_kernel(const Arguments<T> a, T* y) {
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
  const auto fill = [&](int block, float(&x)[kRun]) { load_gate(k, v, first - block * kRows, x); };
  convolve(window, taps, a.filter, p, false, fill, sum);
  if (!p.live) return;
  float q[kRun];
  Projection<T>(a.tensors, p.batch, 0, p.channel).run(first, q);
#pragma unroll
  for (int i = 0; i < kRun; ++i) {
    if (first + i >= a.tensors.length) break;
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
  float x[kRun];
  load_gate(k, v, begin - (lag_block + 1) * kRows + p.warp * kRun, x);
  window.put(1, p.warp, p.lane, x, false);
  for (int first = begin, tile = 0; first < end; first += kRows, ++tile) {
    // Slot tile % 2 holds the tokens of this tile less the block's lags, the other one those before.
    load_gate(k, v, first - lag_block * kRows + p.warp * kRun, x);
    window.put(tile % 2, p.warp, p.lane, x, false);
    load_gradient(q, dy, first + p.warp * kRun, x);
#pragma unroll
    for (int i = 0; i < kRun; ++i) gradients[p.warp][i][p.lane] = x[i];
    __syncthreads();
    float near[kRun], far[kRun];
    window.get(tile, -p.warp - 1, p.lane, far);
    for (int run = 0; run < kWarps; ++run) {
      window.get(tile, run - p.warp, p.lane, near);
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
  if (!p.live) return;
  for (int j = 0; j < kRun; ++j) {
    const int lag = lag_block * kRows + p.warp * kRun + j;
    if (lag >= a.filter.count) break;
    partials[(static_cast<std::int64_t>(blockIdx.z) * a.filter.count + lag) * a.tensors.width + p.channel] =
        sum[j];
  }
}

template <class T>
Arguments<T> arguments_of(const HyenaShape& shape, const HyenaWeights& weights, const void* z,
                          const void* dy) {
  return {tensors_of<T>(shape, weights, z, dy),
          {static_cast<const float*>(weights.filter), static_cast<const float*>(weights.decay), shape.taps,
           static_cast<int>(shape.width / shape.groups)},
          shape.has_skip ? static_cast<const float*>(weights.skip) : nullptr};
}

dim3 grid_of(const HyenaShape& shape) {
  return dim3(static_cast<unsigned>(ceil_div(shape.width, kLanes)),
              static_cast<unsigned>(ceil_div(shape.length, kRows)), static_cast<unsigned>(shape.batch));
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

  const Arguments<T> a = arguments_of<T>(shape, weights, z, dy);
  launch<gradient_kernel<T>>(grid_of(shape), kLanes * kWarps, 0, stream, a,
                             projection_gradient<T>(shape, dz, scratch.reach, kRows), skip);
  const Strips strips = strips_of(shape);
  const dim3 filter_grid(static_cast<unsigned>(ceil_div(shape.width, kLanes)),
                         static_cast<unsigned>(ceil_div(shape.taps, kRows)),
                         static_cast<unsigned>(shape.batch * strips.count));
  launch<filter_kernel<T>>(filter_grid, kLanes * kWarps, 0, stream, a, strips.count, strips.rows, filter);

  featurizer_backward(shape, weights, type, z, dz, kRows, scratch, gradients.featurizer, stream);
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

void direct_forward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type, const void* z,
                    void* y, cudaStream_t stream) {
  if (type == ElementType::bf16) {
    launch<forward_kernel<bf16>>(grid_of(shape), kLanes * kWarps, 0, stream,
                                 arguments_of<bf16>(shape, weights, z, nullptr), static_cast<bf16*>(y));
  } else {
    launch<forward_kernel<float>>(grid_of(shape), kLanes * kWarps, 0, stream,
                                  arguments_of<float>(shape, weights, z, nullptr), static_cast<float*>(y));
  }
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
