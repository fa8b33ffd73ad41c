// What a device must provide, beside striped::Backend, to work on pieces of sequences whose other pieces lie
// with other ranks (context parallelism). A "sequence" of a call's batch is one piece; what crosses its ends
// comes and goes in arrays of its own, so that these calls know nothing of ranks. Types and layouts are those
// of Backend.
#pragma once

#include "striped/backend.h"

namespace striped {

// What lies beyond the ends of each piece. Rows outside the whole sequence are zero; a null array is all
// zeros. With u = k' ⊙ v' and g = q' ⊙ dy:
struct HyenaSurroundings {
  // The rows of z before the first, [batch, featurizer_taps - 1, 3·width] activations.
  const void* projections = nullptr;
  // Explicit filters: u of the taps - 1 rows before the first, [batch, taps - 1, width] activations. LI: the
  // states s_t = λ·s_{t-1} + u_t behind the row before the first, [batch, order, width] "real".
  const void* before = nullptr;
  // The same beyond the last row, for the backward pass: g of the taps - 1 rows after it, or the adjoint
  // states p_t = λ·p_{t+1} + g_t of the row after it.
  const void* after = nullptr;
};

// Rows [first, first + count) of every piece.
struct RowRange {
  std::int64_t first, count;
};

// Queries of one piece on keys and values of the same or an earlier one.
struct AttentionPart {
  std::int64_t queries, keys;  // rows
  std::int64_t offset;         // position of the first query less that of the first key
  int heads, kv_heads, head_dim;
  std::int64_t window;  // as in AttentionShape
};

// Residues [first, first + count) of the spectrum of whole sequences in `pieces` pieces of `rows` rows, at
// frequencies pieces·m + residue + 1/4 (native/src/cpu/hyena_fourier.cpp says why quarters).
struct FourierPart {
  std::int64_t batch, rows, width;
  int pieces, first, count;
};

class ShardOperators {
 public:
  virtual ~ShardOperators() = default;

  // Backend::hyena and hyena_backward on pieces. `arrived` is called once, after what can be done without it
  // was started, and before anything in `around` is read; only LI reads the projections from the start. The
  // backward pass leaves out of dz what the featurizers of later pieces add to its last rows
  // (featurizer_reach does it), and writes to `reach` what earlier pieces miss: the gradients of the
  // featurized projections of its first min(featurizer_taps - 1, length) rows, [batch, rows, 3·width].
  // `kept`, of hyena_piece_kept() bytes, is what hyena_piece leaves for hyena_piece_backward; `workspace`,
  // here and in the calls below that have the same shape, is of hyena_piece_workspace() bytes.
  using Arrived = std::function<void()>;
  virtual std::size_t hyena_piece_kept(const HyenaShape&) const = 0;
  virtual std::size_t hyena_piece_workspace(const HyenaShape&) const = 0;
  virtual void hyena_piece(const HyenaShape&, const HyenaWeights&, const HyenaSurroundings& around,
                           const Arrived& arrived, const void* z, void* y, void* kept, void* workspace) = 0;
  virtual void hyena_piece_backward(const HyenaShape&, const HyenaWeights&, const HyenaSurroundings& around,
                                    const Arrived& arrived, const void* z, const void* kept, const void* dy,
                                    void* dz, void* reach, const HyenaGradients&, void* workspace) = 0;
  // dz += what the featurizer_taps - 1 rows after each piece, `after` [batch, featurizer_taps - 1, 3·width],
  // add to its last rows.
  virtual void featurizer_reach(const HyenaShape&, const HyenaWeights&, const void* after, void* dz) = 0;

  // Parts of the operator by themselves, on some rows. out[batch, rows, width] = u.
  virtual void hyena_gate(const HyenaShape&, const HyenaWeights&, const void* projections, const void* z,
                          RowRange rows, void* out) = 0;
  // out[batch, rows, width] = q' ⊙ x, x [batch, length, width].
  virtual void hyena_query(const HyenaShape&, const HyenaWeights&, const void* projections, const void* z,
                           const void* x, RowRange rows, void* out) = 0;
  // From dy, c (what the query gates, y = q' ⊙ c) and du: dz and the featurizer's gradient, with `reach` as
  // above.
  virtual void hyena_gate_backward(const HyenaShape&, const HyenaWeights&, const void* projections,
                                   const void* z, const void* c, const void* dy, const void* du, void* dz,
                                   void* reach, void* d_featurizer, void* workspace) = 0;

  // LI, [batch, order, width] "real": the states behind the last row, and the adjoint states of the first
  // (`dy` not null), of the piece alone.
  virtual void hyena_states(const HyenaShape&, const HyenaWeights&, const void* projections, const void* z,
                            const void* dy, void* states, void* workspace) = 0;
  // to += λ^length ⊙ from, [count, order, width] "real": states carried over a piece.
  virtual void hyena_carry(const HyenaShape&, const HyenaWeights&, std::int64_t count, const void* from,
                           void* to) = 0;

  // A convolution by its spectrum[batch, residues, rows, width, 2], "real": complex numbers. `x` has the rows
  // of one piece of every sequence, `stride` values from sequence to sequence. Takes a piece into the sums
  // over pieces that the transforms start from; and adds to a piece what these residues come to there.
  virtual void fourier_add(const FourierPart&, int piece, const void* x, std::int64_t stride,
                           void* spectrum) = 0;
  virtual void fourier_take(const FourierPart&, int piece, const void* spectrum, void* x,
                            std::int64_t stride) = 0;
  // From the sums of u to those of conv(h, u) + d ⊙ u; and from those of the output's gradient g to those of
  // u's. Gradients of weights are these residues' summands.
  virtual void fourier_filter(const FourierPart&, const HyenaShape&, const HyenaWeights&, void* spectrum) = 0;
  virtual void fourier_filter_backward(const FourierPart&, const HyenaShape&, const HyenaWeights&,
                                       const void* u, void* g, const HyenaGradients&) = 0;

  // Rows of one piece, packed as in AttentionShape and with the first at `position` in its sequence, to
  // q[heads, rows, head_dim] and kv[2, kv_heads, rows, head_dim], q and k rotated; and the gradients back,
  // from "real" ones.
  virtual void attention_split(const AttentionShape&, std::int64_t rows, std::int64_t position,
                               const void* qkv, void* q, void* kv) = 0;
  virtual void attention_join(const AttentionShape&, std::int64_t rows, std::int64_t position, const void* dq,
                              const void* dkv, void* dqkv) = 0;
  // Bytes of `workspace` below, for parts of these sizes at any offset.
  virtual std::size_t attention_part_workspace(const AttentionPart&) const = 0;
  // Takes the keys into y[queries, heads·head_dim] "real" and statistics[heads, queries] "real"
  // (log-sum-exp), which hold the result for the keys seen so far, or nothing yet (`first`).
  virtual void attention_part(const AttentionPart&, const void* q, const void* kv, bool first, void* y,
                              void* statistics, void* workspace) = 0;
  // Adds to dq[heads, queries, head_dim] and dkv[2, kv_heads, keys, head_dim], "real"; y, dy [queries,
  // heads·head_dim] activations, y and statistics those of all keys.
  virtual void attention_part_backward(const AttentionPart&, const void* q, const void* kv, const void* y,
                                       const void* statistics, const void* dy, void* dq, void* dkv,
                                       void* workspace) = 0;

  // Between "real" and activations; `add` adds to the "real" ones.
  virtual void to_activations(std::int64_t count, const void* real, void* activations) = 0;
  virtual void add_to_real(std::int64_t count, const void* activations, void* real) = 0;
  // `rows` runs of `bytes`, from and to places so many bytes apart.
  virtual void copy_rows(std::int64_t rows, std::int64_t bytes, const void* from, std::int64_t from_stride,
                         void* to, std::int64_t to_stride) = 0;
};

}  // namespace striped
