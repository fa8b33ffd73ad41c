// A backend that computes nothing and counts the calls: running a model over it tells which buffer is needed
// from when to when. Shapes and workspaces are those of the backend it stands for. So do its communicators.
#pragma once

#include "core/ranks.h"

namespace striped {

class TracingBackend final : public Backend {
 public:
  explicit TracingBackend(Backend& real) : real_(real) {}

  int tick() const { return tick_; }
  // A call that is not one of the backend's.
  void touch() { ++tick_; }

  std::string name() const override { return real_.name(); }
  std::string device_name() const override { return real_.device_name(); }
  DType activation_type() const override { return real_.activation_type(); }
  double peak_flops() const override { return 0; }
  void* allocate(std::size_t) override { return nullptr; }
  void release(void*) override {}
  void upload(void*, const void*, std::size_t) override { ++tick_; }
  void download(void*, const void*, std::size_t) override { ++tick_; }
  void zero(void*, std::size_t) override { ++tick_; }
  void synchronize() override {}
  void dense(const DenseShape&, const void*, const void*, const void*, void*) override { ++tick_; }
  void dense_input_gradient(const DenseShape&, const void*, const void*, void*, bool) override { ++tick_; }
  void dense_weight_gradient(const DenseShape&, const void*, const void*, void*, void*, bool) override {
    ++tick_;
  }
  void embedding(std::int64_t, std::int64_t, const std::int32_t*, const void*, void*) override { ++tick_; }
  void embedding_gradient(std::int64_t, std::int64_t, std::int64_t, const std::int32_t*, const void*,
                          void*) override {
    ++tick_;
  }
  void rms_norm(std::int64_t, std::int64_t, double, const void*, const void*, const void*, void*, void*,
                void*) override {
    ++tick_;
  }
  void rms_norm_backward(std::int64_t, std::int64_t, const void*, const void*, const void*, const void*,
                         void*, void*) override {
    ++tick_;
  }
  void add(std::int64_t, void*, const void*) override { ++tick_; }
  std::size_t hyena_kept(const HyenaShape& shape) const override { return real_.hyena_kept(shape); }
  std::size_t hyena_workspace(const HyenaShape& shape) const override { return real_.hyena_workspace(shape); }
  void hyena(const HyenaShape&, const HyenaWeights&, const void*, void*, void*, void*) override { ++tick_; }
  void hyena_backward(const HyenaShape&, const HyenaWeights&, const void*, const void*, const void*, void*,
                      const HyenaGradients&, void*) override {
    ++tick_;
  }
  std::size_t attention_workspace(const AttentionShape& shape) const override {
    return real_.attention_workspace(shape);
  }
  void attention(const AttentionShape&, const void*, void*, void*, void*) override { ++tick_; }
  void attention_backward(const AttentionShape&, const void*, const void*, const void*, const void*, void*,
                          void*) override {
    ++tick_;
  }
  void gated(std::int64_t, std::int64_t, Activation, const void*, void*) override { ++tick_; }
  void gated_backward(std::int64_t, std::int64_t, Activation, const void*, const void*, void*) override {
    ++tick_;
  }
  void cross_entropy(std::int64_t, std::int64_t, void*, const std::int32_t*, const float*, float, bool,
                     void*) override {
    ++tick_;
  }
  void squared_norm(std::int64_t, const void*, double*) override { ++tick_; }
  void adamw(std::int64_t, const AdamWSettings&, const OptimizerStep*, const double*, const void*, void*,
             void*, void*, void*) override {
    ++tick_;
  }

 private:
  Backend& real_;
  int tick_ = 0;
};

class TracingCommunicator final : public Communicator {
 public:
  TracingCommunicator(TracingBackend& trace, Place place) : trace_(trace), place_(place) {}
  int rank() const override { return place_.index; }
  int size() const override { return place_.count; }
  void all_reduce(void*, std::int64_t, DType) override { trace_.touch(); }
  void all_gather(const void*, void*, std::int64_t, DType) override { trace_.touch(); }
  void reduce_scatter(const void*, void*, std::int64_t, DType) override { trace_.touch(); }
  void all_to_all(const void*, void*, std::int64_t, DType) override { trace_.touch(); }
  void broadcast(void*, std::int64_t, DType, int) override { trace_.touch(); }
  void barrier() override {}
  void exchange(const std::vector<Send>&, const std::vector<Receive>&, DType) override { trace_.touch(); }
  std::unique_ptr<Communicator> split(int, int) override { return nullptr; }

 private:
  TracingBackend& trace_;
  Place place_;
};

inline RankGroups traced_ranks(TracingBackend& trace, const RankPlace& place) {
  const auto group = [&](Place of) { return std::make_unique<TracingCommunicator>(trace, of); };
  const Place replicas = place.replicas();
  const Place all{replicas.index * place.tensor.count + place.tensor.index,
                  replicas.count * place.tensor.count};
  return {place, group(all), group(place.tensor), group(place.context), group(place.data), group(replicas)};
}

}  // namespace striped
