// What the filters of a model look like while it trains, for the run's events. All ranks of a run call; the
// one that has the files learns it.
#pragma once

#include <nlohmann/json.hpp>

#include "core/parameter_files.h"
#include "core/plan.h"

namespace striped {

// Per MR layer: root mean square over the groups of each tap of h = ĥ ⊙ decay.
nlohmann::json filter_norms(const PlanModel& model, const ParameterTable& table, WholeTensors& tensors);

// Per LI layer: quantiles (0, 0.1, 0.5, 0.9, 1) over all its exponentials of the tokens that each takes to
// fall to 1/e, which is -1 / log_pole.
nlohmann::json time_constants(const PlanModel& model, const ParameterTable& table, WholeTensors& tensors);

}  // namespace striped
