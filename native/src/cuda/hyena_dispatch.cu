// Which kernel runs an inner Hyena operator.
#include <string>

#include "hyena.h"
#include "hyena_direct.h"
#include "hyena_fir.h"
#include "hyena_modal.h"
#include "striped/error.h"

namespace striped::cuda {
namespace {

[[noreturn]] void missing_piece(const char* what) {
  throw Error("context-strategy", std::string("the cuda backend has no ") + what +
                                      " for parts of sequences; choose another strategy, or --backend cpu");
}

}  // namespace

std::size_t hyena_kept(const HyenaShape& shape, ElementType type) {
  return shape.kind == HyenaKind::long_implicit ? modal_kept(shape, type) : 0;
}

std::size_t hyena_workspace(const HyenaShape& shape, ElementType type) {
  if (shape.kind == HyenaKind::long_implicit) return modal_workspace(shape, type);
  return fir_supports(shape, type) ? fir_workspace(shape) : direct_workspace(shape, type);
}

void hyena_forward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type, const void* z,
                   void* y, void* kept, void* workspace, cudaStream_t stream) {
  if (shape.kind == HyenaKind::long_implicit)
    return modal_forward(shape, weights, type, z, y, kept, workspace, stream);
  if (fir_supports(shape, type)) return fir_forward(shape, weights, z, y, stream);
  direct_forward(shape, weights, type, {}, shape.length, z, y, stream);
}

void hyena_backward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type, const void* z,
                    const void* kept, const void* dy, void* dz, const HyenaGradients& gradients,
                    void* workspace, cudaStream_t stream) {
  if (shape.kind == HyenaKind::long_implicit) {
    return modal_backward(shape, weights, type, z, kept, dy, dz, gradients, workspace, stream);
  }
  if (fir_supports(shape, type)) return fir_backward(shape, weights, z, dy, dz, gradients, workspace, stream);
  direct_backward(shape, weights, type, z, dy, dz, gradients, workspace, stream);
}

std::size_t hyena_piece_workspace(const HyenaShape& shape, ElementType) {
  missing_piece(shape.kind == HyenaKind::long_implicit ? "Hyena-LI" : "Hyena-SE and -MR");
}

void hyena_piece(const HyenaShape& shape, const HyenaWeights&, ElementType, const HyenaSurroundings&,
                 const ShardOperators::Arrived&, const void*, void*, void*, cudaStream_t) {
  if (shape.kind == HyenaKind::long_implicit) missing_piece("Hyena-LI");
  missing_piece("Hyena-SE and -MR");
}

void hyena_piece_backward(const HyenaShape& shape, const HyenaWeights&, ElementType, const HyenaSurroundings&,
                          const ShardOperators::Arrived&, const void*, const void*, void*, void*,
                          const HyenaGradients&, void*, cudaStream_t) {
  if (shape.kind == HyenaKind::long_implicit) missing_piece("Hyena-LI");
  missing_piece("Hyena-SE and -MR");
}

}  // namespace striped::cuda
