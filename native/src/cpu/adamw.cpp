// Decoupled AdamW (Loshchilov & Hutter 2019) with clipping by the global norm.
#include <algorithm>
#include <cmath>

#include "operators.h"

namespace striped::cpu {
namespace {

constexpr std::int64_t kPartialCount = 16384;

}  // namespace

template <class T>
void squared_norm(Context& context, std::int64_t count, const T* gradients, double* squared_norm) {
  const std::int64_t parts = (count + kPartialCount - 1) / kPartialCount;
  double* partial = context.scratch.reserve<double>(static_cast<std::size_t>(parts));
  context.pool.run(parts, [&](std::int64_t part, int) {
    const std::int64_t end = std::min(count, (part + 1) * kPartialCount);
    double lanes[8] = {};
    std::int64_t i = part * kPartialCount;
    for (; i + 8 <= end; i += 8) {
      for (int k = 0; k < 8; ++k) lanes[k] += static_cast<double>(gradients[i + k]) * gradients[i + k];
    }
    for (; i < end; ++i) lanes[0] += static_cast<double>(gradients[i]) * gradients[i];
    double total = 0;
    for (double lane : lanes) total += lane;
    partial[part] = total;
  });
  for (std::int64_t part = 0; part < parts; ++part) *squared_norm += partial[part];
}

template <class T>
void adamw(Context& context, std::int64_t count, const AdamWSettings& settings, const OptimizerStep& step,
           double squared_norm, const T* gradients, T* parameters, T* moment1, T* moment2, T* compute) {
  double gradient_factor = step.gradient_scale;
  if (settings.clip > 0) {
    const double norm = std::sqrt(squared_norm) * step.gradient_scale;
    if (norm > settings.clip) gradient_factor *= settings.clip / norm;
  }
  const T factor = static_cast<T>(gradient_factor), beta1 = settings.beta1, beta2 = settings.beta2;
  const T rate = static_cast<T>(static_cast<double>(step.learning_rate) / step.bias_correction1);
  const T unbias2 = static_cast<T>(1.0 / step.bias_correction2), eps = settings.eps;
  const T keep = static_cast<T>(1.0 - static_cast<double>(step.learning_rate) * settings.weight_decay);
  context.pool.split(count, 1024, [&](std::int64_t begin, std::int64_t end) {
    const T* __restrict g = gradients;
    T* __restrict p = parameters;
    T* __restrict m = moment1;
    T* __restrict v = moment2;
    for (std::int64_t i = begin; i < end; ++i) {
      const T gradient = g[i] * factor;
      m[i] = beta1 * m[i] + (T(1) - beta1) * gradient;
      v[i] = beta2 * v[i] + (T(1) - beta2) * gradient * gradient;
      p[i] = keep * p[i] - rate * m[i] / (std::sqrt(v[i] * unbias2) + eps);
    }
    if (compute && compute != parameters) std::copy(parameters + begin, parameters + end, compute + begin);
  });
}

#define STRIPED_INSTANTIATE(T)                                                                              \
  template void squared_norm(Context&, std::int64_t, const T*, double*);                                    \
  template void adamw(Context&, std::int64_t, const AdamWSettings&, const OptimizerStep&, double, const T*, \
                      T*, T*, T*, T*);
STRIPED_INSTANTIATE(float)
STRIPED_INSTANTIATE(double)
#undef STRIPED_INSTANTIATE

}  // namespace striped::cpu
