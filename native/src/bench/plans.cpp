// Whole training steps of given plans.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>

#include "bench/measure.h"
#include "bench/random_batch.h"
#include "core/backend_choice.h"
#include "core/timing_backend.h"
#include "core/training_step.h"
#include "striped/bench.h"
#include "striped/engine.h"
#include "striped/error.h"

namespace striped {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kFewestSteps = 3, kMostSteps = 25, kMostTimed = 3;
constexpr double kEnough = 0.6, kTimedEnough = 0.2;  // seconds of steps behind a median, behind the parts
constexpr int kRateRuns = 7;
constexpr double kLearningRate = 1e-5;
constexpr double kLeastFree = 0.02;  // share of the device's memory that stays free

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::string gibibytes(std::size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GiB", static_cast<double>(bytes) / (1u << 30));
  return text;
}

void require_one_rank(const Plan& plan) {
  const PlanParallel& parallel = plan.run.parallel;
  if (parallel.tensor * parallel.context * parallel.data != 1)
    throw Error("parallel-ranks", "the plan is for several devices");
}

// A plan's model on a backend, ready to step.
class Trial {
 public:
  Trial(const Plan& plan, Backend& backend)
      : plan_(plan),
        backend_(backend),
        ranks_(only_rank(backend_)),
        table_(plan.model, plan.run.init_std),
        model_(plan.model,
               {plan.run.micro_batch, plan.run.sequence, plan.run.recompute_blocks, /*training=*/true},
               table_, backend_, ranks_) {}

  // By what is going to be allocated.
  PlanMemory memory() const {
    const auto bytes =
        ParameterStore::bytes(table_, backend_.activation_type(), ParameterStore::Keep::optimizer);
    PlanMemory memory;
    memory.parameters = bytes.weights + model_.constant_bytes();
    memory.gradients = bytes.gradients;
    memory.optimizer = bytes.optimizer;
    memory.workspace = model_.workspace_bytes();
    memory.activations = model_.arena_bytes() - model_.workspace_bytes();
    return memory;
  }

  void prepare() {
    store_.emplace(table_, backend_, ParameterStore::Keep::optimizer);
    model_.allocate();
    store_->initialise_roughly(plan_.run.seed, plan_.run.sequence);
    batch_ = bench::random_batch(tokens(), plan_.model.vocab);
    step_.emplace(plan_.run, model_, *store_, ranks_, backend_, recording_wanted());
    timed_step_.emplace(plan_.run, model_, *store_, ranks_, backend_, /*record=*/false);
  }

  std::int64_t tokens() const { return plan_.run.micro_batch * plan_.run.accumulation * plan_.run.sequence; }
  double loss() { return run(*step_) / batch_.total_weight; }
  double seconds() { return duration(*step_); }

  // A few steps whose calls are timed one by one: of each kind the least, of the steps the shortest.
  void time_parts(PlanMeasurement& result) {
    const Clock::time_point start = Clock::now();
    for (int step = 0; step < kMostTimed && (step == 0 || since(start) < kTimedEnough); ++step) {
      backend_.listen();
      const double seconds = duration(*timed_step_);
      const std::vector<PlanPart> parts = backend_.heard();
      if (step == 0) result.parts = parts;
      result.timed_seconds = step == 0 ? seconds : std::min(result.timed_seconds, seconds);
      for (std::size_t i = 0; i < parts.size(); ++i)
        result.parts[i].seconds = std::min(result.parts[i].seconds, parts[i].seconds);
    }
  }

 private:
  double run(TrainingStep& step) { return step.run(batch_, ++count_, kLearningRate).loss_sum; }
  double duration(TrainingStep& step) {
    const Clock::time_point start = Clock::now();
    run(step);
    return since(start);
  }

  const Plan& plan_;
  TimingBackend backend_;
  RankGroups ranks_;
  ParameterTable table_;
  Model model_;
  std::optional<ParameterStore> store_;
  SampleBatch batch_;
  std::optional<TrainingStep> step_, timed_step_;
  std::int64_t count_ = 0;
};

void require_room(const PlanMemory& memory) {
  if (memory.total == 0) return;
  const auto needed = static_cast<double>(memory.parameters + memory.gradients + memory.optimizer +
                                          memory.activations + memory.workspace);
  const auto total = static_cast<double>(memory.total);
  if (needed + static_cast<double>(memory.context) <= (1 - kLeastFree) * total) return;
  throw Error("out-of-memory", "it needs " + gibibytes(static_cast<std::size_t>(needed)) + " beside the " +
                                   gibibytes(memory.context) + " in use, of " + gibibytes(memory.total));
}

void time_steps(Trial& trial, int wanted, PlanMeasurement& result) {
  result.loss = trial.loss();  // kernels are chosen in it
  const Clock::time_point start = Clock::now();
  for (int step = 1; step < TrainingStep::kWarmUp && since(start) < kEnough; ++step) trial.loss();
  std::vector<double> times;
  double sum = 0;
  const auto enough = [&] {
    const int count = static_cast<int>(times.size());
    if (wanted > 0) return count >= wanted;
    return count >= kMostSteps || (count >= kFewestSteps && sum >= kEnough);
  };
  while (!enough()) {
    times.push_back(trial.seconds());
    sum += times.back();
  }
  std::sort(times.begin(), times.end());
  result.steps = static_cast<int>(times.size());
  result.least = times.front();
  result.most = times.back();
  result.seconds = times[times.size() / 2];
}

void measure(const PlanBenchOptions& options, PlanMeasurement& result) {
  const Plan plan = read_plan(result.file);
  result.plan = plan.name;
  require_one_rank(plan);
  const BackendChoice choice =
      choose_backend(options.backend, plan.run.precision, options.threads, options.device);
  result.precision = choice.precision;
  result.device = choice.backend->device_name();
  const DeviceMemory before = choice.backend->device_memory();
  Trial trial(plan, *choice.backend);
  PlanMemory memory = trial.memory();
  memory.context = before.used;
  memory.total = before.total;
  require_room(memory);
  trial.prepare();
  time_steps(trial, options.steps, result);
  trial.time_parts(result);
  memory.used = choice.backend->device_memory().used;
  result.memory = memory;
  result.tokens = trial.tokens();
}

PlanBenchHead head_of(const PlanBenchOptions& options) {
  const std::string precision = options.backend == "cpu" ? "fp32" : "bf16";
  const BackendChoice choice = choose_backend(options.backend, precision, options.threads, options.device);
  const bench::Measure rates(*choice.backend, /*fp8=*/false, kRateRuns);
  return {choice.backend->name(),
          choice.backend->device_name(),
          choice.backend->driver(),
          version(),
          rates.copy_rate(),
          rates.matrix_rate(),
          choice.backend->device_memory().total,
          options.plans.size()};
}

}  // namespace

std::size_t bench_plans(const PlanBenchOptions& options,
                        const std::function<void(const PlanBenchHead&)>& begun,
                        const std::function<void(const PlanMeasurement&)>& told) {
  begun(head_of(options));
  const Clock::time_point start = Clock::now();
  for (std::size_t i = 0; i < options.plans.size(); ++i) {
    if (options.budget > 0 && since(start) > options.budget) return options.plans.size() - i;
    PlanMeasurement result;
    result.file = options.plans[i];
    try {
      measure(options, result);
    } catch (const Error& error) {
      result.skipped = error.what();
    } catch (const std::bad_alloc&) {
      result.skipped = "there is not enough memory";
    }
    told(result);
  }
  return 0;
}

}  // namespace striped
