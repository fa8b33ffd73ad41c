// A training run: steps, evaluations, checkpoints, and what is told of them.
#pragma once

#include <memory>
#include <optional>

#include "core/backend_choice.h"
#include "core/checkpoint.h"
#include "core/communicator.h"
#include "core/data.h"
#include "core/model.h"
#include "core/run_directory.h"
#include "core/tensorboard.h"
#include "core/training_step.h"
#include "striped/engine.h"

namespace striped {

class Trainer {
 public:
  // Takes the run directory. Errors of RunDirectory; nothing of the run is touched then.
  explicit Trainer(const TrainOptions& options);
  ~Trainer();

  // Errors of all kinds; the run directory then says "failed" and why.
  TrainResult run();

 private:
  struct Prepared;  // plan, backend, data, model
  struct StepReport {
    double loss, gradient_norm, learning_rate, seconds;
  };

  void prepare();
  void start_or_resume();
  void resume_from(const FoundCheckpoint& found);
  void branch_from(const FoundCheckpoint& found);
  TrainResult train_to_the_end();
  StepReport train_step(std::int64_t step);
  void require_finite(std::int64_t step, const StepReport& report) const;
  double evaluate() const;
  void evaluate_and_tell(std::int64_t step);
  void checkpoint(std::int64_t step);
  // Whether somebody wants a checkpoint now; says so once a request.
  bool checkpoint_requested();
  void tell_start();
  void tell_step(std::int64_t step, const StepReport& report);
  void set_state(const std::string& state, const std::string& reason = "");
  TrainResult finish(const std::string& state, std::int64_t step);
  void fail(const std::string& reason) noexcept;
  void notice(const std::string& text);
  bool stop_requested() const { return options_.stop != nullptr && options_.stop->load(); }

  TrainOptions options_;
  RunDirectory directory_;
  RunStatus status_;
  std::unique_ptr<Prepared> run_;
  std::int64_t step_ = 0;             // done
  std::int64_t checkpoint_step_ = 0;  // newest one committed; 0: none
  double loss_, held_out_loss_;
  double last_status_ = 0, last_request_look_ = 0;
};

}  // namespace striped
