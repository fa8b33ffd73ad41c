// A recorded training step does what the step does: same bits, new inputs and learning rates included.
#include <doctest/doctest.h>

#include "core/timing_backend.h"
#include "core/training_step.h"
#include "core_fixture.h"
#include "recording_backend.h"

namespace {

using fixture::json;
using fixture::RecordingBackend;

// A run of its own from the plan's initial weights.
struct Run {
  Run(const json& text, const std::string& precision, bool record)
      : plan(striped::parse_plan(text)),
        backend(striped::make_cpu_backend(precision, 2)),
        ranks(striped::only_rank(backend)),
        table(plan.model, plan.run.init_std),
        store(table, backend, striped::ParameterStore::Keep::optimizer),
        model(plan.model, {plan.run.micro_batch, plan.run.sequence, plan.run.recompute_blocks, true}, table,
              backend, ranks),
        step(plan.run, model, store, ranks, backend, record) {
    store.initialise(1, plan.run.sequence);
    model.allocate();
  }

  // Random tokens of step `number`; `weighted`: targets of unequal weight.
  striped::SampleBatch batch(std::int64_t number, bool weighted) const {
    striped::SampleBatch result;
    const std::int64_t count = plan.run.micro_batch * plan.run.accumulation * plan.run.sequence;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto counter = static_cast<std::uint64_t>(number * count + i);
      const auto vocab = static_cast<std::uint64_t>(plan.model.vocab);
      result.tokens.push_back(static_cast<std::int32_t>(striped::random_bits(1, 1, counter) % vocab));
      result.targets.push_back(static_cast<std::int32_t>(striped::random_bits(1, 2, counter) % vocab));
      result.weights.push_back(weighted && (i + number) % 3 == 0 ? 0.1f : 1.0f);
      result.total_weight += result.weights.back();
    }
    return result;
  }

  // Loss and gradient norm of each of `steps` steps, with an evaluation in between as in training.
  std::vector<double> train(int steps, bool weighted) {
    std::vector<double> told;
    for (int number = 1; number <= steps; ++number) {
      const striped::SampleBatch inputs = batch(number, weighted);
      const auto result = step.run(inputs, number, 1e-3 * number);
      told.push_back(result.loss_sum);
      told.push_back(std::sqrt(result.squared_norm) * result.scale);
      if (number % 2 == 0)
        model.evaluate(store, {inputs.targets.data(), inputs.tokens.data(), inputs.weights.data()});
    }
    return told;
  }
  std::vector<std::vector<double>> values() const {
    std::vector<std::vector<double>> result;
    for (std::size_t i = 0; i < table.parameters().size(); ++i)
      result.push_back(store.values(static_cast<int>(i)));
    return result;
  }

  striped::Plan plan;
  RecordingBackend backend;
  striped::RankGroups ranks;
  striped::ParameterTable table;
  striped::ParameterStore store;
  striped::Model model;
  striped::TrainingStep step;
};

constexpr int kSteps = 7;
constexpr int kReplayed = kSteps - striped::TrainingStep::kWarmUp;

}  // namespace

TEST_CASE("a recorded step changes no bit") {
  json plan = fixture::plan();
  int replays = kReplayed;
  SUBCASE("one micro-batch: the whole step") {}
  SUBCASE("accumulated micro-batches: one of them") {
    plan["run"]["accumulation"] = 3;
    replays = 3 * kReplayed;
  }
  SUBCASE("recomputed blocks") { plan["run"]["recompute"] = "blocks"; }
  for (const std::string precision : {"fp64", "fp32"}) {
    Run plain(plan, precision, false), recorded(plan, precision, true);
    CHECK(plain.train(kSteps, false) == recorded.train(kSteps, false));
    CHECK(plain.values() == recorded.values());
    CHECK(plain.backend.recordings == 0);
    CHECK(!plain.step.replaying());
    CHECK(recorded.backend.recordings == 1);
    CHECK(recorded.backend.replays == replays);
    CHECK(recorded.step.replaying());
  }
}

TEST_CASE("a recorded step follows weights that change from step to step") {
  json plan = fixture::plan();
  SUBCASE("one micro-batch") {}
  SUBCASE("accumulated micro-batches") { plan["run"]["accumulation"] = 2; }
  Run plain(plan, "fp64", false), recorded(plan, "fp64", true);
  const auto expected = plain.train(kSteps, true), actual = recorded.train(kSteps, true);
  for (std::size_t i = 0; i < expected.size(); ++i)
    CHECK(actual[i] == doctest::Approx(expected[i]).epsilon(1e-5));  // OptimizerStep holds floats
  CHECK(recorded.step.replaying());
}

TEST_CASE("where a backend cannot record, asking for it changes nothing") {
  fixture::Bench asked(fixture::plan(), "fp32");
  striped::TrainingStep step(asked.plan.run, asked.model, asked.store, asked.ranks, *asked.backend, true);
  Run plain(fixture::plan(), "fp32", false);
  for (int number = 1; number <= kSteps; ++number) {
    const striped::SampleBatch inputs = plain.batch(number, true);
    const auto expected = plain.step.run(inputs, number, 1e-3), actual = step.run(inputs, number, 1e-3);
    CHECK(actual.loss_sum == expected.loss_sum);
    CHECK(actual.squared_norm == expected.squared_norm);
    CHECK(actual.scale == expected.scale);
  }
  CHECK(!step.replaying());
}

TEST_CASE("a backend whose calls are timed joins other ranks as it does untimed") {
  RecordingBackend real(striped::make_cpu_backend("fp32", 1));
  striped::TimingBackend timed(real);
  const auto ranks = timed.join({0, 1, [](void*, std::size_t) {}});
  REQUIRE(ranks != nullptr);
  CHECK(ranks->size() == 1);
  CHECK(timed.device_id() == real.device_id());
}
