#include "core/plan.h"

#include <cmath>
#include <fstream>

#include "core/random.h"
#include "striped/error.h"

namespace striped {
namespace {

using nlohmann::json;

constexpr int kVersion = 1;

[[noreturn]] void invalid(const std::string& path, const std::string& what) {
  throw Error("plan-invalid",
              "plan: " + path + ": " + what + "; compile the layout again with this version of striped");
}

// A JSON value together with where it stands, for messages.
class Node {
 public:
  Node(const json& value, std::string path) : value_(value), path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  const json& value() const { return value_; }
  bool is_null() const { return value_.is_null(); }

  Node at(const char* key) const {
    if (!value_.is_object()) invalid(path_, "must be an object");
    const auto found = value_.find(key);
    if (found == value_.end()) invalid(path_ + "." + key, "is missing");
    return Node(*found, path_ + "." + key);
  }

  std::vector<Node> items() const {
    if (!value_.is_array()) invalid(path_, "must be an array");
    std::vector<Node> result;
    for (std::size_t i = 0; i < value_.size(); ++i)
      result.emplace_back(value_[i], path_ + "[" + std::to_string(i) + "]");
    return result;
  }

  std::string text() const {
    if (!value_.is_string()) invalid(path_, "must be a string");
    return value_.get<std::string>();
  }

  bool flag() const {
    if (!value_.is_boolean()) invalid(path_, "must be true or false");
    return value_.get<bool>();
  }

  double number(double least, double most = HUGE_VAL) const {
    if (!value_.is_number()) invalid(path_, "must be a number");
    const double number = value_.get<double>();
    if (!(number >= least && number <= most)) invalid(path_, value_.dump() + " is out of range");
    return number;
  }

  std::int64_t integer(std::int64_t least, std::int64_t most = std::int64_t{1} << 53) const {
    const double real = number(static_cast<double>(least), static_cast<double>(most));
    if (real != std::floor(real)) invalid(path_, value_.dump() + " must be a whole number");
    return static_cast<std::int64_t>(real);
  }

  std::string one_of(std::initializer_list<const char*> choices) const {
    const std::string choice = text();
    std::string known;
    for (const char* each : choices) {
      if (choice == each) return choice;
      known += known.empty() ? each : std::string(", ") + each;
    }
    invalid(path_, "\"" + choice + "\" is not known to this engine (known: " + known + ")");
  }

 private:
  const json& value_;
  std::string path_;
};

constexpr std::int64_t kMostTaps = 1 << 24;

PlanHyena read_hyena(const Node& node, const std::string& op, std::int64_t width) {
  PlanHyena hyena{};
  hyena.op = op == "SE" ? HyenaOperator::SE : op == "MR" ? HyenaOperator::MR : HyenaOperator::LI;
  hyena.groups = node.at("groups").integer(1);
  if (width % hyena.groups != 0)
    invalid(node.path() + ".groups",
            std::to_string(hyena.groups) + " does not divide the width " + std::to_string(width));
  hyena.featurizer_taps = static_cast<int>(node.at("featurizerTaps").integer(1, 64));
  hyena.skip = node.at("skip").flag();
  hyena.bias = node.at("bias").flag();
  if (hyena.op == HyenaOperator::LI)
    hyena.order = static_cast<int>(node.at("order").integer(1, 4096));
  else
    hyena.taps = static_cast<int>(node.at("taps").integer(1, kMostTaps));
  if (hyena.op == HyenaOperator::MR) {
    const Node decay = node.at("decay");
    if (!decay.is_null()) hyena.decay = {decay.at("from").number(-30, 30), decay.at("to").number(-30, 30)};
  }
  return hyena;
}

PlanAttention read_attention(const Node& node) {
  PlanAttention attention{};
  attention.heads = static_cast<int>(node.at("heads").integer(1, 1 << 20));
  attention.kv_heads = static_cast<int>(node.at("kvHeads").integer(1, 1 << 20));
  attention.head_dim = static_cast<int>(node.at("headDim").integer(1, 1 << 20));
  if (attention.heads % attention.kv_heads != 0)
    invalid(node.path() + ".kvHeads", "must divide heads (" + std::to_string(attention.heads) + ")");
  const Node window = node.at("window");
  attention.window = window.is_null() ? 0 : window.integer(1);
  const Node rope = node.at("rope");
  if (!rope.is_null()) {
    if (attention.head_dim % 2 != 0) invalid(node.path() + ".headDim", "must be even for rotary embedding");
    attention.rope = {rope.at("base").number(1e-30), rope.at("scale").number(1e-30)};
  }
  attention.bias = node.at("bias").flag();
  return attention;
}

PlanMixer read_mixer(const Node& node, std::int64_t width) {
  const std::string op = node.at("operator").one_of({"SE", "MR", "LI", "MHA"});
  if (op == "MHA") return read_attention(node);
  return read_hyena(node, op, width);
}

PlanFfn read_ffn(const Node& node, std::int64_t width) {
  const std::string kind = node.at("kind").one_of({"gated", "hyena", "none"});
  if (kind == "none") return PlanNoFfn{};
  if (kind == "hyena") {
    const Node mixer = node.at("mixer");
    return read_hyena(mixer, mixer.at("operator").one_of({"SE"}), width);
  }
  return PlanGatedMlp{node.at("activation").one_of({"silu", "gelu", "identity"}),
                      node.at("inner").integer(1)};
}

PlanModel read_model(const Node& node) {
  PlanModel model{};
  model.name = node.at("name").text();
  model.width = node.at("width").integer(1);
  model.vocab = node.at("vocab").integer(2, 65536);
  model.tied_embeddings = node.at("tiedEmbeddings").flag();
  node.at("norm").at("kind").one_of({"rms"});
  model.norm_eps = node.at("norm").at("eps").number(0);
  for (const Node& block : node.at("blocks").items())
    model.blocks.push_back(
        {read_mixer(block.at("mixer"), model.width), read_ffn(block.at("ffn"), model.width)});
  if (model.blocks.empty()) invalid(node.path() + ".blocks", "has no blocks");
  model.parameters = node.at("parameters").integer(0);
  return model;
}

PlanData read_data(const Node& node) {
  PlanData data{};
  const std::string kind = node.at("kind").one_of({"bytes", "tokens", "bpe"});
  data.kind = kind == "bytes"    ? PlanDataKind::bytes
              : kind == "tokens" ? PlanDataKind::tokens
                                 : PlanDataKind::bpe;
  data.root = node.at("root").text();
  for (const Node& file : node.at("files").items()) data.files.push_back(file.text());
  if (data.files.empty()) invalid(node.path() + ".files", "names no file");
  data.case_weight = data.kind == PlanDataKind::bytes ? node.at("caseWeight").number(0) : 1;
  data.held_out = node.at("heldOut").number(0, 0.999999);
  return data;
}

parallel::ContextStrategy read_strategy(const Node& node, const char* own,
                                        parallel::ContextStrategy strategy) {
  return node.one_of({own, "all-to-all"}) == own ? strategy : parallel::ContextStrategy::all_to_all;
}

// Of filters that may be as long as the sequence.
parallel::ContextStrategy read_long_strategy(const Node& node, const char* own,
                                             parallel::ContextStrategy strategy) {
  const std::string name = node.one_of({own, "fft", "all-to-all"});
  if (name == "fft") return parallel::ContextStrategy::fourier;
  return name == own ? strategy : parallel::ContextStrategy::all_to_all;
}

// Over several context ranks only.
parallel::Spread read_spread(const Node& node) {
  using parallel::ContextStrategy;
  const bool zigzag = node.at("order").one_of({"contiguous", "zig-zag"}) == "zig-zag";
  return {zigzag ? parallel::SequenceOrder::zigzag : parallel::SequenceOrder::contiguous,
          read_strategy(node.at("SE"), "p2p", ContextStrategy::point_to_point),
          read_long_strategy(node.at("MR"), "p2p", ContextStrategy::point_to_point),
          read_long_strategy(node.at("LI"), "state", ContextStrategy::state),
          read_strategy(node.at("MHA"), "ring", ContextStrategy::ring)};
}

PlanRun read_run(const Node& node) {
  PlanRun run{};
  run.sequence = node.at("sequence").integer(1);
  run.micro_batch = node.at("microBatch").integer(1);
  run.accumulation = node.at("accumulation").integer(1);
  run.precision = node.at("precision").one_of({"fp32", "bf16", "fp8"});
  const Node parallel = node.at("parallel");
  run.parallel = {static_cast<int>(parallel.at("tensor").integer(1, 1 << 20)),
                  static_cast<int>(parallel.at("context").integer(1, 1 << 20)),
                  static_cast<int>(parallel.at("data").integer(1, 1 << 20)),
                  static_cast<int>(parallel.at("zero").integer(0, 3)),
                  parallel.at("sequence").flag(),
                  {}};
  if (run.parallel.context > 1) run.parallel.spread = read_spread(parallel.at("spread"));
  run.recompute_blocks = node.at("recompute").one_of({"none", "blocks"}) == "blocks";
  run.data = read_data(node.at("data"));
  const Node optimizer = node.at("optimizer");
  optimizer.at("kind").one_of({"adamw"});
  // In fp32 the squares of smaller gradients are 0: without it they would be divided by 0.
  constexpr double kLeastEps = 1e-20;
  run.optimizer = {optimizer.at("lr").number(0),          optimizer.at("beta1").number(0, 1),
                   optimizer.at("beta2").number(0, 1),    optimizer.at("eps").number(kLeastEps),
                   optimizer.at("weightDecay").number(0), optimizer.at("clip").number(0)};
  const Node schedule = node.at("schedule");
  run.schedule = {schedule.at("kind").one_of({"cosine", "constant"}) == "cosine",
                  schedule.at("warmup").integer(0), schedule.at("min").number(0)};
  run.steps = node.at("steps").integer(1);
  run.checkpoint_every = node.at("checkpointEvery").integer(0);
  run.evaluate_every = node.at("evaluateEvery").integer(0);
  run.seed = static_cast<std::uint64_t>(node.at("seed").integer(0));
  run.init_std = node.at("initStd").number(0);
  return run;
}

}  // namespace

parallel::ContextStrategy strategy_of(const parallel::Spread& spread, HyenaOperator op) {
  if (op == HyenaOperator::SE) return spread.se;
  return op == HyenaOperator::MR ? spread.mr : spread.li;
}

Plan parse_plan(const json& text) {
  const Node root(text, "$");
  if (!text.is_object() || text.value("format", "") != "striped-plan")
    throw Error(
        "plan-syntax",
        "this is not a striped plan ($.format is not \"striped-plan\"); make one with `striped compile`");
  const std::int64_t version = root.at("version").integer(1);
  if (version > kVersion)
    throw Error("plan-version",
                "the plan is of version " + std::to_string(version) +
                    " and this engine reads up to version " + std::to_string(kVersion) +
                    "; update the engine, or compile the layout with the same version of striped");
  return Plan{root.at("name").text(), read_model(root.at("model")), read_run(root.at("run")), text};
}

Plan read_plan(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw Error("plan-unreadable", "cannot open the plan " + file.string() + "; is the path right?");
  json text;
  try {
    text = json::parse(in);
  } catch (const json::exception& error) {
    throw Error("plan-syntax",
                file.string() + " is not JSON (" + error.what() + "); make it again with `striped compile`");
  }
  return parse_plan(text);
}

std::string training_hash(const Plan& plan) {
  json model = plan.json.at("model");
  for (json& block : model["blocks"]) block.erase("source");
  model.erase("name");
  json run = plan.json.at("run");
  for (const char* key : {"steps", "checkpointEvery", "evaluateEvery", "hardware", "cluster", "recompute",
                          "parallel", "microBatch", "accumulation", "globalBatchTokens"})
    run.erase(key);
  // Token files are named by what is in them, so what they were made of says nothing more.
  for (const char* key : {"root", "source"}) run["data"].erase(key);
  // However the windows of a step are shared out over ranks and micro-batches.
  run["windows"] = plan.run.micro_batch * plan.run.accumulation * plan.run.parallel.data;
  return hexadecimal(hash_text(json{{"model", model}, {"run", run}}.dump()));
}

}  // namespace striped
