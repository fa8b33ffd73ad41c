// The model: forward and backward over a backend's operators, in memory planned by a trace of the same code.
#pragma once

#include <functional>
#include <vector>

#include "core/sublayer.h"

namespace striped {

// One micro-batch on the host: this rank's rows of the residual stream, all of [batch, length] where the
// ranks do not share them out (see row_shard.h).
struct MicroBatch {
  const std::int32_t* tokens;
  const std::int32_t* targets;
  const float* weights;  // of the targets in the loss
};

class Model {
 public:
  struct Options {
    std::int64_t batch, length;  // of the whole sequences
    bool recompute_blocks;
    bool training;  // false: forward only, less memory
  };
  // Plans, allocates nothing but small constants. `ranks` is kept by reference.
  Model(const PlanModel& plan, const Options& options, const ParameterTable& table, Backend& backend,
        const RankGroups& ranks);

  // Allocates the planned memory.
  void allocate();

  // Adds the gradient of Σ weight·loss / total_weight to the store's gradients, and Σ weight·loss to the loss
  // sum.
  void train(const ParameterStore& store, const MicroBatch& batch, float total_weight);
  // The two halves of train(): the second touches only device memory, at the same places every time, so it
  // can be recorded.
  void upload(const MicroBatch& batch);
  void train_uploaded(const ParameterStore& store, float total_weight);
  // Adds Σ weight·loss to the loss sum.
  void evaluate(const ParameterStore& store, const MicroBatch& batch);
  // Gives logits in chunks: first row, rows, and the values [rows, vocab] on the device, in the activation
  // type.
  using LogitsSink = std::function<void(std::int64_t, std::int64_t, const void*)>;
  void logits(const ParameterStore& store, const std::int32_t* tokens, const LogitsSink& sink);

  void clear_loss();
  double loss_sum();  // of this rank's rows

  // Rows of the residual stream on this rank.
  std::int64_t rows() const { return shape_.stream_rows(); }

  std::size_t workspace_bytes() const { return workspace_bytes_; }
  // Everything that lives and dies within a micro-batch; includes the workspace.
  std::size_t arena_bytes() const;
  std::size_t constant_bytes() const;
  const Arena& arena() const { return options_.training ? train_arena_ : forward_arena_; }

 private:
  struct Head {  // what follows the blocks
    Arena::Buffer sum, reciprocal_rms, normed, logits, d_normed;
    DenseShape shape;
    int norm, unembedding;
  };

  void make_blocks(const PlanModel& plan, const ParameterTable& table);
  void make_head(const PlanModel& plan, const ParameterTable& table);
  void trace();
  Stream embed(const Execution& run, int pass);
  Stream forward(const Execution& run);
  void normalise(const Execution& run, const Stream& stream);
  DenseShape head_chunk(std::int64_t first) const;
  void for_each_chunk(const Execution& run,
                      const std::function<void(std::int64_t, const DenseShape&)>& visit);
  void upload_tokens(const Execution& run, const std::int32_t* tokens);
  void upload_on(const Execution& run, const MicroBatch& batch);
  void train_on(const Execution& run, float total_weight);
  void evaluate_on(const Execution& run);
  void logits_on(const Execution& run, const std::int32_t* tokens, const LogitsSink& sink);
  void head_training(const Execution& run, float total_weight);
  void backward(const Execution& run);
  void block_backward(const Execution& run, std::size_t index);

  Backend& backend_;
  const RankGroups& ranks_;
  Options options_;
  ModelShape shape_;
  std::int64_t vocab_;
  std::size_t value_, real_;  // bytes of an activation and of a "real"
  int embedding_;
  std::vector<std::vector<Sublayer>> blocks_;
  Head head_{};
  Arena train_arena_, forward_arena_;                                  // the same buffers; places differ
  Arena::Buffer tokens_, targets_, weights_, embedded_[2], gradient_;  // embedded: of each pass
  std::size_t workspace_bytes_ = 0;
  DeviceBuffer memory_, loss_;
};

}  // namespace striped
