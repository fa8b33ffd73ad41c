#include "core/flops.h"

#include <algorithm>

namespace striped {
namespace {

double hyena_flops(const PlanHyena& hyena, double width) {
  const double filter = hyena.op == HyenaOperator::LI ? 4.0 * hyena.order : 2.0 * hyena.taps;
  const double per_value = filter + 6.0 * hyena.featurizer_taps + 2 + (hyena.skip ? 2 : 0);
  return 2 * width * 4 * width + width * per_value;
}

// Tokens an average query sees.
double mean_context(double sequence, std::int64_t window) {
  const double reach = window > 0 ? std::min(static_cast<double>(window), sequence) : sequence;
  return reach - reach * (reach - 1) / (2 * sequence);
}

double attention_flops(const PlanAttention& attention, double width, double sequence) {
  const double inner = static_cast<double>(attention.heads) * attention.head_dim;
  const double qkv = (attention.heads + 2.0 * attention.kv_heads) * attention.head_dim;
  return 2 * width * (qkv + inner) + 4 * inner * mean_context(sequence, attention.window);
}

}  // namespace

double model_flops_per_token(const PlanModel& model, std::int64_t sequence) {
  const auto width = static_cast<double>(model.width);
  double forward = 2 * width * static_cast<double>(model.vocab);
  for (const PlanBlock& block : model.blocks) {
    if (const auto* hyena = std::get_if<PlanHyena>(&block.mixer))
      forward += hyena_flops(*hyena, width);
    else
      forward += attention_flops(std::get<PlanAttention>(block.mixer), width, static_cast<double>(sequence));
    if (const auto* mlp = std::get_if<PlanGatedMlp>(&block.ffn))
      forward += 6 * width * static_cast<double>(mlp->inner);
    else if (const auto* hyena = std::get_if<PlanHyena>(&block.ffn))
      forward += hyena_flops(*hyena, width);
  }
  return 3 * forward;
}

}  // namespace striped
