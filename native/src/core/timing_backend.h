// A backend that notes, by a timeline, how long each call of another one took, and sums calls of a kind.
#pragma once

#include <algorithm>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "core/communicator.h"
#include "striped/backend.h"
#include "striped/plan_parts.h"

namespace striped {

class TimingBackend final : public Backend {
 public:
  explicit TimingBackend(Backend& real) : real_(real) {}

  // Until then calls are only passed on.
  void listen() { timeline_ = real_.timeline(); }
  // What was heard since, summed over calls of a kind in the order of their first; waits for the device.
  std::vector<PlanPart> heard() {
    const std::vector<double> at = timeline_->seconds();
    timeline_.reset();
    std::vector<PlanPart> sums;
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      auto sum = std::find_if(sums.begin(), sums.end(), [&](const PlanPart& other) {
        const auto key = [](const PlanPart& part) {
          return std::tie(part.kind, part.pass, part.rows, part.in, part.out);
        };
        return key(other) == key(calls_[i]);
      });
      if (sum == sums.end()) sum = sums.insert(sums.end(), calls_[i]);
      ++sum->calls;
      sum->seconds += at[2 * i + 1] - at[2 * i];
    }
    calls_.clear();
    return sums;
  }

  std::string name() const override { return real_.name(); }
  std::string device_name() const override { return real_.device_name(); }
  DType activation_type() const override { return real_.activation_type(); }
  double peak_flops() const override { return real_.peak_flops(); }
  std::string driver() const override { return real_.driver(); }
  DeviceMemory device_memory() const override { return real_.device_memory(); }
  std::size_t cache_bytes() const override { return real_.cache_bytes(); }
  double elapsed(const std::function<void()>& work) override { return real_.elapsed(work); }
  std::unique_ptr<Timeline> timeline() override { return real_.timeline(); }
  // Not timed: they wait for other ranks in between.
  ShardOperators* shards() override { return real_.shards(); }
  std::unique_ptr<Communicator> join(const DeviceRanks& ranks) override { return real_.join(ranks); }
  std::string device_id() const override { return real_.device_id(); }
  std::string first_step() const override { return real_.first_step(); }
  void* allocate(std::size_t bytes) override { return real_.allocate(bytes); }
  void release(void* pointer) override { real_.release(pointer); }
  void synchronize() override { real_.synchronize(); }
  bool can_record() const override { return real_.can_record(); }
  bool begin_recording() override { return real_.begin_recording(); }
  void end_recording() override { real_.end_recording(); }
  void drop_recording() noexcept override { real_.drop_recording(); }
  void replay() override { real_.replay(); }
  void upload(void* device, const void* host, std::size_t bytes) override {
    timed({"transfer", "upload"}, [&] { real_.upload(device, host, bytes); });
  }
  void download(void* host, const void* device, std::size_t bytes) override {
    timed({"transfer", "download"}, [&] { real_.download(host, device, bytes); });
  }
  void zero(void* device, std::size_t bytes) override {
    timed({"zero", ""}, [&] { real_.zero(device, bytes); });
  }
  void copy(void* to, const void* from, std::size_t bytes) override {
    timed({"copy", ""}, [&] { real_.copy(to, from, bytes); });
  }

  void dense(const DenseShape& s, const void* x, const void* w, const void* bias, void* y) override {
    timed(product(s, forward()), [&] { real_.dense(s, x, w, bias, y); });
  }
  void dense_input_gradient(const DenseShape& s, const void* dy, const void* w, void* dx,
                            bool accumulate) override {
    timed(product(s, "input gradient"), [&] { real_.dense_input_gradient(s, dy, w, dx, accumulate); });
  }
  void dense_weight_gradient(const DenseShape& s, const void* dy, const void* x, void* dw, void* dbias,
                             bool accumulate) override {
    timed(product(s, "weight gradient"),
          [&] { real_.dense_weight_gradient(s, dy, x, dw, dbias, accumulate); });
  }
  void embedding(std::int64_t rows, std::int64_t width, const std::int32_t* tokens, const void* table,
                 void* x) override {
    timed({"embedding", forward()}, [&] { real_.embedding(rows, width, tokens, table, x); });
  }
  void embedding_gradient(std::int64_t rows, std::int64_t width, std::int64_t vocab,
                          const std::int32_t* tokens, const void* dx, void* dtable) override {
    timed({"embedding", "backward"},
          [&] { real_.embedding_gradient(rows, width, vocab, tokens, dx, dtable); });
    backward_ = false;  // it is the last one's
  }
  void rms_norm(std::int64_t rows, std::int64_t width, double eps, const void* x, const void* branch,
                const void* w, void* sum, void* y, void* rms) override {
    timed({"norm", forward()}, [&] { real_.rms_norm(rows, width, eps, x, branch, w, sum, y, rms); });
  }
  void rms_norm_backward(std::int64_t rows, std::int64_t width, const void* sum, const void* w,
                         const void* rms, const void* dy, void* dx, void* dw) override {
    backward_ = true;
    timed({"norm", "backward"}, [&] { real_.rms_norm_backward(rows, width, sum, w, rms, dy, dx, dw); });
  }
  void add(std::int64_t count, void* x, const void* y) override {
    timed({"add", forward()}, [&] { real_.add(count, x, y); });
  }
  std::size_t hyena_kept(const HyenaShape& s) const override { return real_.hyena_kept(s); }
  std::size_t hyena_workspace(const HyenaShape& s) const override { return real_.hyena_workspace(s); }
  void hyena(const HyenaShape& s, const HyenaWeights& w, const void* z, void* y, void* kept,
             void* workspace) override {
    timed({name_of(s.kind), forward()}, [&] { real_.hyena(s, w, z, y, kept, workspace); });
  }
  void hyena_backward(const HyenaShape& s, const HyenaWeights& w, const void* z, const void* kept,
                      const void* dy, void* dz, const HyenaGradients& gradients, void* workspace) override {
    timed({name_of(s.kind), "backward"},
          [&] { real_.hyena_backward(s, w, z, kept, dy, dz, gradients, workspace); });
  }
  std::size_t attention_workspace(const AttentionShape& s) const override {
    return real_.attention_workspace(s);
  }
  void attention(const AttentionShape& s, const void* qkv, void* y, void* statistics,
                 void* workspace) override {
    timed({"MHA", forward()}, [&] { real_.attention(s, qkv, y, statistics, workspace); });
  }
  void attention_backward(const AttentionShape& s, const void* qkv, const void* y, const void* statistics,
                          const void* dy, void* dqkv, void* workspace) override {
    timed({"MHA", "backward"}, [&] { real_.attention_backward(s, qkv, y, statistics, dy, dqkv, workspace); });
  }
  void gated(std::int64_t rows, std::int64_t inner, Activation activation, const void* gu, void* y) override {
    timed({"activation", forward()}, [&] { real_.gated(rows, inner, activation, gu, y); });
  }
  void gated_backward(std::int64_t rows, std::int64_t inner, Activation activation, const void* gu,
                      const void* dy, void* dgu) override {
    timed({"activation", "backward"}, [&] { real_.gated_backward(rows, inner, activation, gu, dy, dgu); });
  }
  void cross_entropy(std::int64_t rows, std::int64_t vocab, void* logits, const std::int32_t* targets,
                     const float* weights, float total, bool gradient, void* loss) override {
    timed({"loss", forward()},
          [&] { real_.cross_entropy(rows, vocab, logits, targets, weights, total, gradient, loss); });
  }
  void squared_norm(std::int64_t count, const void* gradients, double* norm) override {
    timed({"optimizer", "norm"}, [&] { real_.squared_norm(count, gradients, norm); });
  }
  void adamw(std::int64_t count, const AdamWSettings& settings, const OptimizerStep* step, const double* norm,
             const void* gradients, void* parameters, void* moment1, void* moment2, void* compute) override {
    timed({"optimizer", "update"}, [&] {
      real_.adamw(count, settings, step, norm, gradients, parameters, moment1, moment2, compute);
    });
  }
  void negative_exponential(std::int64_t count, const void* x, void* y) override {
    timed({"optimizer", "log-poles"}, [&] { real_.negative_exponential(count, x, y); });
  }
  void multiply(std::int64_t count, void* x, const void* y) override {
    timed({"optimizer", "log-poles"}, [&] { real_.multiply(count, x, y); });
  }

 private:
  static const char* name_of(HyenaKind kind) {
    if (kind == HyenaKind::short_explicit) return "SE";
    return kind == HyenaKind::medium_regularised ? "MR" : "LI";
  }
  static PlanPart product(const DenseShape& s, const char* pass) {
    return {s.allow_fp8 ? "gemm" : "unembedding", pass, s.rows, s.in, s.out};
  }
  // Forward calls behind the first backward one of a micro-batch are recomputation.
  const char* forward() const { return backward_ ? "recompute" : "forward"; }

  template <typename Work>
  void timed(PlanPart part, const Work& work) {
    if (timeline_ == nullptr) return work();
    timeline_->mark();
    work();
    timeline_->mark();
    calls_.push_back(std::move(part));
  }

  Backend& real_;
  std::unique_ptr<Timeline> timeline_;  // while listening
  std::vector<PlanPart> calls_;         // call i lies between marks 2i and 2i + 1
  bool backward_ = false;
};

}  // namespace striped
