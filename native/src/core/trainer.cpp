#include "core/trainer.h"

#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

#include "core/filter_report.h"
#include "core/flops.h"
#include "core/schedule.h"
#include "parallel/activity.h"
#include "striped/error.h"

namespace striped {
namespace {

using nlohmann::json;

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t kFilterReportEvery = 10;
// Caches and memory are warm, kernels chosen.
constexpr int kTimedStep = 3;
constexpr double kRequestInterval = 0.5;  // seconds between two looks for a request

json number(double value) { return std::isfinite(value) ? json(value) : json(nullptr); }

}  // namespace

Trainer::Trainer(const TrainOptions& options, const parallel::Launch& launch)
    : options_(options),
      launch_(launch),
      record_(options.out, options.resume, launch.first()),
      loss_(kUnknown),
      held_out_loss_(kUnknown) {}

TrainResult Trainer::run(parallel::Lifeline* lifeline) {
  lifeline_ = lifeline;
  try {
    prepare();
    start_or_resume();
    return train_to_the_end();
  } catch (const std::bad_alloc&) {
    const Error error("out-of-memory",
                      "there is not enough memory for this run; lower micro-batch or sequence, or "
                      "set `recompute blocks`");
    record_.fail(step_, error.what());
    throw error;
  } catch (const std::exception& error) {
    record_.fail(step_, error.what());
    throw;
  }
}

void Trainer::prepare() {
  // What the status says until the plan is read; `cpu` is one of the two values that readers know.
  RunStatus& status = record_.status();
  status.backend = options_.backend == "cuda" ? "cuda" : "cpu";
  record_.state("starting");
  if (!options_.resume) record_.keep_origin(options_.from);
  run_ = std::make_unique<RunSetup>(options_, launch_);
  status.run = run_->plan.name;
  status.model = run_->plan.model.name;
  status.backend = run_->backend.name();
  status.device = run_->backend.device_name();
  if (launch_.size() > 1) status.device = std::to_string(launch_.size()) + " × " + status.device;
  status.steps = run_->plan.run.steps;
  if (!run_->choice.note.empty()) notice(run_->choice.note);
  if (lifeline_ != nullptr && !lifeline_->unwatched().empty())
    notice("the first rank cannot be reached from " + lifeline_->unwatched() +
           " by TCP: should that rank be lost, the launcher has to end the run");
}

void Trainer::start_or_resume() {
  std::optional<FoundCheckpoint> found;
  launch_.together([&] {
    if (options_.resume && launch_.first()) {
      remove_unfinished(record_.checkpoints());
      found = newest_checkpoint(record_.checkpoints(), [this](const std::string& text) { notice(text); });
    }
    if (found) require_same_training(*found);
  });
  const bool resumes = launch_.any(found.has_value());
  launch_.together([&] {
    if (resumes || !launch_.first()) return;
    const std::filesystem::path origin = record_.origin();
    if (origin.empty()) return;
    found = read_checkpoint(origin);
    require_steps_left(*found);
  });
  const bool branches = !resumes && launch_.any(found.has_value());
  if (resumes) {
    resume_from(found.value_or(FoundCheckpoint{}));
  } else if (branches) {
    branch_from(found.value_or(FoundCheckpoint{}));
  } else {
    if (options_.resume)
      notice("there is no whole checkpoint to resume from; the run starts from the beginning");
    run_->store.initialise(run_->plan.run.seed, run_->plan.run.sequence);
  }
  record_.begin(run_->plan.json, step_, options_.resume, resumes || branches);
  record_.state("running");
  tell_start();
  // Its own from the start: to resume the branch, what it came from need not be there any more.
  if (branches) checkpoint(step_);
}

void Trainer::require_same_training(const FoundCheckpoint& found) const {
  if (found.state.training_hash != training_hash(run_->plan))
    throw Error("resume-plan",
                "the checkpoint " + found.path.string() +
                    " was trained under another plan (model, data, optimiser, batch or seed "
                    "differ); resume with the plan.json of its run directory, or start a new run");
  const std::string& data = found.state.data;
  if (!data.empty() && data != run_->data_fingerprint)
    throw Error("resume-data", "the data of this run has changed: the checkpoint " + found.path.string() +
                                   " was trained on " + data + ", now there are " + run_->data_fingerprint +
                                   "; bring the files back, or start a new run from the checkpoint (--from)");
}

void Trainer::resume_from(const FoundCheckpoint& found) {
  const CheckpointState& state = found.state;
  if (launch_.first() &&
      (state.backend != run_->backend.name() || state.precision != run_->choice.precision ||
       state.threads != run_->choice.threads || state.parallel != parallel_text(run_->plan.run.parallel)))
    notice("the checkpoint was made by " + state.backend + ", " + state.precision + ", " +
           std::to_string(state.threads) + " threads, " + state.parallel +
           "; the run goes on, but not bit for bit as it would have there");
  load_checkpoint(found, run_->store, run_->tensors);
  step_ = checkpoint_step_ = static_cast<std::int64_t>(launch_.sum(static_cast<double>(state.step)));
  samples_ = static_cast<std::int64_t>(launch_.sum(static_cast<double>(state.samples)));
  loss_ = launch_.sum(state.loss);
  record_.log("resumed from " + found.path.string());
}

void Trainer::require_steps_left(const FoundCheckpoint& found) const {
  const std::int64_t step = found.state.step, steps = run_->plan.run.steps;
  if (step >= steps)
    throw Error("branch-steps", "the checkpoint " + found.path.string() + " is of step " +
                                    std::to_string(step) + " and the run has " + std::to_string(steps) +
                                    " steps; a branch goes on counting, so give the run more steps");
}

void Trainer::branch_from(const FoundCheckpoint& found) {
  try {
    load_checkpoint(found, run_->store, run_->tensors);
  } catch (const Error& error) {
    throw Error("branch-model", "the run cannot go on from " + found.path.string() + ": " + error.what() +
                                    "; its model must have the same weights");
  }
  step_ = static_cast<std::int64_t>(launch_.sum(static_cast<double>(found.state.step)));
  // The data go on where they were, whatever batches and sequences are now.
  const std::int64_t sequence = run_->plan.run.sequence;
  const double windows = static_cast<double>(found.state.samples) *
                         static_cast<double>(found.state.sequence > 0 ? found.state.sequence : sequence) /
                         static_cast<double>(sequence);
  samples_ = static_cast<std::int64_t>(launch_.sum(std::floor(windows)));
  loss_ = launch_.sum(found.state.loss);
  record_.log("branched from " + found.path.string());
}

// What is waited for the others here belongs to the next step: they may still be at work on the last one.
bool Trainer::agree(bool own) {
  const auto start = std::chrono::steady_clock::now();
  const bool any = launch_.any(own);
  if (launch_.size() > 1)
    agreed_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return any;
}

bool Trainer::stop_requested() { return agree(options_.stop != nullptr && options_.stop->load()); }

bool Trainer::checkpoint_requested() {
  const double now = unix_seconds();
  // A clock that was set back must not put requests off.
  const bool looks = std::abs(now - last_request_look_) >= kRequestInterval;
  if (looks) last_request_look_ = now;
  return agree(looks && record_.take_checkpoint_request());
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
      record_.state("stopping");
      if (step_ > checkpoint_step_) checkpoint(step_);
      return finish("stopped", step_);
    }
    const bool times = times_calls();
    if (times) run_->backend.listen();
    const StepReport report = train_step(step_ + 1);
    require_finite(step_ + 1, report);
    ++step_;
    samples_ += run_->windows() * run_->ranks.place.data.count;
    loss_ = report.loss;
    if (lifeline_ != nullptr) lifeline_->expect_progress();
    tell_step(step_, report);
    if (times) tell_parts(step_, report);
    if (due(plan.evaluate_every)) evaluate_and_tell(step_);
    const bool wanted = checkpoint_requested();
    if (due(plan.checkpoint_every) || wanted) checkpoint(step_);
  }
  return finish("completed", step_);
}

Trainer::StepReport Trainer::train_step(std::int64_t step) {
  const auto start = std::chrono::steady_clock::now();
  RunSetup& run = *run_;
  run.ranks.waited();  // for what was not this step's
  const PlanRun& plan = run.plan.run;
  const Place data = run.ranks.place.data;
  const std::int64_t first = samples_ + data.index * run.windows();
  const SampleBatch batch = run.data->training(plan.seed, static_cast<std::uint64_t>(first), run.windows());
  const double rate = learning_rate(plan.schedule, plan.optimizer.lr, step, plan.steps);
  const TrainingStep::Result result = run.step.run(batch, step, rate);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  const double total = result.total_weight > 0 ? result.total_weight : 1;
  const double agreed = std::exchange(agreed_, 0);
  return {result.loss_sum / total, std::sqrt(result.squared_norm) * result.scale, rate,
          seconds.count() + agreed, run.ranks.waited() + agreed};
}

void Trainer::require_finite(std::int64_t step, const StepReport& report) const {
  if (std::isfinite(report.loss) && std::isfinite(report.gradient_norm)) return;
  const std::string what = std::isfinite(report.loss) ? "gradient norm" : "loss";
  launch_.fail_alike(Error("loss-not-finite",
                           "the " + what + " is not finite at step " + std::to_string(step) + "; " + kept() +
                               "; lower the learning rate, lengthen the warm-up or clip the gradient"));
}

std::string Trainer::kept() const {
  if (checkpoint_step_ == 0) return "there is no checkpoint before it";
  return "the last checkpoint is of step " + std::to_string(checkpoint_step_);
}

std::string Trainer::lose(const std::string& text) noexcept {
  const std::string told = text + "; " + kept();
  record_.fail(step_, told);
  return told;
}

double Trainer::evaluate() const {
  RunSetup& run = *run_;
  const std::int64_t windows = run.data->held_out_windows(), together = run.plan.run.micro_batch;
  if (windows == 0) return kUnknown;
  const Place data = run.ranks.place.data;
  RowShard rows(run.ranks.place, together, run.plan.run.sequence);
  double weight = 0;
  run.model.clear_loss();
  // Every data rank takes every so-manieth micro-batch; those beyond the last one weigh nothing.
  for (std::int64_t first = 0; first < windows; first += together * data.count) {
    parallel::activity().go_on();
    const SampleBatch batch = run.data->held_out(first + together * data.index, together);
    run.model.evaluate(run.store, rows.take(batch));
    weight += batch.total_weight;
  }
  HostSum sum(run.backend);
  const double loss = sum.over(run.ranks.rows(), run.model.loss_sum());
  weight = sum.over(*run.ranks.data, weight);
  return weight > 0 ? loss / weight : kUnknown;
}

void Trainer::evaluate_and_tell(std::int64_t step) {
  held_out_loss_ = evaluate();
  if (!std::isfinite(held_out_loss_)) {
    if (run_->data->held_out_windows() > 0)
      record_.log("the held-out loss is not finite at step " + std::to_string(step));
    return;
  }
  record_.event({{"type", "evaluation"},
                 {"step", step},
                 {"heldOutLoss", held_out_loss_},
                 {"tokens", run_->data->held_out_targets()}});
  record_.scalars(step, {{"held-out loss", held_out_loss_}});
}

void Trainer::checkpoint(std::int64_t step) {
  const CheckpointState state{step,
                              static_cast<std::uint64_t>(samples_),
                              training_hash(run_->plan),
                              run_->backend.name(),
                              run_->choice.precision,
                              parallel_text(run_->plan.run.parallel),
                              run_->choice.threads,
                              loss_,
                              run_->data_fingerprint,
                              run_->plan.run.sequence};
  const std::string name = write_checkpoint(record_.checkpoints(), state, run_->store, run_->tensors);
  checkpoint_step_ = step;
  record_.event({{"type", "checkpoint"}, {"step", step}, {"path", "checkpoints/" + name}});
}

void Trainer::tell_start() {
  const Dataset& data = *run_->data;
  record_.event({{"type", "start"},
                 {"step", step_.load()},
                 {"resumed", options_.resume},
                 {"backend", run_->backend.name()},
                 {"device", record_.status().device},
                 {"ranks", launch_.size()},
                 {"threads", run_->choice.threads},
                 {"parameters", run_->table.count()},
                 {"trainTokens", data.train_tokens()},
                 {"heldOutTokens", data.held_out_tokens()},
                 {"compositionEntropy", data.composition_entropy()}});
  record_.log("training " + run_->plan.name + " on " + record_.status().device + ", " +
              run_->choice.precision + ", " + parallel_text(run_->plan.run.parallel) + ", from step " +
              std::to_string(step_));
  if (const std::string longer = run_->backend.first_step(); !longer.empty()) record_.log(longer);
}

void Trainer::tell_step(std::int64_t step, const StepReport& report) {
  RunSetup& run = *run_;
  const double tokens =
      static_cast<double>(run.windows() * run.ranks.place.data.count * run.plan.run.sequence);
  const double rate = tokens / report.seconds;
  const double peak = run.backend.peak_flops() * launch_.size();
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
  if (launch_.size() > 1) {
    event["computeMs"] = (report.seconds - report.waited) * 1e3;
    event["communicationMs"] = report.waited * 1e3;
  }
  if (step == 1 || step % kFilterReportEvery == 0) {
    const auto add = [&](const char* name, json layers) {
      if (!layers.empty()) event[name] = std::move(layers);
    };
    add("filterNorms", filter_norms(run.plan.model, run.table, run.tensors));
    add("timeConstants", time_constants(run.plan.model, run.table, run.tensors));
  }
  record_.event(std::move(event));
  record_.scalars(step, {{"loss", report.loss},
                         {"learning rate", report.learning_rate},
                         {"gradient norm", report.gradient_norm},
                         {"tokens per second", rate}});
  record_.progress(step);
}

bool Trainer::times_calls() {
  static_assert(kTimedStep <= TrainingStep::kWarmUp, "a replayed step makes no calls");
  // Operators on pieces of sequences are not timed.
  return ++steps_begun_ == kTimedStep && run_->plan.run.parallel.context == 1;
}

void Trainer::tell_parts(std::int64_t step, const StepReport& report) {
  record_.event({{"type", "parts"},
                 {"step", step},
                 {"stepTimeMs", report.seconds * 1e3},
                 {"parts", to_json(run_->backend.heard())}});
}

TrainResult Trainer::finish(const std::string& state, std::int64_t step) {
  const std::string reason = state == "completed" ? "all steps are done" : "stopped on request";
  record_.event({{"type", "end"}, {"step", step}, {"state", state}, {"reason", reason}});
  record_.take_checkpoint_request();  // granted by the checkpoint of the end
  record_.log(state + " at step " + std::to_string(step));
  record_.status().step = step;
  record_.state(state, reason);
  return {state, step, loss_, held_out_loss_, run_->data->composition_entropy(), launch_.first()};
}

void Trainer::notice(const std::string& text) {
  if (!launch_.first()) return;
  record_.log(text);
  if (options_.notice) options_.notice(text);
}

TrainResult train(const TrainOptions& options) {
  parallel::Launch launch;
  std::optional<Trainer> trainer;
  std::atomic<Trainer*> records{nullptr};
  const auto lost = [&](const std::string& code, const std::string& text) {
    const bool tells = launch.first() && !text.empty() && records != nullptr;
    end_of(options.lost)(code, tells ? records.load()->lose(text) : text);
  };
  TrainResult result{};
  launch.under_watch(lost, [&](parallel::Lifeline* lifeline) {
    launch.together([&] { trainer.emplace(options, launch); });
    records = &*trainer;
    result = trainer->run(lifeline);
  });
  return result;
}

}  // namespace striped
