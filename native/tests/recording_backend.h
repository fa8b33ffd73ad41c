// A backend that can record: calls of a recording are kept with their arguments and run by replay(), as a
// CUDA graph does it. What must not be called while recording throws.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "core/communicator.h"
#include "striped/backend.h"
#include "striped/error.h"

namespace fixture {

using namespace striped;

class RecordingBackend final : public Backend {
 public:
  explicit RecordingBackend(std::unique_ptr<Backend> real) : real_(std::move(real)) {}

  int recordings = 0, replays = 0;

  // As a device that has memory and communicators of its own.
  std::unique_ptr<Communicator> join(const DeviceRanks&) override {
    return std::make_unique<SingleRank>(*this);
  }
  std::string device_id() const override { return "recording"; }

  bool can_record() const override { return true; }
  bool begin_recording() override {
    calls_.clear();
    recording_ = true;
    ++recordings;
    return true;
  }
  void end_recording() override { recording_ = false; }
  void replay() override {
    forbid("replay");
    ++replays;
    for (const auto& call : calls_) call();
  }

  std::string name() const override { return real_->name(); }
  std::string device_name() const override { return real_->device_name(); }
  DType activation_type() const override { return real_->activation_type(); }
  double peak_flops() const override { return real_->peak_flops(); }
  void* allocate(std::size_t bytes) override {
    forbid("allocate");
    return real_->allocate(bytes);
  }
  void release(void* pointer) override {
    forbid("release");
    real_->release(pointer);
  }
  void upload(void* device, const void* host, std::size_t bytes) override {
    forbid("upload");
    real_->upload(device, host, bytes);
  }
  void download(void* host, const void* device, std::size_t bytes) override {
    forbid("download");
    real_->download(host, device, bytes);
  }
  void synchronize() override {
    forbid("synchronize");
    real_->synchronize();
  }
  std::size_t hyena_kept(const HyenaShape& shape) const override { return real_->hyena_kept(shape); }
  std::size_t hyena_workspace(const HyenaShape& shape) const override {
    return real_->hyena_workspace(shape);
  }
  std::size_t attention_workspace(const AttentionShape& shape) const override {
    return real_->attention_workspace(shape);
  }

  void dense(const DenseShape& s, const void* x, const void* w, const void* bias, void* y) override {
    call([=, this] { real_->dense(s, x, w, bias, y); });
  }
  void dense_input_gradient(const DenseShape& s, const void* dy, const void* w, void* dx,
                            bool accumulate) override {
    call([=, this] { real_->dense_input_gradient(s, dy, w, dx, accumulate); });
  }
  void dense_weight_gradient(const DenseShape& s, const void* dy, const void* x, void* dw, void* dbias,
                             bool accumulate) override {
    call([=, this] { real_->dense_weight_gradient(s, dy, x, dw, dbias, accumulate); });
  }
  void embedding(std::int64_t rows, std::int64_t width, const std::int32_t* tokens, const void* table,
                 void* x) override {
    call([=, this] { real_->embedding(rows, width, tokens, table, x); });
  }
  void embedding_gradient(std::int64_t rows, std::int64_t width, std::int64_t vocab,
                          const std::int32_t* tokens, const void* dx, void* dtable) override {
    call([=, this] { real_->embedding_gradient(rows, width, vocab, tokens, dx, dtable); });
  }
  void rms_norm(std::int64_t rows, std::int64_t width, double eps, const void* x, const void* branch,
                const void* w, void* sum, void* y, void* rms) override {
    call([=, this] { real_->rms_norm(rows, width, eps, x, branch, w, sum, y, rms); });
  }
  void rms_norm_backward(std::int64_t rows, std::int64_t width, const void* sum, const void* w,
                         const void* rms, const void* dy, void* dx, void* dw) override {
    call([=, this] { real_->rms_norm_backward(rows, width, sum, w, rms, dy, dx, dw); });
  }
  void add(std::int64_t count, void* x, const void* y) override {
    call([=, this] { real_->add(count, x, y); });
  }
  void hyena(const HyenaShape& s, const HyenaWeights& w, const void* z, void* y, void* kept,
             void* workspace) override {
    call([=, this] { real_->hyena(s, w, z, y, kept, workspace); });
  }
  void hyena_backward(const HyenaShape& s, const HyenaWeights& w, const void* z, const void* kept,
                      const void* dy, void* dz, const HyenaGradients& gradients, void* workspace) override {
    call([=, this] { real_->hyena_backward(s, w, z, kept, dy, dz, gradients, workspace); });
  }
  void attention(const AttentionShape& s, const void* qkv, void* y, void* statistics,
                 void* workspace) override {
    call([=, this] { real_->attention(s, qkv, y, statistics, workspace); });
  }
  void attention_backward(const AttentionShape& s, const void* qkv, const void* y, const void* statistics,
                          const void* dy, void* dqkv, void* workspace) override {
    call([=, this] { real_->attention_backward(s, qkv, y, statistics, dy, dqkv, workspace); });
  }
  void gated(std::int64_t rows, std::int64_t inner, Activation activation, const void* gu, void* y) override {
    call([=, this] { real_->gated(rows, inner, activation, gu, y); });
  }
  void gated_backward(std::int64_t rows, std::int64_t inner, Activation activation, const void* gu,
                      const void* dy, void* dgu) override {
    call([=, this] { real_->gated_backward(rows, inner, activation, gu, dy, dgu); });
  }
  void cross_entropy(std::int64_t rows, std::int64_t vocab, void* logits, const std::int32_t* targets,
                     const float* weights, float total, bool gradient, void* loss) override {
    call([=, this] { real_->cross_entropy(rows, vocab, logits, targets, weights, total, gradient, loss); });
  }
  void squared_norm(std::int64_t count, const void* gradients, double* norm) override {
    call([=, this] { real_->squared_norm(count, gradients, norm); });
  }
  void adamw(std::int64_t count, const AdamWSettings& settings, const OptimizerStep* step, const double* norm,
             const void* gradients, void* parameters, void* moment1, void* moment2, void* compute) override {
    call([=, this] {
      real_->adamw(count, settings, step, norm, gradients, parameters, moment1, moment2, compute);
    });
  }
  void negative_exponential(std::int64_t count, const void* x, void* y) override {
    call([=, this] { real_->negative_exponential(count, x, y); });
  }
  void multiply(std::int64_t count, void* x, const void* y) override {
    call([=, this] { real_->multiply(count, x, y); });
  }
  void zero(void* device, std::size_t bytes) override {
    call([=, this] { real_->zero(device, bytes); });
  }

 private:
  template <typename Call>
  void call(Call run) {
    if (recording_)
      calls_.emplace_back(run);
    else
      run();
  }
  void forbid(const char* what) const {
    if (recording_) throw Error("recording", std::string(what) + " was called while a step is recorded");
  }

  std::unique_ptr<Backend> real_;
  bool recording_ = false;
  std::vector<std::function<void()>> calls_;
};

}  // namespace fixture
