// Results of a fused attention for some keys, joined with those for other keys by their log-sum-exps.
#include "launch.h"
#include "operators.h"
#include "vector.cuh"

namespace striped::cuda {
namespace {

constexpr int kWarps = 8, kPair = 2;

// A warp a row of a head. `first`: there is nothing yet in y and statistics.
__global__ void merge(std::int64_t queries, int heads, int head_dim, const bf16* part,
                      const float* part_statistics, bool first, float* y, float* statistics) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= queries * heads) return;
  const std::int64_t place = row % heads * queries + row / heads;
  const float there = first ? -INFINITY : statistics[place], here = part_statistics[place];
  const float peak = fmaxf(there, here), base = peak == -INFINITY ? 0.0f : peak;
  const float total = expf(there - base) + expf(here - base);
  const float share = total == 0 ? 0.0f : expf(here - base) / total;
  for (int d = threadIdx.x % 32 * kPair; d < head_dim; d += 32 * kPair) {
    float sum[kPair] = {}, more[kPair];
    if (!first) load<kPair>(y + row * head_dim + d, sum);
    load<kPair>(part + row * head_dim + d, more);
#pragma unroll
    for (int i = 0; i < kPair; ++i) sum[i] += share * (more[i] - sum[i]);
    store<kPair>(y + row * head_dim + d, sum);
  }
  __syncwarp();
  if (threadIdx.x % 32 == 0) statistics[place] = peak + logf(total);
}

}  // namespace

void attention_merge(Context& context, const AttentionPart& p, const void* part, const float* part_statistics,
                     bool first, float* y, float* statistics) {
  launch<merge>(static_cast<unsigned>(ceil_div(p.queries * p.heads, kWarps)), kWarps * 32, 0, context.stream,
                p.queries, p.heads, p.head_dim, static_cast<const bf16*>(part), part_statistics, first, y,
                statistics);
}

}  // namespace striped::cuda
