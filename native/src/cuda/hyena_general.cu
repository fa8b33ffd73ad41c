#include "hyena_general.h"

#include <algorithm>
#include <bit>

#include "hyena_elements.cuh"
#include "launch.h"
#include "ptx.cuh"

namespace striped::cuda::general {
namespace {

// Of reduce(): groups of a block, and most slices that a sum's terms go by times places of `inner`.
constexpr int kColumns = 32, kRows = 16;
constexpr std::size_t kMostSums = 4;

struct PlacedSum {
  const float *partials, *scale;
  float* out;
  int parts, inner, channels, groups;
  int log_places, log_slices;  // of a block's rows of threads
  int first_block;
};
struct PlacedSums {
  PlacedSum of[kMostSums];
  int count;
};

// A block's threads: [places of `inner`, slices of a sum's terms, groups]. What they come to is written place
// by place, as `out` lies.
__global__ void reduce_kernel(const __grid_constant__ PlacedSums all) {
  __shared__ float sums[kRows][kColumns + 1];
  int which = 0;
  while (which + 1 < all.count && static_cast<int>(blockIdx.x) >= all.of[which + 1].first_block) ++which;
  const PlacedSum& s = all.of[which];
  const int places = 1 << s.log_places, slices = 1 << s.log_slices;
  const int size = s.channels / s.groups, terms = s.parts * size;
  const int block = blockIdx.x - s.first_block, across = (s.groups + kColumns - 1) / kColumns;
  const int first_group = block % across * kColumns, first_place = block / across * places;
  ptx::wait_for_kernel_before();
  {
    const int g = first_group + threadIdx.x, i = first_place + (threadIdx.y >> s.log_slices);
    float sum = 0;
    if (threadIdx.y < places * slices && g < s.groups && i < s.inner) {
      for (int term = threadIdx.y & (slices - 1); term < terms; term += slices) {
        const int part = term / size, channel = g * size + term - part * size;
        sum += s.partials[(static_cast<std::int64_t>(part) * s.inner + i) * s.channels + channel];
      }
    }
    sums[threadIdx.y][threadIdx.x] = sum;
  }
  __syncthreads();
  const int thread = threadIdx.y * kColumns + threadIdx.x;
  const int column = thread >> s.log_places, place = thread & (places - 1);
  const int g = first_group + column, i = first_place + place;
  if (column >= kColumns || g >= s.groups || i >= s.inner) return;
  float sum = 0;
  for (int slice = 0; slice < slices; ++slice) sum += sums[(place << s.log_slices) + slice][column];
  const std::int64_t at = static_cast<std::int64_t>(g) * s.inner + i;
  s.out[at] += s.scale == nullptr ? sum : s.scale[at] * sum;
}

struct FeaturizerArguments {
  const float *weights, *reach;
  float* partials;
  int length, columns, taps, rows, blocks;
};

// A thread walks one column of one block of tokens forwards, eight at a time: d of the next tokens and z of
// the last ones stay in registers.
template <class T>
__global__ void featurizer_kernel(const FeaturizerArguments a, const T* projections, const T* z, T* dz) {
  constexpr int step = kMaxFeaturizerTaps;
  const int column = blockIdx.x * blockDim.x + threadIdx.x, block = blockIdx.y, batch = blockIdx.z;
  if (column >= a.columns) return;
  const int begin = block * a.rows, end = min(begin + a.rows, a.length);
  const std::int64_t columns = a.columns, part = static_cast<std::int64_t>(batch) * a.blocks + block;
  const T* z_column = z + static_cast<std::int64_t>(batch) * a.length * columns + column;
  T* dz_column = dz + static_cast<std::int64_t>(batch) * a.length * columns + column;
  const auto input = [&](int token) {
    if (token >= 0) return to_float(z_column[token * columns]);
    if (projections == nullptr || token <= -a.taps) return 0.0f;
    const std::int64_t row = static_cast<std::int64_t>(batch + 1) * (a.taps - 1) + token;
    return to_float(projections[row * columns + column]);
  };
  const float* beyond = a.reach + (part + 1) * (a.taps - 1) * columns + column;
  const auto gradient = [&](int token) {
    if (token < end) return to_float(dz_column[token * columns]);
    if (token >= a.length || token - end >= a.taps - 1) return 0.0f;
    return beyond[(token - end) * columns];
  };

  float tap[step], sum[step] = {}, d[2 * step], past[2 * step];
#pragma unroll
  for (int i = 0; i < step; ++i) {
    tap[i] = i < a.taps ? a.weights[static_cast<std::int64_t>(column) * a.taps + i] : 0.0f;
    d[step + i] = gradient(begin + i);
    past[step + i] = input(begin - step + i);
  }
  for (int t = begin; t < end; t += step) {
#pragma unroll
    for (int i = 0; i < step; ++i) {
      d[i] = d[step + i];
      d[step + i] = gradient(t + step + i);
      past[i] = past[step + i];
      past[step + i] = t + i < end ? to_float(z_column[(t + i) * columns]) : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < step; ++i) {
      float out = 0;
#pragma unroll
      for (int j = 0; j < step; ++j) {
        out += tap[j] * d[i + j];
        if (t + i < end) sum[j] += d[i] * past[step + i - j];
      }
      if (t + i < end) dz_column[(t + i) * columns] = from_float<T>(out);
    }
  }
  for (int j = 0; j < step; ++j) {
    if (j < a.taps) a.partials[(part * a.taps + j) * columns + column] = sum[j];
  }
}

}  // namespace

void reduce(std::initializer_list<Sum> sums, cudaStream_t stream) {
  // No more slices than a sum has terms: the threads of the others would have nothing to do.
  const auto log_at_most = [](std::int64_t count, int most) {
    return std::bit_width(static_cast<unsigned>(std::min<std::int64_t>(count, most) - 1));
  };
  PlacedSums placed{};
  int blocks = 0, rows = 0;
  for (const Sum& sum : sums) {
    if (sum.partials == nullptr || sum.out == nullptr) continue;
    const int log_slices = log_at_most(sum.parts * (sum.channels / sum.groups), kRows);
    const int log_places = log_at_most(sum.inner, kRows >> log_slices);
    placed.of[placed.count++] = {sum.partials,
                                 static_cast<const float*>(sum.scale),
                                 static_cast<float*>(sum.out),
                                 static_cast<int>(sum.parts),
                                 static_cast<int>(sum.inner),
                                 static_cast<int>(sum.channels),
                                 static_cast<int>(sum.groups),
                                 log_places,
                                 log_slices,
                                 blocks};
    blocks += static_cast<int>(ceil_div(sum.groups, kColumns) * ceil_div(sum.inner, 1 << log_places));
    rows = std::max(rows, 1 << (log_places + log_slices));
  }
  if (blocks > 0)
    launch_ahead<reduce_kernel>(static_cast<unsigned>(blocks), dim3(kColumns, rows), 0, stream, placed);
}

std::size_t partials_bytes(const HyenaShape& shape, std::int64_t parts) {
  const std::int64_t of_channel = shape.taps + 3 * shape.featurizer_taps + (shape.has_skip ? 1 : 0);
  return static_cast<std::size_t>(parts * of_channel * shape.width) * sizeof(float);
}

Partials partials_in(void* workspace, const HyenaShape& shape, std::int64_t parts) {
  float* const filter = static_cast<float*>(workspace);
  float* const featurizer = filter + parts * shape.taps * shape.width;
  float* const skip = featurizer + parts * shape.featurizer_taps * 3 * shape.width;
  return {filter, featurizer, shape.has_skip ? skip : nullptr};
}

void add_partials(const HyenaShape& shape, const HyenaWeights& weights, const Partials& partials,
                  std::int64_t parts, const HyenaGradients& gradients, cudaStream_t stream) {
  const std::int64_t width = shape.width;
  reduce({{partials.filter, parts, shape.taps, width, shape.groups, gradients.filter, weights.decay},
          {partials.featurizer, parts, shape.featurizer_taps, 3 * width, 3 * width, gradients.featurizer},
          {partials.skip, parts, 1, width, width, gradients.skip}},
         stream);
}

std::int64_t reach_size(const HyenaShape& shape, int rows) {
  return shape.batch * ceil_div(shape.length, rows) * (shape.featurizer_taps - 1) * 3 * shape.width;
}

std::int64_t featurizer_partials_size(const HyenaShape& shape, int rows) {
  return shape.batch * ceil_div(shape.length, rows) * shape.featurizer_taps * 3 * shape.width;
}

void featurizer_backward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type,
                         const void* projections, const void* z, void* dz, int rows,
                         const FeaturizerScratch& scratch, void* gradient, cudaStream_t stream) {
  const std::int64_t columns = 3 * shape.width, blocks = ceil_div(shape.length, rows);
  const FeaturizerArguments a{static_cast<const float*>(weights.featurizer),
                              scratch.reach,
                              scratch.partials,
                              static_cast<int>(shape.length),
                              static_cast<int>(columns),
                              shape.featurizer_taps,
                              rows,
                              static_cast<int>(blocks)};
  constexpr int threads = 128;
  const dim3 grid(static_cast<unsigned>(ceil_div(columns, threads)), static_cast<unsigned>(blocks),
                  static_cast<unsigned>(shape.batch));
  if (type == ElementType::bf16) {
    launch<featurizer_kernel<bf16>>(grid, threads, 0, stream, a, static_cast<const bf16*>(projections),
                                    static_cast<const bf16*>(z), static_cast<bf16*>(dz));
  } else {
    launch<featurizer_kernel<float>>(grid, threads, 0, stream, a, static_cast<const float*>(projections),
                                     static_cast<const float*>(z), static_cast<float*>(dz));
  }
  reduce({{scratch.partials, shape.batch * blocks, shape.featurizer_taps, columns, columns, gradient}},
         stream);
}

}  // namespace striped::cuda::general
