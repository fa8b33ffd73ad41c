// The CUDA backend as far as attention goes, with kernels on the processor: memory is the machine's.
#include <memory>
#include <string>

#include "attention.h"
#include "operators.h"
#include "striped/error.h"

namespace striped {
namespace {

[[noreturn]] void missing() { throw Error("unsupported", "only attention is emulated here"); }

class EmulatedShards final : public ShardOperators {
 public:
  EmulatedShards(cuda::Context& context, cuda::Attention& attention)
      : context_(context), attention_(attention) {}

  void attention_split(const AttentionShape& s, std::int64_t rows, std::int64_t position, const void* qkv,
                       void* q, void* kv) override {
    cuda::attention_split(context_, s, rows, position, qkv, q, kv);
  }
  void attention_join(const AttentionShape& s, std::int64_t rows, std::int64_t position, const void* dq,
                      const void* dkv, void* dqkv) override {
    cuda::attention_join(context_, s, rows, position, static_cast<const float*>(dq),
                         static_cast<const float*>(dkv), dqkv);
  }
  std::size_t attention_part_workspace(const AttentionPart& p) const override {
    return attention_.part_workspace(p);
  }
  void attention_part(const AttentionPart& p, const void* q, const void* kv, bool first, void* y,
                      void* statistics, void* workspace) override {
    attention_.part(p, q, kv, first, static_cast<float*>(y), static_cast<float*>(statistics), workspace);
  }
  void attention_part_backward(const AttentionPart& p, const void* q, const void* kv, const void* y,
                               const void* statistics, const void* dy, void* dq, void* dkv,
                               void* workspace) override {
    attention_.part_backward(p, q, kv, y, static_cast<const float*>(statistics), dy, static_cast<float*>(dq),
                             static_cast<float*>(dkv), workspace);
  }

  using Weights = HyenaWeights;
  using Around = HyenaSurroundings;
  using In = const void*;
  std::size_t hyena_piece_kept(const HyenaShape&) const override { missing(); }
  std::size_t hyena_piece_workspace(const HyenaShape&) const override { missing(); }
  void hyena_piece(const HyenaShape&, const Weights&, const Around&, const Arrived&, In, void*, void*,
                   void*) override {
    missing();
  }
  void hyena_piece_backward(const HyenaShape&, const Weights&, const Around&, const Arrived&, In, In, In,
                            void*, void*, const HyenaGradients&, void*) override {
    missing();
  }
  void featurizer_reach(const HyenaShape&, const Weights&, In, void*) override { missing(); }
  void hyena_gate(const HyenaShape&, const Weights&, In, In, RowRange, void*) override { missing(); }
  void hyena_query(const HyenaShape&, const Weights&, In, In, In, RowRange, void*) override { missing(); }
  void hyena_gate_backward(const HyenaShape&, const Weights&, In, In, In, In, In, void*, void*, void*,
                           void*) override {
    missing();
  }
  void hyena_states(const HyenaShape&, const Weights&, In, In, In, void*, void*) override { missing(); }
  void hyena_carry(const HyenaShape&, const Weights&, std::int64_t, In, void*) override { missing(); }
  void fourier_add(const FourierPart&, int, In, std::int64_t, void*) override { missing(); }
  void fourier_take(const FourierPart&, int, In, void*, std::int64_t) override { missing(); }
  void fourier_filter(const FourierPart&, const HyenaShape&, const Weights&, void*) override { missing(); }
  void fourier_filter_backward(const FourierPart&, const HyenaShape&, const Weights&, In, void*,
                               const HyenaGradients&) override {
    missing();
  }
  void to_activations(std::int64_t, In, void*) override { missing(); }
  void add_to_real(std::int64_t, In, void*) override { missing(); }
  void copy_rows(std::int64_t, std::int64_t, In, std::int64_t, void*, std::int64_t) override { missing(); }

 private:
  cuda::Context& context_;
  cuda::Attention& attention_;
};

class EmulatedBackend final : public Backend {
 public:
  explicit EmulatedBackend(cuda::ElementType type) {
    context_.type = type;
    attention_ = std::make_unique<cuda::Attention>(context_);
    shards_ = std::make_unique<EmulatedShards>(context_, *attention_);
  }

  std::string name() const override { return "emulated"; }
  std::string device_name() const override {
    return attention_->missing().empty() ? "the processor" : "the processor (attention without cuDNN)";
  }
  DType activation_type() const override {
    return context_.type == cuda::ElementType::bf16 ? DType::bf16 : DType::f32;
  }
  double peak_flops() const override { return 0; }
  void* allocate(std::size_t bytes) override { return cuda::device_allocate(bytes); }
  void release(void* pointer) override { cudaFree(pointer); }
  void upload(void* device, const void* host, std::size_t bytes) override { copy(device, host, bytes); }
  void download(void* host, const void* device, std::size_t bytes) override { copy(host, device, bytes); }
  void copy(void* to, const void* from, std::size_t bytes) override {
    cuda::check(cudaMemcpy(to, from, bytes, cudaMemcpyDefault), "copy");
  }
  void zero(void* device, std::size_t bytes) override { cuda::check(cudaMemset(device, 0, bytes), "zero"); }
  void synchronize() override {}
  ShardOperators* shards() override { return shards_.get(); }

  std::size_t attention_workspace(const AttentionShape& s) const override { return attention_->workspace(s); }
  void attention(const AttentionShape& s, const void* qkv, void* y, void* statistics,
                 void* workspace) override {
    attention_->forward(s, qkv, y, static_cast<float*>(statistics), workspace);
  }
  void attention_backward(const AttentionShape& s, const void* qkv, const void* y, const void* statistics,
                          const void* dy, void* dqkv, void* workspace) override {
    attention_->backward(s, qkv, y, static_cast<const float*>(statistics), dy, dqkv, workspace);
  }

  using In = const void*;
  void dense(const DenseShape&, In, In, In, void*) override { missing(); }
  void dense_input_gradient(const DenseShape&, In, In, void*, bool) override { missing(); }
  void dense_weight_gradient(const DenseShape&, In, In, void*, void*, bool) override { missing(); }
  void embedding(std::int64_t, std::int64_t, const std::int32_t*, In, void*) override { missing(); }
  void embedding_gradient(std::int64_t, std::int64_t, std::int64_t, const std::int32_t*, In, void*) override {
    missing();
  }
  void rms_norm(std::int64_t, std::int64_t, double, In, In, In, void*, void*, void*) override { missing(); }
  void rms_norm_backward(std::int64_t, std::int64_t, In, In, In, In, void*, void*) override { missing(); }
  void add(std::int64_t, void*, In) override { missing(); }
  std::size_t hyena_kept(const HyenaShape&) const override { missing(); }
  std::size_t hyena_workspace(const HyenaShape&) const override { missing(); }
  void hyena(const HyenaShape&, const HyenaWeights&, In, void*, void*, void*) override { missing(); }
  void hyena_backward(const HyenaShape&, const HyenaWeights&, In, In, In, void*, const HyenaGradients&,
                      void*) override {
    missing();
  }
  void gated(std::int64_t, std::int64_t, Activation, In, void*) override { missing(); }
  void gated_backward(std::int64_t, std::int64_t, Activation, In, In, void*) override { missing(); }
  void cross_entropy(std::int64_t, std::int64_t, void*, const std::int32_t*, const float*, float, bool,
                     void*) override {
    missing();
  }
  void squared_norm(std::int64_t, In, double*) override { missing(); }
  void adamw(std::int64_t, const AdamWSettings&, const OptimizerStep*, const double*, In, void*, void*, void*,
             void*) override {
    missing();
  }

 private:
  cuda::Context context_;
  std::unique_ptr<cuda::Attention> attention_;
  std::unique_ptr<ShardOperators> shards_;
};

}  // namespace

std::unique_ptr<Backend> make_cuda_backend(const std::string& precision, int) {
  return std::make_unique<EmulatedBackend>(precision == "fp32" ? cuda::ElementType::f32
                                                               : cuda::ElementType::bf16);
}
int cuda_device_count() { return 1; }

}  // namespace striped
