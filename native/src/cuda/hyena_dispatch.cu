// Which kernel runs an inner Hyena operator.
#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "hyena.h"
#include "hyena_channel.h"
#include "hyena_direct.h"
#include "hyena_edges.h"
#include "hyena_fir.h"
#include "hyena_fourier.h"
#include "hyena_gates.h"
#include "hyena_modal.h"
#include "hyena_modal_scan.h"
#include "hyena_short.h"

namespace striped::cuda {
namespace {

// Explicit filters of more are faster by Fourier transform than on CUDA cores (docs/kernels.md).
constexpr std::int64_t kMaxDirectTaps = 128;

enum class Form { fir, short_filter, channel, direct, modal, fourier };

Form form_of(const HyenaShape& shape, ElementType type) {
  static const bool always_fourier = [] {
    const char* form = std::getenv("STRIPED_HYENA");
    return form != nullptr && std::string_view(form) == "fft";
  }();
  if (always_fourier) return Form::fourier;
  if (shape.kind == HyenaKind::long_implicit)
    return shape.order > modal::kMaxOrder ? Form::fourier : Form::modal;
  if (fir_supports(shape, type)) return Form::fir;
  if (short_supports(shape, type)) return Form::short_filter;
  if (channel_supports(shape, type)) return Form::channel;
  return std::min<std::int64_t>(shape.taps, shape.length) > kMaxDirectTaps ? Form::fourier : Form::direct;
}

}  // namespace

std::size_t hyena_kept(const HyenaShape& shape, ElementType type) {
  return form_of(shape, type) == Form::modal ? modal_kept(shape, type, false) : 0;
}

std::size_t hyena_workspace(const HyenaShape& shape, ElementType type, FourierPlans& plans) {
  switch (form_of(shape, type)) {
    case Form::fir:
      return fir_workspace(shape);
    case Form::short_filter:
      return short_workspace(shape, type);
    case Form::channel:
      return channel_workspace(shape);
    case Form::direct:
      return direct_workspace(shape, type);
    case Form::modal:
      return modal_workspace(shape, type, false);
    default:
      return fourier_workspace(shape, plans);
  }
}

void hyena_forward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type, const void* z,
                   void* y, void* kept, void* workspace, FourierPlans& plans, cudaStream_t stream) {
  switch (form_of(shape, type)) {
    case Form::fir:
      return fir_forward(shape, weights, z, y, stream);
    case Form::short_filter:
      return short_forward(shape, weights, type, z, y, stream);
    case Form::channel:
      return channel_forward(shape, weights, z, y, stream);
    case Form::direct:
      return direct_forward(shape, weights, type, {}, shape.length, z, y, workspace, stream);
    case Form::modal:
      return modal_forward(shape, weights, type, nullptr, [] {}, z, y, kept, workspace, stream);
    default:
      fourier_forward(shape, weights, type, z, y, workspace, plans, stream);
  }
}

void hyena_backward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type, const void* z,
                    const void* kept, const void* dy, void* dz, const HyenaGradients& gradients,
                    void* workspace, FourierPlans& plans, cudaStream_t stream) {
  switch (form_of(shape, type)) {
    case Form::fir:
      return fir_backward(shape, weights, z, dy, dz, gradients, workspace, stream);
    case Form::short_filter:
      return short_backward(shape, weights, type, z, dy, dz, gradients, workspace, stream);
    case Form::channel:
      return channel_backward(shape, weights, z, dy, dz, gradients, workspace, stream);
    case Form::direct:
      return direct_backward(shape, weights, type, z, dy, dz, gradients, workspace, stream);
    case Form::modal:
      return modal_backward(
          shape, weights, type, nullptr, [] {}, z, kept, dy, dz, nullptr, gradients, workspace, stream);
    default:
      fourier_backward(shape, weights, type, z, dy, dz, gradients, workspace, plans, stream);
  }
}

std::size_t hyena_piece_kept(const HyenaShape& shape, ElementType type) {
  return shape.kind == HyenaKind::long_implicit ? modal_kept(shape, type, true) : 0;
}

std::size_t hyena_piece_workspace(const HyenaShape& shape, ElementType type, FourierPlans& plans) {
  const std::size_t gates = hyena_gate_workspace(shape);
  if (shape.kind == HyenaKind::long_implicit) {
    return shape.order > modal::kMaxOrder ? gates : std::max(gates, modal_workspace(shape, type, true));
  }
  return std::max({gates, hyena_workspace(shape, type, plans), edges_workspace(shape)});
}

void hyena_piece(const HyenaShape& shape, const HyenaWeights& weights, ElementType type,
                 const HyenaSurroundings& around, const Arrived& arrived, const void* z, void* y, void* kept,
                 void* workspace, FourierPlans& plans, cudaStream_t stream) {
  if (shape.kind == HyenaKind::long_implicit)
    return modal_forward(shape, weights, type, &around, arrived, z, y, kept, workspace, stream);
  hyena_forward(shape, weights, type, z, y, nullptr, workspace, plans, stream);
  arrived();
  edges_forward(shape, weights, type, around, z, y, workspace, stream);
}

void hyena_piece_backward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type,
                          const HyenaSurroundings& around, const Arrived& arrived, const void* z,
                          const void* kept, const void* dy, void* dz, void* reach,
                          const HyenaGradients& gradients, void* workspace, FourierPlans& plans,
                          cudaStream_t stream) {
  if (shape.kind == HyenaKind::long_implicit)
    return modal_backward(shape, weights, type, &around, arrived, z, kept, dy, dz, reach, gradients,
                          workspace, stream);
  hyena_backward(shape, weights, type, z, nullptr, dy, dz, gradients, workspace, plans, stream);
  arrived();
  edges_backward(shape, weights, type, around, z, dy, dz, reach, gradients, workspace, stream);
}

}  // namespace striped::cuda
