#include "hyena_fir_padded.h"

#include <algorithm>
#include <numeric>

#include "hyena_fir.h"
#include "launch.h"
#include "vector.cuh"

namespace striped::cuda {
namespace {

constexpr std::int64_t kTile = 16, kBlock = 64;  // channels: of a group's tiles, and of what the kernels take
constexpr std::int64_t kFewestChannels = 3;      // of a group: padding fewer takes longer than CUDA cores
constexpr int kThreads = 128, kRows = 64, kStep = 8;  // of the copies; rows at a time, of which in flight

// Groups [first, first + groups) of an operator; the last slice has some beyond its end, which are all zeros.
struct Slice {
  std::int64_t size, padded;  // channels of a group, here and there
  std::int64_t first, groups, all;

  __host__ __device__ std::int64_t width() const { return groups * padded; }
  // Where value i of an array [parts, groups, padded, inner] of the slice lies in that of the operator,
  // [parts, all, size, inner]; less than zero if it is padding.
  __device__ std::int64_t source(std::int64_t i, std::int64_t inner) const {
    const std::int64_t channel = i / inner, group = first + channel % width() / padded,
                       member = channel % padded;
    if (member >= size || group >= all) return -1;
    return ((channel / width() * all + group) * size + member) * inner + i % inner;
  }
  // The same for arrays [groups, inner].
  __device__ std::int64_t source_of_group(std::int64_t i, std::int64_t inner) const {
    return first + i / inner < all ? first * inner + i : -1;
  }
};

struct Slicing {
  Slice first;
  HyenaShape shape;    // of a slice
  std::int64_t count;  // of slices
};

// A backward pass holds seven values for each of y.
constexpr std::int64_t kCopies = 7;

Slicing slicing_of(const HyenaShape& shape, std::size_t slice_bytes) {
  const std::int64_t size = shape.width / shape.groups, padded = ceil_div(size, kTile) * kTile;
  const std::int64_t multiple = kBlock / std::gcd(kBlock, padded);
  const std::int64_t bytes = kCopies * shape.batch * shape.length * padded * multiple * sizeof(bf16);
  const std::int64_t most = std::max<std::int64_t>(1, static_cast<std::int64_t>(slice_bytes) / bytes);
  // As many slices as that takes, all of about the same size.
  const std::int64_t units = ceil_div(shape.groups, multiple), count = ceil_div(units, most);
  Slicing slicing{{size, padded, 0, ceil_div(units, count) * multiple, shape.groups}, shape, count};
  slicing.shape.groups = slicing.first.groups;
  slicing.shape.width = slicing.first.width();
  return slicing;
}

// Two channels of some rows: pointers to their first in an array [rows, parts, all, size], null where there
// is none, and in [rows, parts, groups, padded].
struct Pair {
  bf16 *first, *second, *padded;
  int stride, padded_stride;

  template <bool to_slice, int Rows>
  __device__ void move(int row) const {
    __nv_bfloat162 values[Rows];
#pragma unroll
    for (int i = 0; i < Rows; ++i) {
      if (to_slice) {
        values[i].x = first == nullptr ? bf16(0.0f) : first[(row + i) * stride];
        values[i].y = second == nullptr ? bf16(0.0f) : second[(row + i) * stride];
      } else {
        values[i] = *reinterpret_cast<const __nv_bfloat162*>(padded + (row + i) * padded_stride);
      }
    }
#pragma unroll
    for (int i = 0; i < Rows; ++i) {
      if (to_slice) {
        *reinterpret_cast<__nv_bfloat162*>(padded + (row + i) * padded_stride) = values[i];
      } else {
        first[(row + i) * stride] = values[i].x;
        if (second != nullptr) second[(row + i) * stride] = values[i].y;
      }
    }
  }
};

// A pair of channels a thread, kRows rows a block.
template <bool to_slice>
__global__ void copy_kernel(const Slice slice, int parts, std::int64_t rows, bf16* whole, bf16* padded) {
  const std::int64_t column = 2 * (blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x);
  const std::int64_t columns = parts * slice.width(), whole_columns = parts * slice.all * slice.size;
  if (column >= columns) return;
  const std::int64_t from = slice.source(column, 1), next = slice.source(column + 1, 1);
  if (!to_slice && from < 0) return;
  for (std::int64_t start = std::int64_t{blockIdx.y} * kRows; start < rows;
       start += std::int64_t{gridDim.y} * kRows) {
    bf16* const at = whole + start * whole_columns;
    const Pair pair{from < 0 ? nullptr : at + from, next < 0 ? nullptr : at + next,
                    padded + start * columns + column, static_cast<int>(whole_columns),
                    static_cast<int>(columns)};
    const int count = static_cast<int>(min(std::int64_t{kRows}, rows - start));
    int row = 0;
    for (; row + kStep <= count; row += kStep) pair.move<to_slice, kStep>(row);
    for (; row < count; ++row) pair.move<to_slice, 1>(row);
  }
}

template <bool to_slice>
void copy(const Slicing& slicing, const Slice& slice, int parts, const void* from, void* to,
          cudaStream_t stream) {
  const std::int64_t rows = slicing.shape.batch * slicing.shape.length;
  constexpr std::int64_t most_blocks = 65535;
  const dim3 grid(static_cast<unsigned>(ceil_div(parts * slice.width() / 2, kThreads)),
                  static_cast<unsigned>(std::min(ceil_div(rows, kRows), most_blocks)));
  bf16* const source = static_cast<bf16*>(const_cast<void*>(from));
  bf16* const target = static_cast<bf16*>(to);
  launch<copy_kernel<to_slice>>(grid, kThreads, 0, stream, slice, parts, rows, to_slice ? source : target,
                                to_slice ? target : source);
}

// Weights, or gradients of weights, of a slice and of the operator.
struct Weights {
  float *featurizer, *filter, *decay, *skip;
};
struct WeightSizes {
  std::int64_t featurizer, filter, skip;
  int featurizer_taps, taps;
  explicit WeightSizes(const HyenaShape& s)
      : featurizer(3 * s.width * s.featurizer_taps),
        filter(s.groups * s.taps),
        skip(s.width),
        featurizer_taps(s.featurizer_taps),
        taps(s.taps) {}
  __host__ __device__ std::int64_t sum() const { return featurizer + filter + skip; }
};

// Calls work(the array's member, index in the slice, index in the operator) for value i of them all.
template <class Work>
__device__ void at_weight(const Slice& slice, const WeightSizes& sizes, std::int64_t i, const Work& work) {
  if (i < sizes.featurizer) {
    work(&Weights::featurizer, i, slice.source(i, sizes.featurizer_taps));
  } else if (i -= sizes.featurizer; i < sizes.filter) {
    work(&Weights::filter, i, slice.source_of_group(i, sizes.taps));
  } else if (i -= sizes.filter; i < sizes.skip) {
    work(&Weights::skip, i, slice.source(i, 1));
  }
}

// The slice's weights, and zeros in its gradients.
__global__ void take_weights_kernel(const Slice slice, const WeightSizes sizes, const Weights whole,
                                    const Weights taken, const Weights gradients) {
  const std::int64_t i = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x;
  at_weight(slice, sizes, i, [&](float* Weights::* array, std::int64_t at, std::int64_t from) {
    const auto take = [&](float* Weights::* member) {
      if (whole.*member != nullptr) (taken.*member)[at] = from < 0 ? 0.0f : (whole.*member)[from];
    };
    take(array);
    if (array == &Weights::filter) take(&Weights::decay);
    (gradients.*array)[at] = 0;
  });
}

// Adds the slice's gradients to the operator's.
__global__ void add_gradients_kernel(const Slice slice, const WeightSizes sizes, const Weights gradients,
                                     const Weights whole) {
  const std::int64_t i = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x;
  at_weight(slice, sizes, i, [&](float* Weights::* array, std::int64_t at, std::int64_t to) {
    if (whole.*array != nullptr && to >= 0) (whole.*array)[to] += (gradients.*array)[at];
  });
}

unsigned weight_blocks(const WeightSizes& sizes) {
  return static_cast<unsigned>(ceil_div(sizes.sum(), kThreads));
}

// The workspace of a call: activations first, which are whole lines.
struct Parts {
  bf16 *z, *y, *dz;  // y, or its gradient
  Weights weights, gradients;
  void* kernels;
  std::size_t bytes;
};
Parts parts_of(const HyenaShape& slice, void* workspace) {
  std::size_t used = 0;
  const auto take = [&]<class T>(T*& part, std::int64_t count) {
    part = reinterpret_cast<T*>(static_cast<char*>(workspace) + used);
    used += static_cast<std::size_t>(count) * sizeof(T);
  };
  const std::int64_t values = slice.batch * slice.length * slice.width;
  const WeightSizes sizes(slice);
  Parts parts{};
  take(parts.z, 3 * values);
  take(parts.y, values);
  take(parts.dz, 3 * values);
  for (Weights* weights : {&parts.weights, &parts.gradients}) {
    take(weights->featurizer, sizes.featurizer);
    take(weights->filter, sizes.filter);
    take(weights->skip, sizes.skip);
  }
  take(parts.weights.decay, sizes.filter);
  parts.kernels = static_cast<char*>(workspace) + used;
  parts.bytes = used + fir_workspace(slice);
  return parts;
}

// Calls work(slice, weights of the slice) for one slice after the other, with weights and z in place.
template <class Work>
void for_slices(const Slicing& slicing, const HyenaWeights& weights, const Parts& parts, const void* z,
                cudaStream_t stream, const Work& work) {
  const auto floats = [](const void* p) { return static_cast<float*>(const_cast<void*>(p)); };
  const Weights whole{floats(weights.featurizer), floats(weights.filter), floats(weights.decay),
                      floats(weights.skip)};
  const HyenaWeights taken{parts.weights.featurizer,
                           parts.weights.filter,
                           weights.decay == nullptr ? nullptr : parts.weights.decay,
                           weights.skip == nullptr ? nullptr : parts.weights.skip,
                           nullptr,
                           nullptr};
  const WeightSizes sizes(slicing.shape);
  Slice slice = slicing.first;
  for (std::int64_t i = 0; i < slicing.count; ++i, slice.first += slice.groups) {
    launch<take_weights_kernel>(weight_blocks(sizes), kThreads, 0, stream, slice, sizes, whole, parts.weights,
                                parts.gradients);
    copy<true>(slicing, slice, 3, z, parts.z, stream);
    work(slice, taken);
  }
}

}  // namespace

bool padded_supports(const HyenaShape& shape, ElementType type) {
  return shape.width / shape.groups >= kFewestChannels && fir_supports(slicing_of(shape, 0).shape, type);
}

std::size_t padded_workspace(const HyenaShape& shape, std::size_t slice_bytes) {
  return parts_of(slicing_of(shape, slice_bytes).shape, nullptr).bytes;
}

void padded_forward(const HyenaShape& shape, const HyenaWeights& weights, std::size_t slice_bytes,
                    const void* z, void* y, void* workspace, cudaStream_t stream) {
  const Slicing slicing = slicing_of(shape, slice_bytes);
  const Parts parts = parts_of(slicing.shape, workspace);
  for_slices(slicing, weights, parts, z, stream, [&](const Slice& slice, const HyenaWeights& taken) {
    fir_forward(slicing.shape, taken, parts.z, parts.y, stream);
    copy<false>(slicing, slice, 1, parts.y, y, stream);
  });
}

void padded_backward(const HyenaShape& shape, const HyenaWeights& weights, std::size_t slice_bytes,
                     const void* z, const void* dy, void* dz, const HyenaGradients& gradients,
                     void* workspace, cudaStream_t stream) {
  const Slicing slicing = slicing_of(shape, slice_bytes);
  const Parts parts = parts_of(slicing.shape, workspace);
  const Weights whole{static_cast<float*>(gradients.featurizer), static_cast<float*>(gradients.filter),
                      nullptr, static_cast<float*>(gradients.skip)};
  const HyenaGradients taken_gradients{parts.gradients.featurizer, parts.gradients.filter,
                                       gradients.skip == nullptr ? nullptr : parts.gradients.skip, nullptr,
                                       nullptr};
  const WeightSizes sizes(slicing.shape);
  for_slices(slicing, weights, parts, z, stream, [&](const Slice& slice, const HyenaWeights& taken) {
    copy<true>(slicing, slice, 1, dy, parts.y, stream);
    fir_backward(slicing.shape, taken, parts.z, parts.y, parts.dz, taken_gradients, parts.kernels, stream);
    copy<false>(slicing, slice, 3, parts.dz, dz, stream);
    launch<add_gradients_kernel>(weight_blocks(sizes), kThreads, 0, stream, slice, sizes, parts.gradients,
                                 whole);
  });
}

}  // namespace striped::cuda
