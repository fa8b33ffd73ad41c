// A training run: steps, evaluations, checkpoints, and what is told of them. Every rank of a run has one.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "core/checkpoint.h"
#include "core/run_record.h"
#include "core/run_setup.h"

namespace striped {

class Trainer {
 public:
  // Takes the run directory. Errors of RunDirectory; nothing of the run is touched then.
  Trainer(const TrainOptions& options, const parallel::Launch& launch);

  // Errors of all kinds; the run directory then says "failed" and why. `lifeline` is null where there is one
  // rank.
  TrainResult run(parallel::Lifeline* lifeline);
  // On any thread: another rank's end is this run's. Returns the text with what is left of the run.
  std::string lose(const std::string& text) noexcept;

 private:
  struct StepReport {
    double loss, gradient_norm, learning_rate, seconds, waited;
  };

  void prepare();
  void start_or_resume();
  void require_same_training(const FoundCheckpoint& found) const;
  void resume_from(const FoundCheckpoint& found);
  void require_steps_left(const FoundCheckpoint& found) const;
  void branch_from(const FoundCheckpoint& found);
  TrainResult train_to_the_end();
  StepReport train_step(std::int64_t step);
  void require_finite(std::int64_t step, const StepReport& report) const;
  // Of the work so far, in words.
  std::string kept() const;
  double evaluate() const;
  void evaluate_and_tell(std::int64_t step);
  void checkpoint(std::int64_t step);
  void tell_start();
  void tell_step(std::int64_t step, const StepReport& report);
  // Of a step whose calls were timed one by one.
  void tell_parts(std::int64_t step, const StepReport& report);
  // Once a run, before steps are recorded and replayed.
  bool times_calls();
  TrainResult finish(const std::string& state, std::int64_t step);
  void notice(const std::string& text);
  // Whether any rank was asked to stop.
  bool agree(bool own);
  bool stop_requested();
  // Whether somebody wants a checkpoint now; says so once a request.
  bool checkpoint_requested();

  TrainOptions options_;
  const parallel::Launch& launch_;
  RunRecord record_;
  std::unique_ptr<RunSetup> run_;
  parallel::Lifeline* lifeline_ = nullptr;
  std::atomic<std::int64_t> step_ = 0;             // done
  std::atomic<std::int64_t> checkpoint_step_ = 0;  // newest one committed; 0: none
  std::int64_t samples_ = 0;  // training windows seen, also by what this run branches from
  double loss_, held_out_loss_;
  double last_request_look_ = 0;
  double agreed_ = 0;    // seconds since the last step
  int steps_begun_ = 0;  // by this process
};

}  // namespace striped
