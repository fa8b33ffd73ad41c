#include "hyena_modal.h"

#include <algorithm>
#include <string>

#include "device.h"
#include "hyena_modal_scan.h"
#include "hyena_modal_tensor.h"
#include "hyena_modal_tile.cuh"
#include "launch.h"
#include "striped/error.h"

namespace striped::cuda {
namespace modal {
namespace {

constexpr std::int64_t kShortestStrip = 4;  // tiles

bool use_tensor(const HyenaShape& shape, ElementType type, bool piece) {
  if (shape.order > kMaxOrder) {
    throw Error("context-strategy",
                "the cuda backend passes states of up to " + std::to_string(kMaxOrder) +
                    " exponentials a filter from piece to piece of a sequence, this layer has " +
                    std::to_string(shape.order) + ": spread it by fft or all-to-all");
  }
  return type == ElementType::bf16 && (piece ? tensor_supports_piece(shape) : tensor_supports(shape));
}

// to += λ^length · from, a thread a channel of a mode (blockIdx.y); [count, modes, width].
__global__ void carry_kernel(const float* log_poles, std::int64_t length, std::int64_t count,
                             std::int64_t width, std::int64_t group_size, const float* from, float* to) {
  const std::int64_t channel = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x;
  if (channel >= width) return;
  const double log_pole = log_poles[channel / group_size * gridDim.y + blockIdx.y],
               power = exp(log_pole * static_cast<double>(length));
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t at = (i * gridDim.y + blockIdx.y) * width + channel;
    to[at] = static_cast<float>(to[at] + power * from[at]);
  }
}

}  // namespace

bool tensor_supports(const HyenaShape& shape) {
  return has_hopper_kernels() && shape.width % kChannels == 0 && shape.order <= kModes &&
         shape.featurizer_taps == kTaps;
}

Layout layout(const HyenaShape& shape) {
  const std::int64_t tiles = (shape.length + kRows - 1) / kRows,
                     blocks = shape.width / kChannels * shape.batch;
  const std::int64_t wanted = std::clamp<std::int64_t>(multiprocessors() / blocks, 1,
                                                       std::max<std::int64_t>(1, tiles / kShortestStrip));
  const std::int64_t strip_tiles = (tiles + wanted - 1) / wanted;
  return {static_cast<int>(tiles), static_cast<int>((tiles + strip_tiles - 1) / strip_tiles),
          static_cast<int>(strip_tiles)};
}

bool tensor_supports_piece(const HyenaShape& shape) {
  return tensor_supports(shape) && shape.length % kRows == 0;
}

}  // namespace modal

std::size_t modal_kept(const HyenaShape& shape, ElementType type, bool piece) {
  return modal::use_tensor(shape, type, piece) ? modal::tensor_kept(shape) : 0;
}

std::size_t modal_workspace(const HyenaShape& shape, ElementType type, bool piece) {
  return modal::use_tensor(shape, type, piece) ? modal::tensor_workspace(shape, piece)
                                               : modal::scan_workspace(shape);
}

void modal_forward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type,
                   const HyenaSurroundings* around, const Arrived& arrived, const void* z, void* y,
                   void* kept, void* workspace, cudaStream_t stream) {
  if (modal::use_tensor(shape, type, around != nullptr)) {
    return modal::tensor_forward(shape, weights, around, arrived, z, y, kept, workspace, stream);
  }
  modal::scan_forward(shape, weights, type, around, arrived, z, y, workspace, stream);
}

void modal_backward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type,
                    const HyenaSurroundings* around, const Arrived& arrived, const void* z, const void* kept,
                    const void* dy, void* dz, void* reach, const HyenaGradients& gradients, void* workspace,
                    cudaStream_t stream) {
  if (modal::use_tensor(shape, type, around != nullptr)) {
    return modal::tensor_backward(shape, weights, around, arrived, z, kept, dy, dz, reach, gradients,
                                  workspace, stream);
  }
  modal::scan_backward(shape, weights, type, around, arrived, z, dy, dz, reach, gradients, workspace, stream);
}

void modal_states(const HyenaShape& shape, const HyenaWeights& weights, ElementType type,
                  const void* projections, const void* z, const void* dy, void* states, void* workspace,
                  cudaStream_t stream) {
  float* const out = static_cast<float*>(states);
  if (modal::use_tensor(shape, type, true)) {
    const HyenaSurroundings around{projections, nullptr, nullptr};
    return modal::launch_states(
        shape, weights, &around, [] {}, z, dy, dy != nullptr, {nullptr, static_cast<float*>(workspace)}, out,
        stream);
  }
  modal::scan_states(shape, weights, type, projections, z, dy, out, workspace, stream);
}

void modal_carry(const HyenaShape& shape, const HyenaWeights& weights, std::int64_t count, const void* from,
                 void* to, cudaStream_t stream) {
  constexpr int threads = 128;
  const dim3 grid(static_cast<unsigned>((shape.width + threads - 1) / threads),
                  static_cast<unsigned>(shape.order));
  launch<modal::carry_kernel>(grid, threads, 0, stream, static_cast<const float*>(weights.log_poles),
                              shape.length, count, shape.width, shape.width / shape.groups,
                              static_cast<const float*>(from), static_cast<float*>(to));
}

}  // namespace striped::cuda
