// Whole training steps of given plans.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>

#include "bench/measure.h"
#include "bench/random_batch.h"
#include "core/run_setup.h"
#include "striped/bench.h"
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

// A plan's model on a backend, ready to step; every rank has one.
class Trial {
 public:
  Trial(const Plan& plan, Backend& backend, const RankGroups& ranks, const parallel::Launch& launch)
      : plan_(plan),
        backend_(backend),
        ranks_(ranks),
        launch_(launch),
        sharing_(parallel::sharing_of(plan.run.parallel, ranks.place)),
        table_(plan.model, plan.run.init_std, ranks.place.tensor, sharing_.part.count),
        model_(plan.model,
               {plan.run.micro_batch, plan.run.sequence, plan.run.recompute_blocks, /*training=*/true},
               table_, backend_, ranks_) {}

  // By what is going to be allocated.
  PlanMemory memory() const {
    const auto bytes =
        ParameterStore::bytes(table_, backend_.activation_type(), ParameterStore::Keep::optimizer, sharing_);
    PlanMemory memory;
    memory.parameters = bytes.weights + model_.constant_bytes();
    memory.gradients = bytes.gradients;
    memory.optimizer = bytes.optimizer;
    memory.workspace = model_.workspace_bytes();
    memory.activations = model_.arena_bytes() - model_.workspace_bytes();
    return memory;
  }

  void prepare() {
    store_.emplace(table_, backend_, ParameterStore::Keep::optimizer, sharing_);
    model_.allocate();
    store_->initialise_roughly(plan_.run.seed, plan_.run.sequence);
    batch_ = bench::random_batch(tokens() / ranks_.place.data.count, plan_.model.vocab);
    step_.emplace(plan_.run, model_, *store_, ranks_, backend_, recording_wanted());
    timed_step_.emplace(plan_.run, model_, *store_, ranks_, backend_, /*record=*/false);
  }

  // Of a step, over all data ranks.
  std::int64_t tokens() const {
    return plan_.run.micro_batch * plan_.run.accumulation * plan_.run.sequence * ranks_.place.data.count;
  }
  double loss() {
    const TrainingStep::Result result = run(*step_);
    return result.loss_sum / result.total_weight;
  }
  // In seconds; of those of the step, the ones that this rank waited for others.
  struct Times {
    double step, waited;
  };
  Times times() {
    ranks_.waited();  // for what was not this step's
    const double step = duration(*step_);
    return {step, ranks_.waited()};
  }
  // Ranks make as many steps: what one finds enough is enough.
  bool agree(bool enough) const { return launch_.any(enough); }

  // A few steps whose calls are timed one by one: of each kind the least, of the steps the shortest.
  void time_parts(PlanMeasurement& result) {
    const Clock::time_point start = Clock::now();
    for (int step = 0; step < kMostTimed && (step == 0 || !agree(since(start) >= kTimedEnough)); ++step) {
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
  TrainingStep::Result run(TrainingStep& step) { return step.run(batch_, ++count_, kLearningRate); }
  double duration(TrainingStep& step) {
    const Clock::time_point start = Clock::now();
    run(step);
    return since(start);
  }

  const Plan& plan_;
  TimingBackend backend_;
  const RankGroups& ranks_;
  const parallel::Launch& launch_;
  Sharing sharing_;
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
  for (int step = 1; step < TrainingStep::kWarmUp && !trial.agree(since(start) >= kEnough); ++step)
    trial.loss();
  std::vector<Trial::Times> times;
  double sum = 0;
  const auto enough = [&] {
    const int count = static_cast<int>(times.size());
    if (wanted > 0) return count >= wanted;
    return count >= kMostSteps || (count >= kFewestSteps && sum >= kEnough);
  };
  while (!trial.agree(enough())) {
    times.push_back(trial.times());
    sum += times.back().step;
  }
  std::sort(times.begin(), times.end(), [](const auto& a, const auto& b) { return a.step < b.step; });
  const Trial::Times& median = times[times.size() / 2];
  result.steps = static_cast<int>(times.size());
  result.least = times.front().step;
  result.most = times.back().step;
  result.seconds = median.step;
  result.waited = median.waited;
}

// `alike`: whether what is thrown is thrown by every rank, so that all of them can go on.
void measure(const PlanBenchOptions& options, const parallel::Launch& launch, PlanMeasurement& result,
             bool& alike) {
  TrainOptions of_plan;
  of_plan.plan = result.file;
  const Plan plan = shared_plan(of_plan, launch);
  result.plan = plan.name;
  result.ranks = launch.size();
  const BackendChoice choice =
      choose_rank_backend(options.backend, plan.run.precision, options.threads, options.device, launch);
  result.precision = choice.precision;
  result.device = choice.backend->device_name();
  PlanMemory memory;
  const DeviceMemory before = choice.backend->device_memory();
  alike = false;
  const RankGroups ranks = make_ranks(plan.run.parallel, *choice.backend, launch);
  alike = true;
  std::optional<Trial> trial;
  launch.together([&] {
    trial.emplace(plan, *choice.backend, ranks, launch);
    memory = trial->memory();
    memory.context = before.used;
    memory.total = before.total;
    require_room(memory);
    trial->prepare();
  });
  alike = false;
  time_steps(*trial, options.steps, result);
  // Operators on pieces of sequences are not timed.
  if (plan.run.parallel.context == 1) trial->time_parts(result);
  memory.used = choice.backend->device_memory().used;
  result.memory = memory;
  result.tokens = trial->tokens();
}

// The first rank measures what its device does by itself.
PlanBenchHead head_of(const PlanBenchOptions& options, const parallel::Launch& launch) {
  const std::string precision = options.backend == "cpu" ? "fp32" : "bf16";
  const BackendChoice choice =
      choose_rank_backend(options.backend, precision, options.threads, options.device, launch);
  PlanBenchHead head{
      choice.backend->name(), choice.backend->device_name(),         choice.backend->driver(), version(),
      /*copy_rate=*/0,
      /*matrix_rate=*/0,      choice.backend->device_memory().total, options.plans.size(),     launch.size()};
  if (!launch.first()) return head;
  const bench::Measure rates(*choice.backend, /*fp8=*/false, kRateRuns);
  head.copy_rate = rates.copy_rate();
  head.matrix_rate = rates.matrix_rate();
  return head;
}

std::size_t bench_on(const parallel::Launch& launch, const PlanBenchOptions& options,
                     const std::function<void(const PlanBenchHead&)>& begun,
                     const std::function<void(const PlanMeasurement&)>& told) {
  const PlanBenchHead head = head_of(options, launch);
  if (launch.first()) begun(head);
  const Clock::time_point start = Clock::now();
  for (std::size_t i = 0; i < options.plans.size(); ++i) {
    if (options.budget > 0 && launch.any(since(start) > options.budget)) return options.plans.size() - i;
    PlanMeasurement result;
    result.file = options.plans[i];
    bool alike = true;
    try {
      measure(options, launch, result, alike);
    } catch (const Error& error) {
      if (!alike && launch.size() > 1) throw;
      result.skipped = error.what();
    } catch (const std::bad_alloc&) {
      if (!alike && launch.size() > 1) throw;
      result.skipped = "there is not enough memory";
    }
    if (launch.first()) told(result);
  }
  return 0;
}

}  // namespace

std::size_t bench_plans(const PlanBenchOptions& options,
                        const std::function<void(const PlanBenchHead&)>& begun,
                        const std::function<void(const PlanMeasurement&)>& told) {
  parallel::Launch launch;
  std::size_t left = 0;
  launch.under_watch(end_of(options.lost),
                     [&](parallel::Lifeline*) { left = bench_on(launch, options, begun, told); });
  return launch.first() ? left : 0;
}

}  // namespace striped
