#include "shard_operators.h"

#include <string>
#include <utility>

#include "attention.h"
#include "operators.h"
#include "striped/error.h"

namespace striped::cuda {
namespace {

[[noreturn]] void missing(const char* what) {
  throw Error("context-strategy", std::string("the cuda backend has no ") + what +
                                      " for parts of sequences; choose another strategy, or --backend cpu");
}

const float* real(const void* pointer) { return static_cast<const float*>(pointer); }
float* real(void* pointer) { return static_cast<float*>(pointer); }

class CudaShardOperators final : public ShardOperators {
 public:
  explicit CudaShardOperators(ShardSetting setting) : setting_(std::move(setting)) {}

  std::size_t hyena_piece_workspace(const HyenaShape& s) const override {
    setting_.enter();
    return cuda::hyena_piece_workspace(s, type());
  }
  void hyena_piece(const HyenaShape& s, const HyenaWeights& w, const HyenaSurroundings& around,
                   const Arrived& arrived, const void* z, void* y, void* workspace) override {
    setting_.enter();
    cuda::hyena_piece(s, w, type(), around, arrived, z, y, workspace, stream());
  }
  void hyena_piece_backward(const HyenaShape& s, const HyenaWeights& w, const HyenaSurroundings& around,
                            const Arrived& arrived, const void* z, const void* dy, void* dz, void* reach,
                            const HyenaGradients& gradients, void* workspace) override {
    setting_.enter();
    cuda::hyena_piece_backward(s, w, type(), around, arrived, z, dy, dz, reach, gradients, workspace,
                               stream());
  }
  void featurizer_reach(const HyenaShape&, const HyenaWeights&, const void*, void*) override {
    missing("Hyena operators");
  }
  void hyena_gate(const HyenaShape&, const HyenaWeights&, const void*, const void*, RowRange,
                  void*) override {
    missing("Hyena operators");
  }
  void hyena_query(const HyenaShape&, const HyenaWeights&, const void*, const void*, const void*, RowRange,
                   void*) override {
    missing("Hyena operators");
  }
  void hyena_gate_backward(const HyenaShape&, const HyenaWeights&, const void*, const void*, const void*,
                           const void*, const void*, void*, void*, void*, void*) override {
    missing("Hyena operators");
  }

  void hyena_states(const HyenaShape&, const HyenaWeights&, const void*, const void*, const void*, void*,
                    void*) override {
    missing("states of Hyena-LI");
  }
  void hyena_carry(const HyenaShape&, const HyenaWeights&, std::int64_t, const void*, void*) override {
    missing("states of Hyena-LI");
  }

  void fourier_add(const FourierPart&, int, const void*, std::int64_t, void*) override {
    missing("Fourier transform");
  }
  void fourier_take(const FourierPart&, int, const void*, void*, std::int64_t) override {
    missing("Fourier transform");
  }
  void fourier_filter(const FourierPart&, const HyenaShape&, const HyenaWeights&, void*) override {
    missing("Fourier transform");
  }
  void fourier_filter_backward(const FourierPart&, const HyenaShape&, const HyenaWeights&, const void*, void*,
                               const HyenaGradients&) override {
    missing("Fourier transform");
  }

  void attention_split(const AttentionShape& s, std::int64_t rows, std::int64_t position, const void* qkv,
                       void* q, void* kv) override {
    setting_.enter();
    cuda::attention_split(setting_.context, s, rows, position, qkv, q, kv);
  }
  void attention_join(const AttentionShape& s, std::int64_t rows, std::int64_t position, const void* dq,
                      const void* dkv, void* dqkv) override {
    setting_.enter();
    cuda::attention_join(setting_.context, s, rows, position, real(dq), real(dkv), dqkv);
  }
  std::size_t attention_part_workspace(const AttentionPart& p) const override {
    setting_.enter();
    return setting_.attention.part_workspace(p);
  }
  void attention_part(const AttentionPart& p, const void* q, const void* kv, bool first, void* y,
                      void* statistics, void* workspace) override {
    setting_.enter();
    setting_.attention.part(p, q, kv, first, real(y), real(statistics), workspace);
  }
  void attention_part_backward(const AttentionPart& p, const void* q, const void* kv, const void* y,
                               const void* statistics, const void* dy, void* dq, void* dkv,
                               void* workspace) override {
    setting_.enter();
    setting_.attention.part_backward(p, q, kv, y, real(statistics), dy, real(dq), real(dkv), workspace);
  }

  void to_activations(std::int64_t, const void*, void*) override { missing("conversions"); }
  void add_to_real(std::int64_t, const void*, void*) override { missing("conversions"); }
  void copy_rows(std::int64_t, std::int64_t, const void*, std::int64_t, void*, std::int64_t) override {
    missing("copies");
  }

 private:
  ElementType type() const { return setting_.context.type; }
  cudaStream_t stream() const { return setting_.context.stream; }

  ShardSetting setting_;
};

}  // namespace

std::unique_ptr<ShardOperators> make_shard_operators(ShardSetting setting) {
  return std::make_unique<CudaShardOperators>(std::move(setting));
}

}  // namespace striped::cuda
