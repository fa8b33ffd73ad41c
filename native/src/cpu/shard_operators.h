// The CPU's striped::ShardOperators: every operator handed to its template for float or double.
#pragma once

#include <cstring>

#include "operators.h"

namespace striped::cpu {

template <class T>
const T* in(const void* p) {
  return static_cast<const T*>(p);
}
template <class T>
T* out(void* p) {
  return static_cast<T*>(p);
}

template <class T>
class CpuShardOperators final : public ShardOperators {
 public:
  explicit CpuShardOperators(Context& context) : context_(context) {}

  std::size_t hyena_piece_kept(const HyenaShape&) const override { return 0; }
  std::size_t hyena_piece_workspace(const HyenaShape& s) const override {
    return cpu::hyena_workspace<T>(context_, s, true);
  }
  void hyena_piece(const HyenaShape& s, const HyenaWeights& w, const HyenaSurroundings& around,
                   const Arrived& arrived, const void* z, void* y, void*, void* workspace) override {
    arrived();
    cpu::hyena_piece<T>(context_, s, w, around, in<T>(z), out<T>(y), out<T>(workspace));
  }
  void hyena_piece_backward(const HyenaShape& s, const HyenaWeights& w, const HyenaSurroundings& around,
                            const Arrived& arrived, const void* z, const void*, const void* dy, void* dz,
                            void* reach, const HyenaGradients& gradients, void* workspace) override {
    arrived();
    cpu::hyena_piece_backward<T>(context_, s, w, around, in<T>(z), in<T>(dy), out<T>(dz), out<T>(reach),
                                 gradients, out<T>(workspace));
  }
  void featurizer_reach(const HyenaShape& s, const HyenaWeights& w, const void* after, void* dz) override {
    cpu::featurizer_reach<T>(context_, s, w, in<T>(after), out<T>(dz));
  }
  void hyena_gate(const HyenaShape& s, const HyenaWeights& w, const void* projections, const void* z,
                  RowRange rows, void* u) override {
    cpu::hyena_gate<T>(context_, s, w, in<T>(projections), in<T>(z), rows, out<T>(u));
  }
  void hyena_query(const HyenaShape& s, const HyenaWeights& w, const void* projections, const void* z,
                   const void* x, RowRange rows, void* y) override {
    cpu::hyena_query<T>(context_, s, w, in<T>(projections), in<T>(z), in<T>(x), rows, out<T>(y));
  }
  void hyena_gate_backward(const HyenaShape& s, const HyenaWeights& w, const void* projections, const void* z,
                           const void* c, const void* dy, const void* du, void* dz, void* reach,
                           void* d_featurizer, void*) override {
    cpu::hyena_gate_backward<T>(context_, s, w, in<T>(projections), in<T>(z), in<T>(c), in<T>(dy), in<T>(du),
                                out<T>(dz), out<T>(reach), out<T>(d_featurizer));
  }
  void hyena_states(const HyenaShape& s, const HyenaWeights& w, const void* projections, const void* z,
                    const void* dy, void* states, void*) override {
    cpu::hyena_states<T>(context_, s, w, in<T>(projections), in<T>(z), in<T>(dy), out<T>(states));
  }
  void hyena_carry(const HyenaShape& s, const HyenaWeights& w, std::int64_t count, const void* from,
                   void* to) override {
    cpu::hyena_carry<T>(context_, s, w, count, in<T>(from), out<T>(to));
  }

  void fourier_add(const FourierPart& part, int piece, const void* x, std::int64_t stride,
                   void* spectrum) override {
    cpu::fourier_add<T>(context_, part, piece, in<T>(x), stride, out<T>(spectrum));
  }
  void fourier_take(const FourierPart& part, int piece, const void* spectrum, void* x,
                    std::int64_t stride) override {
    cpu::fourier_take<T>(context_, part, piece, in<T>(spectrum), out<T>(x), stride);
  }
  void fourier_filter(const FourierPart& part, const HyenaShape& s, const HyenaWeights& w,
                      void* spectrum) override {
    cpu::fourier_filter<T>(context_, part, s, w, out<T>(spectrum));
  }
  void fourier_filter_backward(const FourierPart& part, const HyenaShape& s, const HyenaWeights& w,
                               const void* u, void* g, const HyenaGradients& gradients) override {
    cpu::fourier_filter_backward<T>(context_, part, s, w, in<T>(u), out<T>(g), gradients);
  }

  void attention_split(const AttentionShape& s, std::int64_t rows, std::int64_t position, const void* qkv,
                       void* q, void* kv) override {
    cpu::attention_split<T>(context_, s, rows, position, in<T>(qkv), out<T>(q), out<T>(kv));
  }
  void attention_join(const AttentionShape& s, std::int64_t rows, std::int64_t position, const void* dq,
                      const void* dkv, void* dqkv) override {
    cpu::attention_join<T>(context_, s, rows, position, in<T>(dq), in<T>(dkv), out<T>(dqkv));
  }
  std::size_t attention_part_workspace(const AttentionPart& p) const override {
    return cpu::attention_part_workspace<T>(context_, p);
  }
  void attention_part(const AttentionPart& p, const void* q, const void* kv, bool first, void* y,
                      void* statistics, void* workspace) override {
    cpu::attention_part<T>(context_, p, in<T>(q), in<T>(kv), first, out<T>(y), out<T>(statistics),
                           out<T>(workspace));
  }
  void attention_part_backward(const AttentionPart& p, const void* q, const void* kv, const void* y,
                               const void* statistics, const void* dy, void* dq, void* dkv,
                               void* workspace) override {
    cpu::attention_part_backward<T>(context_, p, in<T>(q), in<T>(kv), in<T>(y), in<T>(statistics), in<T>(dy),
                                    out<T>(dq), out<T>(dkv), out<T>(workspace));
  }

  void to_activations(std::int64_t count, const void* real, void* activations) override {
    std::memcpy(activations, real, static_cast<std::size_t>(count) * sizeof(T));
  }
  void add_to_real(std::int64_t count, const void* activations, void* real) override {
    cpu::add<T>(context_, count, out<T>(real), in<T>(activations));
  }
  void copy_rows(std::int64_t rows, std::int64_t bytes, const void* from, std::int64_t from_stride, void* to,
                 std::int64_t to_stride) override {
    context_.pool.split(rows, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r)
        std::memcpy(static_cast<char*>(to) + r * to_stride, static_cast<const char*>(from) + r * from_stride,
                    static_cast<std::size_t>(bytes));
    });
  }

 private:
  Context& context_;
};

}  // namespace striped::cpu
