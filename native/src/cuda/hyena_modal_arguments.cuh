// What all tensor-core LI kernels are told. Kernels for pieces of sequences are instances of their own
// (`piece`), so that those for whole sequences carry nothing of what only pieces have.
#pragma once

#include "hyena_modal_tensor.h"
#include "hyena_modal_tile.cuh"

namespace striped::cuda::modal {

struct Arguments {
  const __nv_bfloat16 *z, *dy;
  const __nv_bfloat16* projections;  // of pieces: the rows of z before the first, or null
  const float *featurizer, *residues, *log_poles, *skip;
  int length, width, group_size, order;
  Layout layout;

  __device__ FilterSource filter(int channel) const {
    const std::int64_t at = static_cast<std::int64_t>(channel / group_size) * order;
    return {residues + at, log_poles + at, order};
  }
  __device__ Source projection(int part, int batch, int first_channel) const {
    return {z + (static_cast<std::int64_t>(batch) * length * 3 + part) * width + first_channel,
            std::int64_t{3} * width};
  }
  // The rows before those of projection(); null: zeros.
  __device__ const __nv_bfloat16* history(int part, int batch, int first_channel) const {
    if (projections == nullptr) return nullptr;
    return projections + (static_cast<std::int64_t>(batch) * (kTaps - 1) * 3 + part) * width + first_channel;
  }
  __device__ Source output_gradient(int batch, int first_channel) const {
    return {dy + static_cast<std::int64_t>(batch) * length * width + first_channel, width};
  }
  // Of a state of the channel: [..., width, 16] after `index` states of the whole width.
  __device__ std::int64_t state(std::int64_t index, int channel, int mode) const {
    return (index * width + channel) * kModes + mode;
  }
};

inline Arguments arguments_of(const HyenaShape& shape, const HyenaWeights& weights,
                              const HyenaSurroundings* around, const void* z, const void* dy) {
  Arguments a{};
  a.z = static_cast<const __nv_bfloat16*>(z);
  a.dy = static_cast<const __nv_bfloat16*>(dy);
  if (around != nullptr) a.projections = static_cast<const __nv_bfloat16*>(around->projections);
  a.featurizer = static_cast<const float*>(weights.featurizer);
  a.residues = static_cast<const float*>(weights.residues);
  a.log_poles = static_cast<const float*>(weights.log_poles);
  a.skip = shape.has_skip ? static_cast<const float*>(weights.skip) : nullptr;
  a.length = static_cast<int>(shape.length);
  a.width = static_cast<int>(shape.width);
  a.group_size = static_cast<int>(shape.width / shape.groups);
  a.order = shape.order;
  a.layout = layout(shape);
  return a;
}

inline dim3 grid_of(const HyenaShape& shape, const Layout& layout) {
  return dim3(static_cast<unsigned>(shape.width / kChannels), static_cast<unsigned>(layout.strips),
              static_cast<unsigned>(shape.batch));
}

}  // namespace striped::cuda::modal
