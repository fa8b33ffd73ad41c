#include "hyena_fourier_parts.h"

#include "hyena_fourier_turn.cuh"
#include "hyena_spectra.h"
#include "launch.h"
#include "vector.cuh"

namespace striped::cuda {
namespace fourier {
namespace {

// Between rows of a piece and residues, a row a warp.
constexpr int kLanes = 32, kWarps = 8;
constexpr int kTogether = 4;  // residues that are summed before they are rounded

template <class T>
__global__ __launch_bounds__(kLanes* kWarps) void add_kernel(const Turn turn, const FourierPart part,
                                                             int piece, const T* x, std::int64_t stride,
                                                             float2* spectrum) {
  const std::int64_t row = blockIdx.x * static_cast<std::int64_t>(kWarps) + threadIdx.y, b = blockIdx.z;
  if (row >= part.rows) return;
  const int q = blockIdx.y;
  const float2 factor = turn(part.first + q, piece * part.rows + row);
  const T* from = x + b * stride + row * part.width;
  float2* to = spectrum + ((b * part.count + q) * part.rows + row) * part.width;
  for (std::int64_t c = threadIdx.x; c < part.width; c += kLanes) {
    const float value = to_float(from[c]);
    float2 sum = to[c];
    sum.x += value * factor.x;
    sum.y += value * factor.y;
    to[c] = sum;
  }
}

// The real part of the product with the factor's conjugate.
template <class T>
__global__ __launch_bounds__(kLanes* kWarps) void take_kernel(const Turn turn, const FourierPart part,
                                                              int piece, const float2* spectrum, T* x,
                                                              std::int64_t stride) {
  const std::int64_t row = blockIdx.x * static_cast<std::int64_t>(kWarps) + threadIdx.y, b = blockIdx.z;
  if (row >= part.rows) return;
  const float share = 1.0f / static_cast<float>(part.pieces);
  T* to = x + b * stride + row * part.width;
  for (int first = 0; first < part.count; first += kTogether) {
    const int count = min(kTogether, part.count - first);
    float2 factors[kTogether];
#pragma unroll
    for (int q = 0; q < kTogether; ++q) {
      if (q < count) factors[q] = turn(part.first + first + q, piece * part.rows + row);
    }
    const float2* from = spectrum + ((b * part.count + first) * part.rows + row) * part.width;
    for (std::int64_t c = threadIdx.x; c < part.width; c += kLanes) {
      float sum = 0;
#pragma unroll
      for (int q = 0; q < kTogether; ++q) {
        if (q >= count) break;
        const float2 value = from[q * part.rows * part.width + c];
        sum += value.x * factors[q].x + value.y * factors[q].y;
      }
      to[c] = from_float<T>(to_float(to[c]) + sum * share);
    }
  }
}

// Between residues as they lie, [batch, residues, rows, width], and a slice's, [batch, channels, residues,
// rows]: tiles of 32 by 32 are turned over in shared memory. A block has one residue of one sequence.
constexpr int kSide = 32, kStep = 8;

// Where value (y, x) of the block's tile lies, in rows of channels or in columns of rows; -1: nowhere.
struct Tile {
  FourierPart part;
  Slice slice;
  std::int64_t row, channel, batch;
  int residue;
  __device__ Tile(const FourierPart& of, const Slice& in)
      : part(of),
        slice(in),
        row(blockIdx.x * static_cast<std::int64_t>(kSide)),
        channel(blockIdx.y * static_cast<std::int64_t>(kSide)),
        batch(blockIdx.z / part.count),
        residue(blockIdx.z % part.count) {}

  __device__ std::int64_t place(bool in_rows, int y, int x) const {
    const std::int64_t r = row + (in_rows ? y : x), c = channel + (in_rows ? x : y);
    if (r >= part.rows || c >= slice.count) return -1;
    return in_rows ? ((batch * part.count + residue) * part.rows + r) * part.width + slice.first + c
                   : ((batch * slice.count + c) * part.count + residue) * part.rows + r;
  }
};

// Threads next to one another read and write next to one another.
template <bool kFromRows>
__global__ void turn_kernel(const FourierPart part, const Slice slice, const float2* from, float2* to) {
  __shared__ float2 turned[kSide][kSide + 1];
  const Tile tile(part, slice);
  const int x = threadIdx.x;
  for (int y = threadIdx.y; y < kSide; y += kStep) {
    if (const std::int64_t at = tile.place(kFromRows, y, x); at >= 0) turned[y][x] = from[at];
  }
  __syncthreads();
  for (int y = threadIdx.y; y < kSide; y += kStep) {
    if (const std::int64_t at = tile.place(!kFromRows, y, x); at >= 0) to[at] = turned[x][y];
  }
}

template <bool kFromRows>
void turn(const FourierPart& part, const Slice& slice, const void* from, void* to, cudaStream_t stream) {
  const dim3 tiles(static_cast<unsigned>(ceil_div(part.rows, kSide)),
                   static_cast<unsigned>(ceil_div(slice.count, kSide)),
                   static_cast<unsigned>(part.batch * part.count));
  launch<turn_kernel<kFromRows>>(tiles, dim3(kSide, kStep), 0, stream, part, slice,
                                 static_cast<const float2*>(from), static_cast<float2*>(to));
}

void gather(const FourierPart& part, const Slice& slice, const void* spectrum, float2* values,
            cudaStream_t stream) {
  turn<true>(part, slice, spectrum, values, stream);
}
void scatter(const FourierPart& part, const Slice& slice, const float2* values, void* spectrum,
             cudaStream_t stream) {
  turn<false>(part, slice, values, spectrum, stream);
}

SpectralFilter filter_of(const FourierPart& part, const HyenaShape& shape, FourierPlans& plans) {
  return SpectralFilter(part, shape, part.pieces * part.rows, plans);
}

dim3 rows_of(const FourierPart& part, int count) {
  return dim3(static_cast<unsigned>(ceil_div(part.rows, kWarps)), static_cast<unsigned>(count),
              static_cast<unsigned>(part.batch));
}

template <class T>
void add(const FourierPart& part, int piece, const void* x, std::int64_t stride, void* spectrum,
         cudaStream_t stream) {
  launch<add_kernel<T>>(rows_of(part, part.count), dim3(kLanes, kWarps), 0, stream, Turn(part), part, piece,
                        static_cast<const T*>(x), stride, static_cast<float2*>(spectrum));
}

template <class T>
void take(const FourierPart& part, int piece, const void* spectrum, void* x, std::int64_t stride,
          cudaStream_t stream) {
  launch<take_kernel<T>>(rows_of(part, 1), dim3(kLanes, kWarps), 0, stream, Turn(part), part, piece,
                         static_cast<const float2*>(spectrum), static_cast<T*>(x), stride);
}

}  // namespace
}  // namespace fourier

void fourier_add(const FourierPart& part, int piece, ElementType type, const void* x, std::int64_t stride,
                 void* spectrum, cudaStream_t stream) {
  if (type == ElementType::bf16) return fourier::add<bf16>(part, piece, x, stride, spectrum, stream);
  fourier::add<float>(part, piece, x, stride, spectrum, stream);
}

void fourier_take(const FourierPart& part, int piece, ElementType type, const void* spectrum, void* x,
                  std::int64_t stride, cudaStream_t stream) {
  if (type == ElementType::bf16) return fourier::take<bf16>(part, piece, spectrum, x, stride, stream);
  fourier::take<float>(part, piece, spectrum, x, stride, stream);
}

std::size_t fourier_filter_workspace(const FourierPart& part, const HyenaShape& shape, FourierPlans& plans) {
  return fourier::filter_of(part, shape, plans).workspace();
}

void fourier_filter(const FourierPart& part, const HyenaShape& shape, const HyenaWeights& weights,
                    void* spectrum, void* workspace, FourierPlans& plans, cudaStream_t stream) {
  using fourier::Slice;
  fourier::filter_of(part, shape, plans)
      .forward(
          weights, workspace, stream,
          [&](const Slice& slice, float2* u) { fourier::gather(part, slice, spectrum, u, stream); },
          [&](const Slice& slice, float2* c) { fourier::scatter(part, slice, c, spectrum, stream); });
}

void fourier_filter_backward(const FourierPart& part, const HyenaShape& shape, const HyenaWeights& weights,
                             const void* u, void* g, const HyenaGradients& gradients, void* workspace,
                             FourierPlans& plans, cudaStream_t stream) {
  using fourier::Slice;
  fourier::filter_of(part, shape, plans)
      .backward(
          weights, gradients, false, workspace, stream,
          [&](const Slice& slice, float2* slice_u, float2* slice_g) {
            fourier::gather(part, slice, u, slice_u, stream);
            fourier::gather(part, slice, g, slice_g, stream);
          },
          [&](const Slice& slice, float2*, float2* du) { fourier::scatter(part, slice, du, g, stream); });
}

}  // namespace striped::cuda
