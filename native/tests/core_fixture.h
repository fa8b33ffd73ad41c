// What the core tests share: small plans, a scratch folder, and a model with everything it needs.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/model.h"
#include "core/plan.h"
#include "core/random.h"
#include "striped/error.h"

namespace fixture {

using nlohmann::json;

inline json hyena(const std::string& op, int groups, bool skip, bool bias) {
  json mixer = {{"operator", op}, {"groups", groups}, {"featurizerTaps", 3}, {"skip", skip}, {"bias", bias}};
  if (op == "LI")
    mixer["order"] = 3;
  else
    mixer["taps"] = op == "SE" ? 4 : 6;
  if (op == "MR") mixer["decay"] = {{"from", 0}, {"to", 1}};
  return mixer;
}

inline json attention() {
  return {{"operator", "MHA"}, {"heads", 4},        {"kvHeads", 2},
          {"headDim", 2},      {"window", nullptr}, {"rope", {{"base", 100}, {"scale", 1}}},
          {"bias", true}};
}

// Width 8, all four operators, a gated MLP, a Hyena as feed-forward, a block without any.
inline json plan() {
  const json mlp = {{"kind", "gated"}, {"activation", "silu"}, {"inner", 5}};
  const json gelu = {{"kind", "gated"}, {"activation", "gelu"}, {"inner", 12}};
  const json blocks = {{{"mixer", hyena("SE", 2, false, false)}, {"ffn", mlp}},
                       {{"mixer", hyena("MR", 4, true, true)},
                        {"ffn", {{"kind", "hyena"}, {"mixer", hyena("SE", 2, true, true)}}}},
                       {{"mixer", hyena("LI", 8, true, false)}, {"ffn", {{"kind", "none"}}}},
                       {{"mixer", attention()}, {"ffn", gelu}}};
  return {
      {"format", "striped-plan"},
      {"version", 1},
      {"name", "test"},
      {"source", {{"file", "/test.striped"}, {"generator", "test"}}},
      {"model",
       {{"name", "Tiny"},
        {"width", 8},
        {"vocab", 11},
        {"tiedEmbeddings", true},
        {"norm", {{"kind", "rms"}, {"eps", 1e-6}}},
        {"blocks", blocks},
        {"parameters", 0}}},
      {"run",
       {{"sequence", 13},
        {"microBatch", 2},
        {"accumulation", 1},
        {"globalBatchTokens", 26},
        {"precision", "fp32"},
        {"parallel", {{"tensor", 1}, {"context", 1}, {"data", 1}, {"sequence", false}, {"zero", 0}}},
        {"recompute", "none"},
        {"data", {{"kind", "bytes"}, {"root", "/"}, {"files", {"x"}}, {"caseWeight", 1}, {"heldOut", 0.1}}},
        {"optimizer",
         {{"kind", "adamw"},
          {"lr", 1e-3},
          {"beta1", 0.9},
          {"beta2", 0.95},
          {"eps", 1e-8},
          {"weightDecay", 0.1},
          {"clip", 1}}},
        {"schedule", {{"kind", "cosine"}, {"warmup", 2}, {"min", 1e-4}}},
        {"steps", 10},
        {"checkpointEvery", 0},
        {"evaluateEvery", 0},
        {"seed", 1},
        {"initStd", 0.3},
        {"hardware", "cpu"},
        {"cluster", nullptr}}}};
}

class ScratchFolder {
 public:
  ScratchFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "striped-test-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// A model on the CPU backend with initial weights and random tokens.
struct Bench {
  explicit Bench(const json& text, const std::string& precision = "fp64", bool recompute = false)
      : plan(striped::parse_plan(text)),
        backend(striped::make_cpu_backend(precision, 2)),
        ranks(striped::only_rank(*backend)),
        table(plan.model, plan.run.init_std),
        store(table, *backend, striped::ParameterStore::Keep::optimizer),
        model(plan.model, {plan.run.micro_batch, plan.run.sequence, recompute, true}, table, *backend,
              ranks) {
    store.initialise(plan.run.seed, plan.run.sequence);
    model.allocate();
    for (std::int64_t i = 0; i < plan.run.micro_batch * plan.run.sequence; ++i) {
      const auto counter = static_cast<std::uint64_t>(i);
      const auto vocab = static_cast<std::uint64_t>(plan.model.vocab);
      tokens.push_back(static_cast<std::int32_t>(striped::random_bits(1, 1, counter) % vocab));
      targets.push_back(static_cast<std::int32_t>(striped::random_bits(1, 2, counter) % vocab));
      weights.push_back(i % 5 == 0 ? 0.25f : 1.0f);
    }
  }

  double total_weight() const {
    double total = 0;
    for (const float weight : weights) total += weight;
    return total;
  }
  striped::MicroBatch batch() const { return {tokens.data(), targets.data(), weights.data()}; }

  double loss() {
    model.clear_loss();
    model.evaluate(store, batch());
    return model.loss_sum() / total_weight();
  }
  void train() {
    store.zero_gradients();
    model.clear_loss();
    model.train(store, batch(), static_cast<float>(total_weight()));
  }
  std::vector<std::vector<double>> gradients() const {
    std::vector<std::vector<double>> result;
    for (std::size_t i = 0; i < table.parameters().size(); ++i)
      result.push_back(store.gradient_values(static_cast<int>(i)));
    return result;
  }
  std::vector<double> logits() {
    std::vector<double> result;
    model.logits(store, tokens.data(), [&](std::int64_t, std::int64_t rows, const void* values) {
      const auto count = static_cast<std::size_t>(rows * plan.model.vocab);
      std::vector<double> chunk(count);
      backend->download(chunk.data(), values, count * sizeof(double));
      result.insert(result.end(), chunk.begin(), chunk.end());
    });
    return result;
  }

  striped::Plan plan;
  std::unique_ptr<striped::Backend> backend;
  striped::RankGroups ranks;
  striped::ParameterTable table;
  striped::ParameterStore store;
  striped::Model model;
  std::vector<std::int32_t> tokens, targets;
  std::vector<float> weights;
};

// Code and message of the striped::Error that `action` throws; empty when it throws none.
template <typename Action>
std::pair<std::string, std::string> error_of(const Action& action) {
  try {
    action();
  } catch (const striped::Error& error) {
    return {error.code(), error.what()};
  }
  return {};
}

}  // namespace fixture
