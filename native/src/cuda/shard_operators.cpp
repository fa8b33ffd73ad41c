#include "shard_operators.h"

#include <utility>

#include "attention.h"
#include "hyena_fourier_parts.h"
#include "hyena_gates.h"
#include "hyena_modal.h"
#include "operators.h"
#include "rows.h"

namespace striped::cuda {
namespace {

const float* real(const void* pointer) { return static_cast<const float*>(pointer); }
float* real(void* pointer) { return static_cast<float*>(pointer); }

class CudaShardOperators final : public ShardOperators {
 public:
  explicit CudaShardOperators(ShardSetting setting) : setting_(std::move(setting)) {}

  std::size_t hyena_piece_kept(const HyenaShape& s) const override {
    setting_.enter();
    return cuda::hyena_piece_kept(s, type());
  }
  std::size_t hyena_piece_workspace(const HyenaShape& s) const override {
    setting_.enter();
    return cuda::hyena_piece_workspace(s, type(), setting_.plans);
  }
  void hyena_piece(const HyenaShape& s, const HyenaWeights& w, const HyenaSurroundings& around,
                   const Arrived& arrived, const void* z, void* y, void* kept, void* workspace) override {
    setting_.enter();
    cuda::hyena_piece(s, w, type(), around, arrived, z, y, kept, workspace, setting_.plans, stream());
  }
  void hyena_piece_backward(const HyenaShape& s, const HyenaWeights& w, const HyenaSurroundings& around,
                            const Arrived& arrived, const void* z, const void* kept, const void* dy, void* dz,
                            void* reach, const HyenaGradients& gradients, void* workspace) override {
    setting_.enter();
    cuda::hyena_piece_backward(s, w, type(), around, arrived, z, kept, dy, dz, reach, gradients, workspace,
                               setting_.plans, stream());
  }
  void featurizer_reach(const HyenaShape& s, const HyenaWeights& w, const void* after, void* dz) override {
    setting_.enter();
    cuda::featurizer_reach(s, w, type(), after, dz, stream());
  }
  void hyena_gate(const HyenaShape& s, const HyenaWeights& w, const void* projections, const void* z,
                  RowRange rows, void* out) override {
    setting_.enter();
    cuda::hyena_gate(s, w, type(), projections, z, rows, out, stream());
  }
  void hyena_query(const HyenaShape& s, const HyenaWeights& w, const void* projections, const void* z,
                   const void* x, RowRange rows, void* out) override {
    setting_.enter();
    cuda::hyena_query(s, w, type(), projections, z, x, rows, out, stream());
  }
  void hyena_gate_backward(const HyenaShape& s, const HyenaWeights& w, const void* projections, const void* z,
                           const void* c, const void* dy, const void* du, void* dz, void* reach,
                           void* d_featurizer, void* workspace) override {
    setting_.enter();
    cuda::hyena_gate_backward(s, w, type(), projections, z, c, dy, du, dz, reach, d_featurizer, workspace,
                              stream());
  }

  void hyena_states(const HyenaShape& s, const HyenaWeights& w, const void* projections, const void* z,
                    const void* dy, void* states, void* workspace) override {
    setting_.enter();
    modal_states(s, w, type(), projections, z, dy, states, workspace, stream());
  }
  void hyena_carry(const HyenaShape& s, const HyenaWeights& w, std::int64_t count, const void* from,
                   void* to) override {
    setting_.enter();
    modal_carry(s, w, count, from, to, stream());
  }

  void fourier_add(const FourierPart& part, int piece, const void* x, std::int64_t stride,
                   void* spectrum) override {
    setting_.enter();
    cuda::fourier_add(part, piece, type(), x, stride, spectrum, stream());
  }
  void fourier_take(const FourierPart& part, int piece, const void* spectrum, void* x,
                    std::int64_t stride) override {
    setting_.enter();
    cuda::fourier_take(part, piece, type(), spectrum, x, stride, stream());
  }
  void fourier_filter(const FourierPart& part, const HyenaShape& s, const HyenaWeights& w,
                      void* spectrum) override {
    setting_.enter();
    cuda::fourier_filter(part, s, w, spectrum, fourier_scratch(part, s), setting_.plans, stream());
  }
  void fourier_filter_backward(const FourierPart& part, const HyenaShape& s, const HyenaWeights& w,
                               const void* u, void* g, const HyenaGradients& gradients) override {
    setting_.enter();
    cuda::fourier_filter_backward(part, s, w, u, g, gradients, fourier_scratch(part, s), setting_.plans,
                                  stream());
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

  void to_activations(std::int64_t count, const void* real, void* activations) override {
    setting_.enter();
    const std::size_t size = type() == ElementType::bf16 ? 2 : 4;
    setting_.changed(activations, static_cast<std::size_t>(count) * size);
    cuda::to_activations(count, static_cast<const float*>(real), type(), activations, stream());
  }
  void add_to_real(std::int64_t count, const void* activations, void* real) override {
    setting_.enter();
    cuda::add_to_real(count, type(), activations, static_cast<float*>(real), stream());
  }
  void copy_rows(std::int64_t rows, std::int64_t bytes, const void* from, std::int64_t from_stride, void* to,
                 std::int64_t to_stride) override {
    setting_.enter();
    if (rows == 0) return;
    setting_.changed(to, static_cast<std::size_t>((rows - 1) * to_stride + bytes));
    cuda::copy_rows(rows, bytes, from, from_stride, to, to_stride, stream());
  }

 private:
  ElementType type() const { return setting_.context.type; }
  cudaStream_t stream() const { return setting_.context.stream; }
  void* fourier_scratch(const FourierPart& part, const HyenaShape& s) {
    return setting_.context.scratch.reserve_bytes(fourier_filter_workspace(part, s, setting_.plans),
                                                  setting_.context);
  }

  ShardSetting setting_;
};

}  // namespace

std::unique_ptr<ShardOperators> make_shard_operators(ShardSetting setting) {
  return std::make_unique<CudaShardOperators>(std::move(setting));
}

}  // namespace striped::cuda
