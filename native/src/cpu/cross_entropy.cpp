// Weighted softmax cross-entropy; logits turn into their gradient in place.
#include <algorithm>
#include <cmath>

#include "math.h"
#include "operators.h"
#include "vec.h"

namespace striped::cpu {
namespace {

constexpr std::int64_t kPartialRows = 64;

// -log p(target) of one row, and the gradient in its place if wanted.
template <class T>
double row_loss(T* logits, std::int64_t vocab, std::int32_t target, bool gradient, T scale, T* weights) {
  const T peak = maximum(logits, vocab);
  std::copy_n(logits, vocab, weights);
  const T total = exponentials(weights, vocab, peak);
  const double loss = std::log(static_cast<double>(total)) - static_cast<double>(logits[target] - peak);
  if (gradient) {
    const T factor = scale / total;
    for (std::int64_t v = 0; v < vocab; ++v) logits[v] = weights[v] * factor;
    logits[target] -= scale;
  }
  return loss;
}

}  // namespace

template <class T>
void cross_entropy(Context& context, std::int64_t rows, std::int64_t vocab, T* logits,
                   const std::int32_t* targets, const float* weights, float total_weight, bool gradient,
                   T* loss_sum) {
  const std::int64_t parts = (rows + kPartialRows - 1) / kPartialRows;
  const std::int64_t stride = (vocab + 15) / 16 * 16;
  double* partial =
      context.scratch.reserve<double>(static_cast<std::size_t>(parts + context.pool.threads() * stride));
  context.pool.run(parts, [&](std::int64_t part, int worker) {
    T* scratch = reinterpret_cast<T*>(partial + parts + worker * stride);
    double loss = 0;
    for (std::int64_t r = part * kPartialRows; r < std::min(rows, (part + 1) * kPartialRows); ++r) {
      T* row = logits + r * vocab;
      if (weights[r] == 0.0f) {
        if (gradient) std::fill_n(row, vocab, T(0));
        continue;
      }
      const T scale = static_cast<T>(static_cast<double>(weights[r]) / total_weight);
      loss += weights[r] * row_loss(row, vocab, targets[r], gradient, scale, scratch);
    }
    partial[part] = loss;
  });
  double total = 0;
  for (std::int64_t part = 0; part < parts; ++part) total += partial[part];
  *loss_sum += static_cast<T>(total);
}

#define STRIPED_INSTANTIATE(T)                                                                             \
  template void cross_entropy(Context&, std::int64_t, std::int64_t, T*, const std::int32_t*, const float*, \
                              float, bool, T*);
STRIPED_INSTANTIATE(float)
STRIPED_INSTANTIATE(double)
#undef STRIPED_INSTANTIATE

}  // namespace striped::cpu
