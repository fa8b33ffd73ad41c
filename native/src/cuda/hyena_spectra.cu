#include "hyena_spectra.h"

#include <algorithm>
#include <numeric>

#include "hyena_general.h"
#include "launch.h"
#include "parallel/carver.h"
#include "vector.cuh"

namespace striped::cuda::fourier {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kSector = 16;  // channels: slices of a multiple move whole sectors of memory

// A block has some points of a group's spectra and goes through the group's channels in the slice.
struct Products {
  std::int64_t batch, points, first, channels, group_size, first_group;
  const float2* filter;  // [groups, points]
  const float* skip;     // of the slice's first channel on, or null
  float scale, mean;     // 1 / rows, 1 / (pieces · rows)

  __device__ std::int64_t point() const {
    return blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x;
  }
  // Channels of the block's group, counted from the slice's first.
  __device__ std::int64_t begin() const {
    const std::int64_t channel = (first_group + blockIdx.y) * group_size - first;
    return channel < 0 ? 0 : channel;
  }
  __device__ std::int64_t end() const {
    const std::int64_t channel = (first_group + blockIdx.y + 1) * group_size - first;
    return channel < channels ? channel : channels;
  }
  __device__ std::int64_t place(std::int64_t b, std::int64_t channel, std::int64_t point) const {
    return (b * channels + channel) * points + point;
  }
};

__device__ float2 times(float2 a, float2 b) {
  return make_float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}
__device__ float2 times_conjugate(float2 a, float2 b) {
  return make_float2(a.x * b.x + a.y * b.y, a.y * b.x - a.x * b.y);
}

__global__ __launch_bounds__(kThreads) void multiply_kernel(const Products p, float2* values) {
  const std::int64_t point = p.point();
  if (point >= p.points) return;
  const float2 filter = p.filter[blockIdx.y * p.points + point];
  for (std::int64_t channel = p.begin(); channel < p.end(); ++channel) {
    const float skip = p.skip == nullptr ? 0.0f : p.skip[channel];
    const float2 factor = make_float2((filter.x + skip) * p.scale, filter.y * p.scale);
    for (std::int64_t b = 0; b < p.batch; ++b) {
      float2& value = values[p.place(b, channel, point)];
      value = times(value, factor);
    }
  }
}

// A correlation is the product with a conjugate; that at lag 0 is the mean over the spectrum.
__global__ __launch_bounds__(kThreads) void multiply_backward_kernel(const Products p, bool wants_output,
                                                                     bool adds, float2* u, float2* g,
                                                                     float2* d_filter, float* skip_partials) {
  __shared__ float shared[32];
  const std::int64_t point = p.point(), in_groups = blockIdx.y * p.points + point;
  const bool live = point < p.points;
  const float2 none = make_float2(0, 0), filter = live ? p.filter[in_groups] : none;
  float2 sum = live && adds ? d_filter[in_groups] : none;
  for (std::int64_t channel = p.begin(); channel < p.end(); ++channel) {
    const float skip = p.skip == nullptr ? 0.0f : p.skip[channel];
    const float2 factor = make_float2((filter.x + skip) * p.scale, filter.y * p.scale);
    float d_skip = 0;
    for (std::int64_t b = 0; live && b < p.batch; ++b) {
      const std::int64_t at = p.place(b, channel, point);
      const float2 input = u[at], gradient = g[at], correlation = times_conjugate(gradient, input);
      sum.x += correlation.x;
      sum.y += correlation.y;
      d_skip += correlation.x;
      g[at] = times_conjugate(gradient, factor);
      if (wants_output) u[at] = times(input, factor);
    }
    if (skip_partials == nullptr) continue;
    d_skip = block_sum(d_skip, shared);
    if (threadIdx.x == 0) skip_partials[blockIdx.x * p.channels + channel] = d_skip * p.mean;
  }
  if (live) d_filter[in_groups] = sum;
}

std::int64_t block_count(std::int64_t points) { return ceil_div(points, kThreads); }

// As many channels as fit: whole groups, or of larger ones a part.
std::int64_t channels_that_fit(std::int64_t bytes, std::int64_t width, std::int64_t group_size,
                               std::int64_t channel_bytes, std::int64_t group_bytes) {
  const std::int64_t groups = bytes / (group_size * channel_bytes + group_bytes);
  if (groups >= 1) {
    const std::int64_t unit = kSector / std::gcd(group_size, kSector);
    return std::min(width, (groups > unit ? groups / unit * unit : groups) * group_size);
  }
  const std::int64_t channels = std::max<std::int64_t>(1, (bytes - group_bytes) / channel_bytes);
  return std::min(group_size, channels > kSector ? channels / kSector * kSector : channels);
}

}  // namespace

struct SpectralFilter::Buffers : parallel::Carver {
  Buffers(const SpectralFilter& f, void* base) : Carver(base) {
    const std::int64_t points = f.points(), values = f.part_.batch * f.slice_ * points;
    const std::int64_t groups = f.most_groups();
    u = complex(values);
    g = complex(values);
    filter = complex(groups * points);
    d_filter = complex(groups * points);
    taps = real(groups * f.taps_);
    scratch = real(tap_gradient_scratch(f.shape_, groups, f.taps_));
    skip = real(block_count(points) * f.slice_);
    std::size_t bytes = 0;
    for (std::int64_t first = 0; first < f.shape_.width;) {
      const Slice slice = f.slice_from(first);
      bytes =
          std::max({bytes, f.plans_.workspace(f.of_channels(slice)), f.plans_.workspace(f.of_groups(slice))});
      first += slice.count;
    }
    transforms = take_bytes(bytes);
  }
  float2 *u, *g, *filter, *d_filter;
  float *taps, *scratch, *skip;
  void* transforms;

 private:
  float* real(std::int64_t count) {
    return static_cast<float*>(take_bytes(static_cast<std::size_t>(count) * sizeof(float)));
  }
  float2* complex(std::int64_t count) {
    return static_cast<float2*>(take_bytes(static_cast<std::size_t>(count) * sizeof(float2)));
  }
};

SpectralFilter::SpectralFilter(const FourierPart& part, const HyenaShape& shape, std::int64_t length,
                               FourierPlans& plans)
    : part_(part),
      shape_(shape),
      group_size_(shape.width / shape.groups),
      taps_(tap_count(shape, length)),
      plans_(plans) {
  // Two arrays, and for the transforms as much again as one.
  const std::int64_t value = sizeof(float2), channel_bytes = 3 * value * part.batch * points();
  const std::int64_t group_bytes = 2 * value * points() + (taps_ + tap_gradient_scratch(shape, 1, taps_)) *
                                                              static_cast<std::int64_t>(sizeof(float));
  slice_ = channels_that_fit(static_cast<std::int64_t>(plans.slice_bytes()), shape.width, group_size_,
                             channel_bytes, group_bytes);
}

std::int64_t SpectralFilter::most_groups() const { return std::max<std::int64_t>(1, slice_ / group_size_); }

Slice SpectralFilter::slice_from(std::int64_t first) const {
  const std::int64_t group = first / group_size_,
                     limit = slice_ < group_size_ ? (group + 1) * group_size_ : shape_.width;
  const std::int64_t end = std::min(first + slice_, limit);
  return {first,
          end - first,
          {group, ceil_div(end, group_size_) - group},
          first % group_size_ == 0,
          end % group_size_ == 0};
}

Transforms SpectralFilter::of_channels(const Slice& slice) const {
  return {part_.rows, part_.batch * slice.count * part_.count};
}
Transforms SpectralFilter::of_groups(const Slice& slice) const {
  return {part_.rows, slice.groups.count * part_.count};
}

std::size_t SpectralFilter::workspace() const { return Buffers(*this, nullptr).used(); }

// The parts of a group have its filter in common.
void SpectralFilter::write_filter(const HyenaWeights& weights, const Slice& slice, const Buffers& buffers,
                                  cudaStream_t stream) {
  if (!slice.opens) return;
  write_taps(shape_, weights, slice.groups, taps_, buffers.taps, stream);
  fold(part_, slice.groups.count, taps_, buffers.taps, buffers.filter, stream);
  plans_.forward(of_groups(slice), buffers.filter, buffers.transforms, stream);
}

namespace {

const float* skip_of(const HyenaShape& shape, const HyenaWeights& weights, const Slice& slice) {
  if (!shape.has_skip || weights.skip == nullptr) return nullptr;
  return static_cast<const float*>(weights.skip) + slice.first;
}

Products products_of(const FourierPart& part, const HyenaShape& shape, const HyenaWeights& weights,
                     const Slice& slice, const float2* filter) {
  return {part.batch,
          part.count * part.rows,
          slice.first,
          slice.count,
          shape.width / shape.groups,
          slice.groups.first,
          filter,
          skip_of(shape, weights, slice),
          1.0f / static_cast<float>(part.rows),
          1.0f / (static_cast<float>(part.pieces) * static_cast<float>(part.rows))};
}

}  // namespace

void SpectralFilter::forward(const HyenaWeights& weights, void* workspace, cudaStream_t stream,
                             const Visit& load, const Visit& store) {
  const Buffers buffers(*this, workspace);
  for (std::int64_t first = 0; first < shape_.width;) {
    const Slice slice = slice_from(first);
    write_filter(weights, slice, buffers, stream);
    load(slice, buffers.u);
    plans_.forward(of_channels(slice), buffers.u, buffers.transforms, stream);
    const dim3 grid(static_cast<unsigned>(block_count(points())), static_cast<unsigned>(slice.groups.count));
    launch<multiply_kernel>(grid, kThreads, 0, stream,
                            products_of(part_, shape_, weights, slice, buffers.filter), buffers.u);
    plans_.inverse(of_channels(slice), buffers.u, buffers.transforms, stream);
    store(slice, buffers.u);
    first += slice.count;
  }
}

void SpectralFilter::backward(const HyenaWeights& weights, const HyenaGradients& gradients, bool wants_output,
                              void* workspace, cudaStream_t stream, const VisitBoth& load,
                              const VisitBoth& store) {
  const Buffers buffers(*this, workspace);
  for (std::int64_t first = 0; first < shape_.width;) {
    const Slice slice = slice_from(first);
    const Transforms transforms = of_channels(slice);
    write_filter(weights, slice, buffers, stream);
    load(slice, buffers.u, buffers.g);
    plans_.forward(transforms, buffers.u, buffers.transforms, stream);
    plans_.forward(transforms, buffers.g, buffers.transforms, stream);
    const Products products = products_of(part_, shape_, weights, slice, buffers.filter);
    const std::int64_t blocks = block_count(points());
    launch<multiply_backward_kernel>(
        dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(slice.groups.count)), kThreads, 0, stream,
        products, wants_output, !slice.opens, buffers.u, buffers.g, buffers.d_filter,
        products.skip == nullptr ? nullptr : buffers.skip);
    if (wants_output) plans_.inverse(transforms, buffers.u, buffers.transforms, stream);
    plans_.inverse(transforms, buffers.g, buffers.transforms, stream);
    store(slice, wants_output ? buffers.u : nullptr, buffers.g);
    if (products.skip != nullptr && gradients.skip != nullptr) {
      general::reduce({{buffers.skip, blocks, 1, slice.count, slice.count,
                        static_cast<float*>(gradients.skip) + slice.first}},
                      stream);
    }
    if (slice.closes) {
      plans_.inverse(of_groups(slice), buffers.d_filter, buffers.transforms, stream);
      unfold(part_, slice.groups.count, taps_, buffers.d_filter, buffers.taps, stream);
      add_tap_gradients(shape_, weights, slice.groups, taps_, buffers.taps, gradients, buffers.scratch,
                        stream);
    }
    first += slice.count;
  }
}

}  // namespace striped::cuda::fourier
