// What a training run, or a probe, is made of on this rank.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/backend_choice.h"
#include "core/data.h"
#include "core/model.h"
#include "core/timing_backend.h"
#include "core/training_step.h"
#include "parallel/launch.h"
#include "parallel/rank_tensors.h"
#include "striped/engine.h"

namespace striped {

// The plan with what the options change in it. Errors: those of read_plan(), "steps", "parallel-ranks"
// (another number of processes than the plan wants), "parallel-plan" (ranks that read different plans).
Plan shared_plan(const TrainOptions& options, const parallel::Launch& launch);
// That as many ranks were started as the plan wants.
void require_ranks(const Plan& plan, const parallel::Launch& launch);
// The device of this rank: where several ranks of a machine have GPUs, each its own.
BackendChoice choose_rank_backend(const std::string& name, const std::string& precision, int threads,
                                  int device, const parallel::Launch& launch);
// All ranks over what the backend's memory takes; null where there is one. All must call.
std::unique_ptr<Communicator> join_ranks(Backend& backend, const parallel::Launch& launch);
// The groups of this rank in join_ranks().
RankGroups make_ranks(const PlanParallel& parallel, Backend& backend, const parallel::Launch& launch);

// What ends this process when a rank is lost.
parallel::Lifeline::Lost end_of(const LostRank& lost);

// Everything of a training run.
class RunSetup {
 public:
  // All ranks call; an error on one is one on all.
  RunSetup(const TrainOptions& options, const parallel::Launch& launch);

  // Of this data rank, a step.
  std::int64_t windows() const { return plan.run.micro_batch * plan.run.accumulation; }
  std::size_t memory_bytes() const;

  Plan plan;
  std::unique_ptr<Dataset> data;
  std::string data_fingerprint;  // Dataset::fingerprint(), the same on all ranks
  BackendChoice choice;
  TimingBackend backend;
  RankGroups ranks;
  ParameterTable table;
  ParameterStore store;
  Model model;
  TrainingStep step;
  parallel::RankTensors tensors;
};

}  // namespace striped
