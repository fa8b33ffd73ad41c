#include "hyena_fourier.h"

#include <algorithm>

#include "hyena_elements.cuh"
#include "hyena_fourier_turn.cuh"
#include "hyena_spectra.h"
#include "launch.h"
#include "parallel/carver.h"

namespace striped::cuda {
namespace fourier {
namespace {

using namespace general;

// A block has 32 channels (a lane each) and 128 places, 16 a warp, and turns them over in shared memory:
// tokens are rows of z, and neighbours in a transform.
constexpr int kLanes = 32, kWarps = 8, kRun = 16, kRows = kWarps * kRun, kThreads = kLanes * kWarps;

// A slice's values[batch, channels, points], a transform's places one behind the other.
struct Columns {
  std::int64_t first, channels, points;
};

using Turned = float[kLanes][kRows + 1];

struct Place {
  int lane, warp, inner, channel, first, batch;
  bool live;
  __device__ explicit Place(const Columns& columns)
      : lane(threadIdx.x % kLanes),
        warp(threadIdx.x / kLanes),
        inner(blockIdx.x * kLanes),
        first(blockIdx.y * kRows),
        batch(blockIdx.z) {
    live = inner + lane < columns.channels;
    channel =
        static_cast<int>(columns.first) + (live ? inner + lane : static_cast<int>(columns.channels) - 1);
  }
  __device__ int token() const { return first + warp * kRun; }
};

// visit(value of this block, its channel's lane, its row, the row's factor), along transforms.
template <class Visit>
__device__ void for_columns(const Columns& columns, const Place& p, const float2 (&factors)[kRows],
                            float2* values, const Visit& visit) {
  for (int c = p.warp; c < kLanes && p.inner + c < columns.channels; c += kWarps) {
    float2* column = values + (p.batch * columns.channels + p.inner + c) * columns.points + p.first;
    for (int i = p.lane; i < kRows && p.first + i < columns.points; i += kLanes) {
      visit(column[i], c, i, factors[i]);
    }
  }
}

__device__ void load_factors(const Turn& turn, int first, float2 (&factors)[kRows]) {
  if (threadIdx.x < kRows) factors[threadIdx.x] = turn(0, first + static_cast<int>(threadIdx.x));
}

// u, or g with Gradient, turned by a quarter over the transform's length; zero behind the sequence.
template <class T, bool Gradient>
__global__ __launch_bounds__(kThreads) void load_kernel(const Tensors<T> tensors, const Columns columns,
                                                        const Turn turn, float2* values) {
  __shared__ Turned tile;
  __shared__ float2 factors[kRows];
  const Place p(columns);
  load_factors(turn, p.first, factors);
  float x[kRun];
  if constexpr (Gradient) {
    load_gradient(Projection<T>(tensors, p.batch, 0, p.channel),
                  OutputGradient<T>(tensors, p.batch, p.channel), p.token(), x);
  } else {
    load_gate(Projection<T>(tensors, p.batch, 1, p.channel), Projection<T>(tensors, p.batch, 2, p.channel),
              p.token(), x);
  }
#pragma unroll
  for (int i = 0; i < kRun; ++i) {
    tile[p.lane][p.warp * kRun + i] = p.token() + i < tensors.length ? x[i] : 0.0f;
  }
  __syncthreads();
  for_columns(columns, p, factors, values, [&](float2& value, int c, int i, float2 factor) {
    value = make_float2(tile[c][i] * factor.x, tile[c][i] * factor.y);
  });
}

// Turned back: the real part of the product with the factor's conjugate.
__device__ void turn_back(const Columns& columns, const Place& p, const float2 (&factors)[kRows],
                          float2* values, Turned& tile) {
  for_columns(columns, p, factors, values, [&](const float2& value, int c, int i, float2 factor) {
    tile[c][i] = value.x * factor.x + value.y * factor.y;
  });
}

template <class T>
__global__ __launch_bounds__(kThreads) void output_kernel(const Tensors<T> tensors, const Columns columns,
                                                          const Turn turn, float2* values, T* y) {
  __shared__ Turned tile;
  __shared__ float2 factors[kRows];
  const Place p(columns);
  load_factors(turn, p.first, factors);
  __syncthreads();
  turn_back(columns, p, factors, values, tile);
  __syncthreads();
  if (!p.live) return;
  float q[kRun];
  Projection<T>(tensors, p.batch, 0, p.channel).run(p.token(), q);
#pragma unroll
  for (int i = 0; i < kRun; ++i) {
    if (p.token() + i >= tensors.length) break;
    y[(static_cast<std::int64_t>(p.batch) * tensors.length + p.token() + i) * tensors.width + p.channel] =
        from_float<T>(q[i] * tile[p.lane][p.warp * kRun + i]);
  }
}

// d of all projections from c = conv(h, u) + d ⊙ u and du.
template <class T>
__global__ __launch_bounds__(kThreads, 3) void gradient_kernel(const Tensors<T> tensors,
                                                               const Columns columns, const Turn turn,
                                                               float2* c, float2* du,
                                                               const ProjectionGradient<T> out) {
  __shared__ Turned c_tile, du_tile;
  __shared__ float2 factors[kRows];
  const Place p(columns);
  load_factors(turn, p.first, factors);
  __syncthreads();
  turn_back(columns, p, factors, c, c_tile);
  turn_back(columns, p, factors, du, du_tile);
  __syncthreads();
  if (!p.live) return;
  const OutputGradient<T> dy(tensors, p.batch, p.channel);
  const int row = p.warp * kRun;
  float d[kRun];
#pragma unroll
  for (int i = 0; i < kRun; ++i) d[i] = dy(p.token() + i) * c_tile[p.lane][row + i];
  out.write_run(p.batch, p.token(), 0, p.channel, d);
  for (int part = 1; part <= 2; ++part) {
    Projection<T>(tensors, p.batch, 3 - part, p.channel).run(p.token(), d);
#pragma unroll
    for (int i = 0; i < kRun; ++i) d[i] *= du_tile[p.lane][row + i];
    out.write_run(p.batch, p.token(), part, p.channel, d);
  }
}

// A sequence of its own is one piece, at a length that transforms are fast at.
FourierPart part_of(const HyenaShape& shape) {
  return {shape.batch, fourier_length(shape.length), shape.width, 1, 0, 1};
}

Columns columns_of(const FourierPart& part, const Slice& slice) {
  return {slice.first, slice.count, part.rows};
}

dim3 grid_of(const FourierPart& part, const Slice& slice) {
  return dim3(static_cast<unsigned>(ceil_div(slice.count, kLanes)),
              static_cast<unsigned>(ceil_div(part.rows, kRows)), static_cast<unsigned>(part.batch));
}

// Tokens of a block of the featurizer's gradient: so many that sums of blocks take little memory, and so few
// that fp32 sums over a block are exact enough.
int featurizer_rows(const HyenaShape& shape) {
  constexpr std::int64_t blocks = 128, most = 16;
  return static_cast<int>(std::min(most, ceil_div(ceil_div(shape.length, blocks), kRows)) * kRows);
}

struct Buffers : parallel::Carver {
  Buffers(const HyenaShape& shape, const SpectralFilter& filter, void* base)
      : Carver(base), spectra(take_bytes(filter.workspace())) {
    const int rows = featurizer_rows(shape);
    scratch.reach = real(reach_size(shape, rows));
    scratch.partials = real(featurizer_partials_size(shape, rows));
  }
  void* spectra;
  FeaturizerScratch scratch;

 private:
  float* real(std::int64_t count) {
    return static_cast<float*>(take_bytes(static_cast<std::size_t>(count) * sizeof(float)));
  }
};

template <class T>
void forward(const HyenaShape& shape, const HyenaWeights& weights, const void* z, void* y, void* workspace,
             FourierPlans& plans, cudaStream_t stream) {
  const FourierPart part = part_of(shape);
  const Turn turn(part);
  const Tensors<T> tensors = tensors_of<T>(shape, weights, z, nullptr);
  SpectralFilter filter(part, shape, shape.length, plans);
  filter.forward(
      weights, Buffers(shape, filter, workspace).spectra, stream,
      [&](const Slice& slice, float2* u) {
        launch<load_kernel<T, false>>(grid_of(part, slice), kThreads, 0, stream, tensors,
                                      columns_of(part, slice), turn, u);
      },
      [&](const Slice& slice, float2* c) {
        launch<output_kernel<T>>(grid_of(part, slice), kThreads, 0, stream, tensors, columns_of(part, slice),
                                 turn, c, static_cast<T*>(y));
      });
}

template <class T>
void backward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type, const void* z,
              const void* dy, void* dz, const HyenaGradients& gradients, void* workspace, FourierPlans& plans,
              cudaStream_t stream) {
  const FourierPart part = part_of(shape);
  const Turn turn(part);
  const Tensors<T> tensors = tensors_of<T>(shape, weights, z, dy);
  SpectralFilter filter(part, shape, shape.length, plans);
  const Buffers buffers(shape, filter, workspace);
  const int rows = featurizer_rows(shape);
  filter.backward(
      weights, gradients, true, buffers.spectra, stream,
      [&](const Slice& slice, float2* u, float2* g) {
        const dim3 grid = grid_of(part, slice);
        const Columns columns = columns_of(part, slice);
        launch<load_kernel<T, false>>(grid, kThreads, 0, stream, tensors, columns, turn, u);
        launch<load_kernel<T, true>>(grid, kThreads, 0, stream, tensors, columns, turn, g);
      },
      [&](const Slice& slice, float2* c, float2* du) {
        launch<gradient_kernel<T>>(grid_of(part, slice), kThreads, 0, stream, tensors,
                                   columns_of(part, slice), turn, c, du,
                                   projection_gradient<T>(shape, dz, buffers.scratch.reach, rows));
      });
  featurizer_backward(shape, weights, type, nullptr, z, dz, rows, buffers.scratch, gradients.featurizer,
                      stream);
}

}  // namespace
}  // namespace fourier

std::size_t fourier_workspace(const HyenaShape& shape, FourierPlans& plans) {
  const fourier::SpectralFilter filter(fourier::part_of(shape), shape, shape.length, plans);
  return fourier::Buffers(shape, filter, nullptr).used();
}

void fourier_forward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type, const void* z,
                     void* y, void* workspace, FourierPlans& plans, cudaStream_t stream) {
  if (type == ElementType::bf16) {
    fourier::forward<bf16>(shape, weights, z, y, workspace, plans, stream);
  } else {
    fourier::forward<float>(shape, weights, z, y, workspace, plans, stream);
  }
}

void fourier_backward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type, const void* z,
                      const void* dy, void* dz, const HyenaGradients& gradients, void* workspace,
                      FourierPlans& plans, cudaStream_t stream) {
  if (type == ElementType::bf16) {
    fourier::backward<bf16>(shape, weights, type, z, dy, dz, gradients, workspace, plans, stream);
  } else {
    fourier::backward<float>(shape, weights, type, z, dy, dz, gradients, workspace, plans, stream);
  }
}

}  // namespace striped::cuda
