// The whole model: gradients against finite differences, causality, accumulation, recomputation.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "core_fixture.h"

using fixture::Bench;
using fixture::json;

namespace {

// Fourth-order central difference of the loss by one parameter value.
double difference(Bench& bench, int parameter, std::size_t index) {
  const std::vector<double> values = bench.store.values(parameter);
  const double step = 1e-3 * std::max(0.1, std::abs(values[index]));
  const auto loss_at = [&](double offset) {
    std::vector<double> moved = values;
    moved[index] += offset;
    bench.store.set_values(parameter, moved);
    return bench.loss();
  };
  const double slope = 8 * (loss_at(step) - loss_at(-step)) - (loss_at(2 * step) - loss_at(-2 * step));
  bench.store.set_values(parameter, values);
  return slope / (12 * step);
}

void check_gradients(const json& plan) {
  Bench bench(plan);
  bench.train();
  const auto gradients = bench.gradients();
  double scale = 0;
  for (const auto& gradient : gradients)
    for (const double value : gradient) scale = std::max(scale, std::abs(value));
  for (std::size_t p = 0; p < gradients.size(); ++p) {
    const striped::Parameter& parameter = bench.table.parameters()[p];
    INFO(parameter.name);
    double largest = 0;
    for (const double value : gradients[p]) largest = std::max(largest, std::abs(value));
    CHECK(largest > 0);
    const std::size_t stride = std::max<std::size_t>(1, gradients[p].size() / 7);
    for (std::size_t i = 0; i < gradients[p].size(); i += stride) {
      INFO("element " << i);
      const double expected = difference(bench, static_cast<int>(p), i);
      CHECK(std::abs(gradients[p][i] - expected) <= 1e-6 * std::max(std::abs(expected), 1e-2 * scale));
    }
  }
}

}  // namespace

TEST_CASE("gradients of the whole model agree with finite differences") {
  json plan = fixture::plan();
  SUBCASE("tied embeddings") {}
  SUBCASE("untied") { plan["model"]["tiedEmbeddings"] = false; }
  SUBCASE("a window, no rotation, no decay") {
    plan["model"]["blocks"][3]["mixer"]["window"] = 4;
    plan["model"]["blocks"][3]["mixer"]["rope"] = nullptr;
    plan["model"]["blocks"][1]["mixer"]["decay"] = nullptr;
  }
  SUBCASE("sequences shorter than the filters") { plan["run"]["sequence"] = 3; }
  SUBCASE("a sequence longer than a block of the convolution") {
    plan["run"]["sequence"] = 150;
    plan["run"]["microBatch"] = 1;
  }
  SUBCASE("recomputed blocks") { plan["run"]["recompute"] = "blocks"; }
  check_gradients(plan);
}

TEST_CASE("the loss of training is the loss of evaluation") {
  Bench bench(fixture::plan());
  bench.train();
  const double trained = bench.model.loss_sum() / bench.total_weight();
  CHECK(trained == doctest::Approx(bench.loss()).epsilon(1e-12));
}

TEST_CASE("a later token never changes an earlier logit") {
  Bench bench(fixture::plan());
  const std::vector<double> before = bench.logits();
  const auto vocab = static_cast<std::size_t>(bench.plan.model.vocab);
  const auto length = static_cast<std::size_t>(bench.plan.run.sequence);
  for (std::size_t changed = 0; changed < length; ++changed) {
    Bench other(fixture::plan());
    other.tokens[changed] = (other.tokens[changed] + 1) % static_cast<std::int32_t>(vocab);
    const std::vector<double> after = other.logits();
    std::size_t first = before.size();  // first logit that differs, in the first sequence
    for (std::size_t i = 0; i < length * vocab && first == before.size(); ++i)
      if (before[i] != after[i]) first = i;
    CHECK(first / vocab == changed);
    const auto second = static_cast<std::ptrdiff_t>(length * vocab);
    CHECK(std::equal(before.begin() + second, before.end(), after.begin() + second));
  }
}

TEST_CASE("recomputing blocks changes no bit") {
  for (const std::string precision : {"fp64", "fp32"}) {
    Bench kept(fixture::plan(), precision, false), recomputed(fixture::plan(), precision, true);
    kept.train();
    recomputed.train();
    CHECK(kept.gradients() == recomputed.gradients());
    CHECK(kept.model.loss_sum() == recomputed.model.loss_sum());
  }
}

TEST_CASE("an MLP made again slice by slice has the gradients of one kept whole") {
  json plan = fixture::plan();
  plan["run"]["sequence"] = 9001;  // two sequences: a slice and a part of one
  json& blocks = plan["model"]["blocks"];
  blocks = json::array({blocks[0], blocks[0]});
  Bench kept(plan, "fp64", false), sliced(plan, "fp64", true);
  kept.train();
  sliced.train();
  CHECK(sliced.model.loss_sum() == kept.model.loss_sum());
  CHECK(sliced.logits() == kept.logits());
  const auto expected = kept.gradients(), actual = sliced.gradients();
  for (std::size_t p = 0; p < expected.size(); ++p)
    for (std::size_t i = 0; i < expected[p].size(); ++i)
      CHECK(actual[p][i] == doctest::Approx(expected[p][i]).epsilon(1e-10).scale(1e-3));
}

TEST_CASE("recomputing blocks takes less memory") {
  json plan = fixture::plan();
  plan["run"]["sequence"] = 256;
  json& blocks = plan["model"]["blocks"];
  while (blocks.size() < 32) blocks.push_back(json(blocks[blocks.size() - 4]));
  const Bench recomputed(plan, "fp32", true), kept(plan, "fp32", false);
  CHECK(recomputed.model.arena_bytes() < kept.model.arena_bytes() * 2 / 3);
}

TEST_CASE("accumulated micro-batches are one larger batch") {
  json whole = fixture::plan();
  whole["run"]["microBatch"] = 4;
  json part = fixture::plan();
  Bench large(whole), small(part);
  large.train();
  small.store.zero_gradients();
  small.model.clear_loss();
  const auto share = static_cast<float>(large.total_weight());
  for (std::size_t micro = 0; micro < 2; ++micro) {
    const std::size_t offset = micro * static_cast<std::size_t>(2 * small.plan.run.sequence);
    small.model.train(
        small.store,
        {large.tokens.data() + offset, large.targets.data() + offset, large.weights.data() + offset}, share);
  }
  CHECK(small.model.loss_sum() == doctest::Approx(large.model.loss_sum()).epsilon(1e-12));
  const auto expected = large.gradients(), actual = small.gradients();
  for (std::size_t p = 0; p < expected.size(); ++p)
    for (std::size_t i = 0; i < expected[p].size(); ++i)
      CHECK(actual[p][i] == doctest::Approx(expected[p][i]).epsilon(1e-9).scale(1e-3));
}

TEST_CASE("gradients of a single micro-batch replace those of the step before") {
  for (const bool recompute : {false, true}) {
    Bench added(fixture::plan(), "fp32", recompute), written(fixture::plan(), "fp32", recompute);
    added.train();
    written.store.set_accumulates(false);
    written.train();
    written.train();
    CHECK(written.gradients() == added.gradients());
  }
}

TEST_CASE("the same step twice gives the same bits") {
  Bench first(fixture::plan(), "fp32"), second(fixture::plan(), "fp32");
  first.train();
  second.train();
  CHECK(first.gradients() == second.gradients());
}

TEST_CASE("AdamW reaches the parameters of every class and keeps poles inside (0, 1)") {
  Bench bench(fixture::plan(), "fp32");
  const striped::OptimizerStep step{10.0f, 0.1f, 0.05f, 1.0f};  // a rate that would throw a raw pole out
  striped::DeviceBuffer settings(*bench.backend, sizeof step), norm(*bench.backend, sizeof(double));
  bench.backend->upload(settings.at(), &step, sizeof step);
  bench.train();
  std::vector<std::vector<double>> before;
  for (std::size_t p = 0; p < bench.table.parameters().size(); ++p)
    before.push_back(bench.store.values(static_cast<int>(p)));
  bench.store.update({0.9f, 0.95f, 1e-8f, 0.0f, 0.0f},
                     static_cast<const striped::OptimizerStep*>(settings.at()),
                     static_cast<double*>(norm.at()));
  for (std::size_t p = 0; p < before.size(); ++p) {
    const striped::Parameter& parameter = bench.table.parameters()[p];
    INFO(parameter.name);
    const std::vector<double> after = bench.store.values(static_cast<int>(p));
    CHECK(after != before[p]);
    if (parameter.kind == striped::ParameterClass::log_pole)
      for (const double value : after) CHECK(value < 0);
  }
}
