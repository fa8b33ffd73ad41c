// Half a block: pre-norm, an input projection, an inner operator, an output projection; what it adds to the
// residual stream is its branch. A mixer is one, a gated MLP is one, a Hyena in place of the MLP is one.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "core/device_buffer.h"
#include "core/execution.h"
#include "core/model_shape.h"
#include "core/plan.h"
#include "parallel/context_attention.h"
#include "parallel/context_hyena.h"
#include "parallel/tensor_boundary.h"

namespace striped {

// The residual stream on its way: `sum` plus a branch that was not added yet (-1: none), whose place their
// sum takes.
struct Stream {
  Arena::Buffer sum, branch;
};

// Everything a sublayer is made from.
struct SublayerPlan {
  std::string norm;    // parameter name without ".weight"
  std::string prefix;  // "blocks.3.mixer."
  std::variant<PlanHyena, PlanAttention, PlanGatedMlp> body;
  bool recompute;
};

class Sublayer {
 public:
  // `site` counts dense layers and is moved on.
  Sublayer(const SublayerPlan& plan, const ModelShape& shape, const ParameterTable& table, Backend& backend,
           Arena& arena, int& site);

  // Pass 0 is the forward pass; pass 1 runs it again before the backward pass, when recomputing.
  static constexpr int kForward = 0, kAgain = 1;

  // Returns the stream behind it. Without `with_branch` the output projection is left out.
  Stream forward(const Execution& run, int pass, const Stream& in, bool with_branch = true);
  // `gradient` is that of the stream behind it, and becomes that of the stream before it.
  void backward(const Execution& run, Arena::Buffer gradient);

  // The summed stream that forward() normalised, from which a pass can start again.
  Stream kept_input() const { return {saved_[kForward].sum, -1}; }

  std::size_t workspace_bytes() const { return workspace_bytes_; }
  std::size_t constant_bytes() const { return decay_.bytes(); }

 private:
  // Of one pass; `sum` is the summed stream, `context` is what the context ranks keep of one another.
  // `entered` and `partial` have all rows where the residual stream has a share of them.
  struct Saved {
    Arena::Buffer sum, reciprocal_rms, normed, entered, hidden, inner, kept, context, partial, branch;
  };
  struct Hyena {
    HyenaShape shape;
    int featurizer, filter, skip, residues, log_poles;
    std::unique_ptr<parallel::ContextHyena> context;  // null: whole sequences are here
  };
  struct Attention {
    AttentionShape shape;
    std::unique_ptr<parallel::ContextAttention> context;
  };
  struct Gated {
    std::int64_t inner;
    Activation activation;
  };

  // Calls visit(first row, rows) for each slice of rows that goes through the sublayer at a time.
  template <typename Visit>
  void for_each_slice(const Visit& visit) const;
  bool sliced() const { return slice_ < shape_.rows(); }
  // Whether the gradient of the hidden values takes their place (ContextAttention::in_place).
  bool gradient_in_place() const;
  // Of a row of [rows, width].
  std::size_t row_byte(std::int64_t row) const;

  void make_body(const SublayerPlan& plan, const ParameterTable& table, Backend& backend);
  void make_context(const SublayerPlan& plan, Backend& backend);
  void make_buffers(const SublayerPlan& plan, Backend& backend, Arena& arena);
  void upload_decay(const PlanHyena& hyena, const Parameter& filter, Backend& backend);
  HyenaWeights hyena_weights(const Execution& run, const Hyena& hyena) const;
  HyenaGradients hyena_gradients(const Execution& run, const Hyena& hyena) const;
  void hyena_forward(const Execution& run, const Hyena& hyena, const Saved& saved,
                     Arena::Buffer workspace) const;
  void hyena_backward(const Execution& run, const Hyena& hyena, const Saved& saved) const;
  void attention_forward(const Execution& run, const Attention& attention, const Saved& saved,
                         Arena::Buffer workspace) const;
  void attention_backward(const Execution& run, const Attention& attention, const Saved& saved) const;
  // From some of the rows of `entered` to their inner values.
  void project_in(const Execution& run, const Saved& saved, Arena::Buffer entered, std::int64_t first,
                  std::int64_t rows);
  void inner_forward(const Execution& run, const Saved& saved, std::int64_t rows);
  void inner_backward(const Execution& run, const Saved& saved, std::int64_t rows);

  ModelShape shape_;
  parallel::TensorBoundary boundary_;
  std::variant<Hyena, Attention, Gated> body_;
  DenseShape in_, out_;
  // Rows that go through at a time: all of them, but for an MLP whose hidden values are made again in the
  // backward pass. There slices need not be kept, and long sequences take a fraction of the memory.
  std::int64_t slice_;
  std::size_t value_;  // bytes of an activation
  int norm_, in_weight_, out_weight_;
  int out_bias_, out_bias_gradient_;  // -1: not added, not summed on this rank
  Saved saved_[2];
  int kept_pass_;  // the pass whose buffers the backward pass reads
  Arena::Buffer d_inner_, d_hidden_, d_normed_, forward_workspace_[2], backward_workspace_;
  Arena::Buffer all_gradient_, all_normed_, all_d_normed_;  // all rows of what the stream has a share of
  std::size_t workspace_bytes_ = 0;
  DeviceBuffer decay_;  // MR: factors of the filter
};

}  // namespace striped
