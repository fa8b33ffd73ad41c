#include "hyena_fir.h"

#include <algorithm>

#include "device.h"
#include "hyena_fir_kernels.h"
#include "launch.h"
#include "ptx.cuh"

namespace striped::cuda {
namespace fir {
namespace {

constexpr int kMostTaps = 257;  // of the largest window

int window_of(int taps) {
  const int tiles = (taps + 14) / 16;
  return tiles <= 1 ? 1 : tiles <= 4 ? 4 : tiles <= 8 ? 8 : 16;
}

struct Sizes {
  std::int64_t strips, filter, featurizer, skip;  // floats of one strip
  int groups, taps;
  int parts;  // of a group, 16 channels each
};
Sizes partial_sizes(const HyenaShape& shape) {
  const int window = window_of(shape.taps);
  const Strips strips = cut_strips(window, shape, backward_blocks(window));
  return {shape.batch * strips.per_sequence,
          shape.width / 16 * shape.taps,
          9 * shape.width,
          shape.width,
          static_cast<int>(shape.groups),
          shape.taps,
          static_cast<int>(shape.width / 16 / shape.groups)};
}

// Sums the strips' partial gradients in a fixed order and adds them to the gradients.
__global__ void reduce_kernel(Partials partials, Sizes sizes, const float* decay, float* filter,
                              float* featurizer, float* skip) {
#if __CUDA_ARCH__ >= 900
  ptx::wait_for_kernel_before();
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  const int channel = i - static_cast<int>(sizes.featurizer), tap = channel - static_cast<int>(sizes.skip);
  float sum = 0;
  if (channel < 0) {
    for (std::int64_t s = 0; s < sizes.strips; ++s) sum += partials.featurizer[s * sizes.featurizer + i];
    featurizer[i] += sum;
  } else if (tap < 0) {
    if (skip == nullptr) return;
    for (std::int64_t s = 0; s < sizes.strips; ++s) sum += partials.skip[s * sizes.skip + channel];
    skip[channel] += sum;
  } else if (tap < sizes.groups * sizes.taps) {
    const int group = tap / sizes.taps;
    const float* first = partials.filter + tap + group * (sizes.parts - 1) * sizes.taps;
    for (std::int64_t s = 0; s < sizes.strips; ++s) {
      for (int p = 0; p < sizes.parts; ++p) sum += first[s * sizes.filter + p * sizes.taps];
    }
    filter[tap] += decay == nullptr ? sum : sum * decay[tap];
  }
#endif
}

}  // namespace

Strips cut_strips(int window, const HyenaShape& shape, int blocks_per_multiprocessor) {
  const bool waits_for_memory = window <= 1;
  return strips_of(shape.length, shape.width / 64 * shape.batch, blocks_per_multiprocessor,
                   {64, 256, 8 * window + 96, waits_for_memory ? 6 : 1});
}

}  // namespace fir

bool fir_supports(const HyenaShape& shape, ElementType type) {
  return has_hopper_kernels() && type == ElementType::bf16 && shape.kind != HyenaKind::long_implicit &&
         shape.featurizer_taps == 3 && shape.width % 64 == 0 && shape.width / shape.groups % 16 == 0 &&
         shape.taps <= fir::kMostTaps;
}

std::size_t fir_workspace(const HyenaShape& shape) {
  const fir::Sizes sizes = fir::partial_sizes(shape);
  return static_cast<std::size_t>(sizes.strips * (sizes.filter + sizes.featurizer + sizes.skip)) *
         sizeof(float);
}

void fir_forward(const HyenaShape& shape, const HyenaWeights& weights, const void* z, void* y,
                 cudaStream_t stream) {
  fir::launch_forward(fir::window_of(shape.taps), shape, weights, z, y, stream);
}

void fir_backward(const HyenaShape& shape, const HyenaWeights& weights, const void* z, const void* dy,
                  void* dz, const HyenaGradients& gradients, void* workspace, cudaStream_t stream) {
  const fir::Sizes sizes = fir::partial_sizes(shape);
  fir::Partials partials;
  partials.filter = static_cast<float*>(workspace);
  partials.featurizer = partials.filter + sizes.strips * sizes.filter;
  partials.skip = partials.featurizer + sizes.strips * sizes.featurizer;
  fir::launch_backward(fir::window_of(shape.taps), shape, weights, z, dy, dz, partials, stream);

  const std::int64_t outputs = sizes.featurizer + sizes.skip + shape.groups * shape.taps;
  launch_ahead<fir::reduce_kernel>(
      static_cast<unsigned>((outputs + 127) / 128), 128, 0, stream, partials, sizes,
      static_cast<const float*>(weights.decay), static_cast<float*>(gradients.filter),
      static_cast<float*>(gradients.featurizer), static_cast<float*>(gradients.skip));
}

}  // namespace striped::cuda
