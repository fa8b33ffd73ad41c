// What training needs by the model's definition, whatever the algorithm: the count behind MFU.
#pragma once

#include "core/plan.h"

namespace striped {

// FLOPs a token, forward and twice that backward, nothing recomputed; the same convention as
// `language/estimate/model-flops.ts`. Dense layers count 2 a weight (the unembedding too, tied or not; the
// embedding not), attention its two products over the pairs that causality and window leave, a Hyena its taps
// (LI: 4 an exponential), featurizer, gates and skip.
double model_flops_per_token(const PlanModel& model, std::int64_t sequence);

}  // namespace striped
