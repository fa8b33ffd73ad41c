// The learning rate of a step.
#pragma once

#include <cstdint>

#include "core/plan.h"
#include "striped/backend.h"

namespace striped {

// Of step `step` (1 is the first) of `steps`: linear from lr/warmup up to lr over the warm-up, then lr
// (constant) or half a cosine down to `min` at the last step.
double learning_rate(const PlanSchedule& schedule, double lr, std::int64_t step, std::int64_t steps);

// What the optimiser needs to know of a step.
OptimizerStep optimizer_step(const PlanAdamW& adamw, double learning_rate, std::int64_t step,
                             double gradient_scale);
AdamWSettings adamw_settings(const PlanAdamW& adamw);

}  // namespace striped
