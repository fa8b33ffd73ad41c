// The plan as the engine reads it: field by field what `language/plan/plan.ts` describes. No default is
// applied here; what a plan lacks is an error.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>

#include <optional>
#include <string>
#include <variant>
#include <vector>
#include "parallel/sharding.h"

namespace striped {

enum class HyenaOperator : std::uint8_t { SE, MR, LI };

struct PlanDecay {
  double from, to;  // exponents of ten, see MR in plan.ts
};

struct PlanHyena {
  HyenaOperator op;
  std::int64_t groups;
  int featurizer_taps;
  bool skip, bias;
  int taps = 0;                    // SE, MR
  std::optional<PlanDecay> decay;  // MR
  int order = 0;                   // LI
};

struct PlanRope {
  double base, scale;
};

struct PlanAttention {
  int heads, kv_heads, head_dim;
  std::int64_t window;  // 0: the whole prefix
  std::optional<PlanRope> rope;
  bool bias;
};

using PlanMixer = std::variant<PlanHyena, PlanAttention>;

struct PlanGatedMlp {
  std::string activation;  // silu | gelu | identity
  std::int64_t inner;
};

struct PlanNoFfn {};

using PlanFfn = std::variant<PlanNoFfn, PlanGatedMlp, PlanHyena>;

struct PlanBlock {
  PlanMixer mixer;
  PlanFfn ffn;
};

struct PlanModel {
  std::string name;
  std::int64_t width, vocab;
  bool tied_embeddings;
  double norm_eps;
  std::vector<PlanBlock> blocks;
  std::int64_t parameters;
};

// `bpe` is text that whoever launches a run makes `tokens` of; a run on it is refused.
enum class PlanDataKind : std::uint8_t { bytes, tokens, bpe };

struct PlanData {
  std::filesystem::path root;
  std::vector<std::string> files;
  double case_weight, held_out;  // weight of lower-case bytes, 1 for tokens
  PlanDataKind kind = PlanDataKind::bytes;
};

struct PlanAdamW {
  double lr, beta1, beta2, eps, weight_decay, clip;
};

struct PlanSchedule {
  bool cosine;  // else constant
  std::int64_t warmup;
  double min;
};

struct PlanParallel {
  int tensor, context, data, zero;
  bool sequence;
  parallel::Spread spread;  // over the context ranks
};

struct PlanRun {
  std::int64_t sequence, micro_batch, accumulation;
  std::string precision;  // fp32 | bf16 | fp8
  PlanParallel parallel;
  bool recompute_blocks;
  PlanData data;
  PlanAdamW optimizer;
  PlanSchedule schedule;
  std::int64_t steps, checkpoint_every, evaluate_every;
  std::uint64_t seed;
  double init_std;
};

struct Plan {
  std::string name;
  PlanModel model;
  PlanRun run;
  nlohmann::json json;  // as read
};

// Of an operator over context ranks.
parallel::ContextStrategy strategy_of(const parallel::Spread& spread, HyenaOperator op);

// Errors: "plan-unreadable", "plan-syntax", "plan-version", "plan-invalid" (with the JSON path of the field).
Plan read_plan(const std::filesystem::path& file);
Plan parse_plan(const nlohmann::json& json);

// Hash (16 hexadecimal digits) of all that decides what is trained: the model and the run without its length,
// its intervals, where it runs and how it is shared out there. A checkpoint resumes only under a plan of the
// same hash.
std::string training_hash(const Plan& plan);

}  // namespace striped
