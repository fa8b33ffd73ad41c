// One optimiser step: micro-batches forward and backward, then AdamW; recorded and replayed where that is
// wanted and the backend can.
#pragma once

#include "core/data.h"
#include "core/model.h"
#include "core/row_shard.h"
#include "parallel/parameter_exchange.h"

namespace striped {

// Unless the user asks for none (STRIPED_CUDA_GRAPH=0); docs/kernels.md, "Step recording".
bool recording_wanted();

class TrainingStep {
 public:
  // Of all ranks together.
  struct Result {
    double loss_sum;      // Σ weight·loss
    double total_weight;  // Σ weight
    double squared_norm;  // of the summed gradients, before any scale
    double scale;         // what the optimiser multiplied them by
  };
  // Steps that run as they are before one is recorded: kernels are chosen and scratch memory grows in them.
  static constexpr int kWarmUp = 3;

  // The model must have been allocated; all are kept by reference. `record`: replay the step from the
  // (kWarmUp + 1)-th on, where the backend can and there is one rank.
  TrainingStep(const PlanRun& run, Model& model, ParameterStore& store, const RankGroups& ranks,
               Backend& backend, bool record);

  // `batch` holds the micro-batch · accumulation windows of this data rank; `step` counts from 1 and decides
  // the learning rate.
  Result run(const SampleBatch& batch, std::int64_t step, double learning_rate);

  bool replaying() const { return recorded_; }

 private:
  void clear();
  void accumulate(const SampleBatch& batch, float micro_weight);
  void update();
  // Runs `work`, or records it once and replays it.
  template <typename Work>
  void run_or_replay(const Work& work);

  const PlanRun& plan_;
  Model& model_;
  ParameterStore& store_;
  const RankGroups& ranks_;
  Backend& backend_;
  bool record_;
  bool recorded_ = false;
  int warm_ = 0;  // steps run so far, up to kWarmUp
  DeviceBuffer settings_, squared_norm_;
  HostSum sum_;
  RowShard rows_;
  parallel::ParameterExchange exchange_;
};

}  // namespace striped
