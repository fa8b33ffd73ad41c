#include "core/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace striped {

double learning_rate(const PlanSchedule& schedule, double lr, std::int64_t step, std::int64_t steps) {
  if (step < schedule.warmup) return lr * static_cast<double>(step) / static_cast<double>(schedule.warmup);
  if (!schedule.cosine) return lr;
  const auto span = static_cast<double>(std::max<std::int64_t>(1, steps - schedule.warmup));
  const double done = std::min(1.0, static_cast<double>(step - schedule.warmup) / span);
  return schedule.min + (lr - schedule.min) * 0.5 * (1 + std::cos(std::numbers::pi * done));
}

OptimizerStep optimizer_step(const PlanAdamW& adamw, double rate, std::int64_t step, double gradient_scale) {
  const auto power = static_cast<double>(step);
  return {static_cast<float>(rate), static_cast<float>(1 - std::pow(adamw.beta1, power)),
          static_cast<float>(1 - std::pow(adamw.beta2, power)), static_cast<float>(gradient_scale)};
}

AdamWSettings adamw_settings(const PlanAdamW& adamw) {
  return {static_cast<float>(adamw.beta1), static_cast<float>(adamw.beta2), static_cast<float>(adamw.eps),
          static_cast<float>(adamw.weight_decay), static_cast<float>(adamw.clip)};
}

}  // namespace striped
