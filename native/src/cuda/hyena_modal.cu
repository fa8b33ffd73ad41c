#include "hyena_modal.h"

#include <algorithm>
#include <string>

#include "device.h"
#include "hyena_modal_scan.h"
#include "hyena_modal_tensor.h"
#include "hyena_modal_tile.cuh"
#include "striped/error.h"

namespace striped::cuda {
namespace modal {
namespace {

constexpr std::int64_t kShortestStrip = 4;  // tiles

bool use_tensor(const HyenaShape& shape, ElementType type) {
  if (shape.order > kMaxOrder) {
    throw Error("unsupported", "Hyena-LI on CUDA takes up to " + std::to_string(kMaxOrder) +
                                   " exponentials a filter, this layer has " + std::to_string(shape.order) +
                                   ": lower its order, or run with --backend cpu");
  }
  return type == ElementType::bf16 && tensor_supports(shape);
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

}  // namespace modal

std::size_t modal_kept(const HyenaShape& shape, ElementType type) {
  return modal::use_tensor(shape, type) ? modal::tensor_kept(shape) : 0;
}

std::size_t modal_workspace(const HyenaShape& shape, ElementType type) {
  return modal::use_tensor(shape, type) ? modal::tensor_workspace(shape) : modal::scan_workspace(shape);
}

void modal_forward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type, const void* z,
                   void* y, void* kept, void* workspace, cudaStream_t stream) {
  if (modal::use_tensor(shape, type)) {
    return modal::tensor_forward(shape, weights, z, y, kept, workspace, stream);
  }
  modal::scan_forward(shape, weights, type, z, y, workspace, stream);
}

void modal_backward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type, const void* z,
                    const void* kept, const void* dy, void* dz, const HyenaGradients& gradients,
                    void* workspace, cudaStream_t stream) {
  if (modal::use_tensor(shape, type)) {
    return modal::tensor_backward(shape, weights, z, kept, dy, dz, gradients, workspace, stream);
  }
  modal::scan_backward(shape, weights, type, z, dy, dz, gradients, workspace, stream);
}

}  // namespace striped::cuda
