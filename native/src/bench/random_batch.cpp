#include "bench/random_batch.h"

#include "core/random.h"

namespace striped::bench {

SampleBatch random_batch(std::int64_t tokens, std::int64_t vocab) {
  SampleBatch batch;
  const auto draw = [&](std::uint64_t stream, std::int64_t i) {
    return static_cast<std::int32_t>(random_bits(1, stream, static_cast<std::uint64_t>(i)) %
                                     static_cast<std::uint64_t>(vocab));
  };
  for (std::int64_t i = 0; i < tokens; ++i) {
    batch.tokens.push_back(draw(1, i));
    batch.targets.push_back(draw(2, i));
  }
  batch.weights.assign(batch.tokens.size(), 1.0f);
  batch.total_weight = static_cast<double>(tokens);
  return batch;
}

}  // namespace striped::bench
