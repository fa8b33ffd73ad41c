#include "core/trainer.h"

#include <chrono>
#include <cmath>
#include <limits>

#include "core/filter_report.h"
#include "core/flops.h"
#include "core/schedule.h"
#include "striped/error.h"

namespace striped {
namespace {

using nlohmann::json;

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
constexpr double kStatusInterval = 0.25;  // seconds
constexpr std::int64_t kFilterReportEvery = 10;
constexpr double kRequestInterval = 0.5;  // seconds between two looks for a request

Plan effective_plan(const TrainOptions& options) {
  Plan plan = read_plan(options.plan);
  if (options.steps) {
    if (*options.steps < 1) throw Error("steps", "the number of steps must be at least 1");
    plan.json["run"]["steps"] = plan.run.steps = *options.steps;
  }
  if (!options.precision.empty()) {
    plan.run.precision = options.precision;
    if (options.precision != "fp64") plan.json["run"]["precision"] = options.precision;
  }
  const PlanParallel& parallel = plan.run.parallel;
  const std::int64_t ranks = std::int64_t{parallel.tensor} * parallel.context * parallel.data;
  if (ranks != 1)
    throw Error("parallel-ranks", "the plan is for " + std::to_string(ranks) +
                                      " devices and this process trains on one; compile the run with tensor, "
                                      "context and data parallel of 1");
  return plan;
}

json number(double value) { return std::isfinite(value) ? json(value) : json(nullptr); }

}  // namespace

struct Trainer::Prepared {
  explicit Prepared(const TrainOptions& options)
      : plan(effective_plan(options)),
        data(plan.run.data, plan.model.vocab, plan.run.sequence),
        choice(choose_backend(options.backend, plan.run.precision, options.threads, options.device)),
        backend(*choice.backend),
        communicator(backend),
        table(plan.model, plan.run.init_std),
        store(table, backend, ParameterStore::Keep::optimizer),
        model(plan.model, {plan.run.micro_batch, plan.run.sequence, plan.run.recompute_blocks, true}, table,
              backend),
        step(plan.run, allocated(model), store, communicator, backend, recording_wanted()) {}

  static Model& allocated(Model& model) {
    model.allocate();
    return model;
  }

  std::int64_t windows() const { return plan.run.micro_batch * plan.run.accumulation; }
  std::size_t memory_bytes() const {
    return store.weight_bytes() + store.gradient_bytes() + store.optimizer_bytes() + model.arena_bytes() +
           model.constant_bytes();
  }

  Plan plan;
  Dataset data;
  BackendChoice choice;
  Backend& backend;
  SingleRank communicator;
  ParameterTable table;
  ParameterStore store;
  Model model;
  TrainingStep step;
  std::optional<TensorBoard> tensorboard;
  bool resumed = false;
};

Trainer::Trainer(const TrainOptions& options)
    : options_(options), directory_(options.out, options.resume), loss_(kUnknown), held_out_loss_(kUnknown) {}

Trainer::~Trainer() = default;

TrainResult Trainer::run() {
  try {
    prepare();
    start_or_resume();
    return train_to_the_end();
  } catch (const std::bad_alloc&) {
    const Error error("out-of-memory",
                      "there is not enough memory for this run; lower micro-batch or sequence, or "
                      "set `recompute blocks`");
    fail(error.what());
    throw error;
  } catch (const std::exception& error) {
    fail(error.what());
    throw;
  }
}

void Trainer::prepare() {
  // What the status says until the plan is read; `cpu` is one of the two values that readers know.
  status_.backend = options_.backend == "cuda" ? "cuda" : "cpu";
  set_state("starting");
  run_ = std::make_unique<Prepared>(options_);
  status_.run = run_->plan.name;
  status_.model = run_->plan.model.name;
  status_.backend = run_->backend.name();
  status_.device = run_->backend.device_name();
  status_.steps = run_->plan.run.steps;
  if (!run_->choice.note.empty()) notice(run_->choice.note);
}

void Trainer::start_or_resume() {
  std::optional<FoundCheckpoint> found;
  if (options_.resume)
    found = newest_checkpoint(directory_.checkpoints(), [this](const std::string& text) { notice(text); });
  const bool branches = !options_.resume && !options_.from.empty();
  if (found) {
    resume_from(*found);
  } else if (branches) {
    branch_from(read_checkpoint(options_.from));
  } else {
    if (options_.resume)
      notice("there is no whole checkpoint to resume from; the run starts from the beginning");
    run_->store.initialise(run_->plan.run.seed, run_->plan.run.sequence);
  }
  run_->resumed = options_.resume;
  if (options_.resume) directory_.rewind_events(found ? step_ : -1);
  directory_.write_plan(run_->plan.json);
  run_->tensorboard.emplace(directory_.path(), step_ + 1);
  status_.step = step_;
  set_state("running");
  tell_start();
  // Its own from the start: to resume the branch, what it came from need not be there any more.
  if (branches) checkpoint(step_);
}

void Trainer::resume_from(const FoundCheckpoint& found) {
  if (found.state.training_hash != training_hash(run_->plan))
    throw Error("resume-plan",
                "the checkpoint " + found.path.string() +
                    " was trained under another plan (model, data, optimiser, batch or seed "
                    "differ); resume with the plan.json of its run directory, or start a new run");
  if (found.state.backend != run_->backend.name() || found.state.precision != run_->choice.precision ||
      found.state.threads != run_->choice.threads)
    notice("the checkpoint was made by " + found.state.backend + ", " + found.state.precision + ", " +
           std::to_string(found.state.threads) +
           " threads; the run goes on, but not bit for bit as it would have there");
  load_checkpoint(found, run_->store);
  step_ = checkpoint_step_ = found.state.step;
  loss_ = found.state.loss;
  directory_.log("resumed from " + found.path.string());
}

void Trainer::branch_from(const FoundCheckpoint& found) {
  const std::int64_t step = found.state.step, steps = run_->plan.run.steps;
  if (step >= steps)
    throw Error("branch-steps", "the checkpoint " + found.path.string() + " is of step " +
                                    std::to_string(step) + " and the run has " + std::to_string(steps) +
                                    " steps; a branch goes on counting, so give the run more steps");
  try {
    load_checkpoint(found, run_->store);
  } catch (const Error& error) {
    throw Error("branch-model", "the run cannot go on from " + found.path.string() + ": " + error.what() +
                                    "; its model must have the same weights");
  }
  step_ = step;
  loss_ = found.state.loss;
  directory_.log("branched from " + found.path.string());
}

TrainResult Trainer::train_to_the_end() {
  const PlanRun& plan = run_->plan.run;
  const auto due = [&](std::int64_t every) {
    return step_ == plan.steps || (every > 0 && step_ % every == 0);
  };
  if (step_ >= plan.steps) {
    held_out_loss_ = evaluate();
    return finish("completed", step_);
  }
  while (step_ < plan.steps) {
    if (stop_requested()) {
      set_state("stopping");
      if (step_ > checkpoint_step_) checkpoint(step_);
      return finish("stopped", step_);
    }
    const StepReport report = train_step(step_ + 1);
    require_finite(step_ + 1, report);
    ++step_;
    loss_ = report.loss;
    tell_step(step_, report);
    if (due(plan.evaluate_every)) evaluate_and_tell(step_);
    if (due(plan.checkpoint_every) || checkpoint_requested()) checkpoint(step_);
  }
  return finish("completed", step_);
}

Trainer::StepReport Trainer::train_step(std::int64_t step) {
  const auto start = std::chrono::steady_clock::now();
  Prepared& run = *run_;
  const PlanRun& plan = run.plan.run;
  const auto windows = static_cast<std::uint64_t>(run.windows());
  const auto ranks = static_cast<std::uint64_t>(run.communicator.size());
  const std::uint64_t first =
      (static_cast<std::uint64_t>(step - 1) * ranks + static_cast<std::uint64_t>(run.communicator.rank())) *
      windows;
  const SampleBatch batch = run.data.training(plan.seed, first, run.windows());
  const double rate = learning_rate(plan.schedule, plan.optimizer.lr, step, plan.steps);
  const TrainingStep::Result result = run.step.run(batch, step, rate);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  const double total = batch.total_weight > 0 ? batch.total_weight : 1;
  return {result.loss_sum / total, std::sqrt(result.squared_norm) * result.scale, rate, seconds.count()};
}

void Trainer::require_finite(std::int64_t step, const StepReport& report) const {
  if (std::isfinite(report.loss) && std::isfinite(report.gradient_norm)) return;
  const std::string what = std::isfinite(report.loss) ? "gradient norm" : "loss";
  const std::string kept = checkpoint_step_ > 0
                               ? "the last checkpoint is of step " + std::to_string(checkpoint_step_)
                               : std::string("there is no checkpoint before it");
  throw Error("loss-not-finite", "the " + what + " is not finite at step " + std::to_string(step) + "; " +
                                     kept +
                                     "; lower the learning rate, lengthen the warm-up or clip the gradient");
}

double Trainer::evaluate() const {
  Prepared& run = *run_;
  const std::int64_t windows = run.data.held_out_windows();
  if (windows == 0) return kUnknown;
  double weight = 0;
  run.model.clear_loss();
  for (std::int64_t first = 0; first < windows; first += run.plan.run.micro_batch) {
    const SampleBatch batch = run.data.held_out(first, run.plan.run.micro_batch);
    run.model.evaluate(run.store, {batch.tokens.data(), batch.targets.data(), batch.weights.data()});
    weight += batch.total_weight;
  }
  return weight > 0 ? run.model.loss_sum() / weight : kUnknown;
}

void Trainer::evaluate_and_tell(std::int64_t step) {
  held_out_loss_ = evaluate();
  if (std::isnan(held_out_loss_)) return;
  directory_.append_event({{"type", "evaluation"},
                           {"step", step},
                           {"heldOutLoss", held_out_loss_},
                           {"tokens", run_->data.held_out_targets()}});
  run_->tensorboard->scalars(step, {{"held-out loss", held_out_loss_}});
}

bool Trainer::checkpoint_requested() {
  const double now = unix_seconds();
  // A clock that was set back must not put requests off.
  if (std::abs(now - last_request_look_) < kRequestInterval) return false;
  last_request_look_ = now;
  return directory_.take_checkpoint_request();
}

void Trainer::checkpoint(std::int64_t step) {
  const CheckpointState state{step,
                              static_cast<std::uint64_t>(step * run_->windows()),
                              training_hash(run_->plan),
                              run_->backend.name(),
                              run_->choice.precision,
                              run_->choice.threads,
                              loss_};
  const std::string name = write_checkpoint(directory_.checkpoints(), state, run_->store);
  checkpoint_step_ = step;
  directory_.append_event({{"type", "checkpoint"}, {"step", step}, {"path", "checkpoints/" + name}});
}

void Trainer::tell_start() {
  const Dataset& data = run_->data;
  directory_.append_event({{"type", "start"},
                           {"step", step_},
                           {"resumed", run_->resumed},
                           {"backend", run_->backend.name()},
                           {"device", run_->backend.device_name()},
                           {"threads", run_->choice.threads},
                           {"parameters", run_->table.count()},
                           {"trainTokens", data.train_tokens()},
                           {"heldOutTokens", data.held_out_tokens()},
                           {"compositionEntropy", data.composition_entropy()}});
  directory_.log("training " + run_->plan.name + " on " + run_->backend.device_name() + ", " +
                 run_->choice.precision + ", from step " + std::to_string(step_));
}

void Trainer::tell_step(std::int64_t step, const StepReport& report) {
  Prepared& run = *run_;
  const double tokens = static_cast<double>(run.windows() * run.plan.run.sequence);
  const double rate = tokens / report.seconds;
  const double peak = run.backend.peak_flops();
  const double mfu = rate * model_flops_per_token(run.plan.model, run.plan.run.sequence) / peak;
  json event = {{"type", "step"},
                {"step", step},
                {"loss", report.loss},
                {"lr", report.learning_rate},
                {"gradNorm", report.gradient_norm},
                {"tokensPerSecond", rate},
                {"mfu", number(mfu)},
                {"memoryBytes", run.memory_bytes()},
                {"stepTimeMs", report.seconds * 1e3}};
  if (step == 1 || step % kFilterReportEvery == 0) {
    const auto add = [&](const char* name, json layers) {
      if (!layers.empty()) event[name] = std::move(layers);
    };
    add("filterNorms", filter_norms(run.plan.model, run.table, run.store));
    add("timeConstants", time_constants(run.plan.model, run.table, run.store));
  }
  directory_.append_event(std::move(event));
  run.tensorboard->scalars(step, {{"loss", report.loss},
                                  {"learning rate", report.learning_rate},
                                  {"gradient norm", report.gradient_norm},
                                  {"tokens per second", rate}});
  status_.step = step;
  if (unix_seconds() - last_status_ > kStatusInterval) set_state("running");
}

void Trainer::set_state(const std::string& state, const std::string& reason) {
  status_.state = state;
  status_.exit_reason = reason;
  directory_.write_status(status_);
  last_status_ = unix_seconds();
}

TrainResult Trainer::finish(const std::string& state, std::int64_t step) {
  const std::string reason = state == "completed" ? "all steps are done" : "stopped on request";
  directory_.append_event({{"type", "end"}, {"step", step}, {"state", state}, {"reason", reason}});
  directory_.take_checkpoint_request();  // granted by the checkpoint of the end
  directory_.log(state + " at step " + std::to_string(step));
  status_.step = step;
  set_state(state, reason);
  return {state, step, loss_, held_out_loss_, run_->data.composition_entropy()};
}

// Each part on its own: the disk may be what failed.
void Trainer::fail(const std::string& reason) noexcept {
  status_.step = step_;
  const auto attempt = [](const auto& action) {
    try {
      action();
    } catch (...) {  // NOLINT: there is nobody left to tell
    }
  };
  attempt([&] { set_state("failed", reason); });
  attempt([&] {
    directory_.append_event({{"type", "end"}, {"step", step_}, {"state", "failed"}, {"reason", reason}});
  });
  attempt([&] { directory_.log("failed: " + reason); });
}

void Trainer::notice(const std::string& text) {
  directory_.log(text);
  if (options_.notice) options_.notice(text);
}

TrainResult train(const TrainOptions& options) { return Trainer(options).run(); }

}  // namespace striped
