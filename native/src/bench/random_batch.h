// Random tokens in place of data.
#pragma once

#include "core/data.h"

namespace striped::bench {

// `tokens` tokens below `vocab` and targets, all of weight 1.
SampleBatch random_batch(std::int64_t tokens, std::int64_t vocab);

}  // namespace striped::bench
