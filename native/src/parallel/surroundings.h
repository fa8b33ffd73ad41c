// What the strategies of ContextHyena have in common: pieces as the sequences of a call, and what their
// featurizers need of one another.
#pragma once

#include "parallel/context_hyena.h"
#include "parallel/halo.h"

namespace striped::parallel {

// Throws Error "context-strategy" where the backend has none.
ShardOperators& shard_operators_of(Backend& backend);

struct PieceWork {
  PieceWork(const HyenaShape& whole, const Sharding& sharding, Backend& backend);

  DType value, real;
  Sharding sharding;
  Backend& backend;
  ShardOperators& operators;
  HyenaShape piece;    // batch: all pieces of this rank
  std::int64_t batch;  // sequences
  std::int64_t rows() const { return piece.batch * piece.length; }

  // Halos of rows of `width` values that reach `rows` beyond a piece; `source` as in Halo.
  Halo halo(Side side, std::int64_t rows, std::int64_t width, std::int64_t source) const {
    return {side, rows, width, batch, source, value};
  }
  // Rows of z before each piece, [pieces, featurizer_taps - 1, 3·width].
  Halo projections() const {
    return halo(Side::before, piece.featurizer_taps - 1, 3 * piece.width, piece.length);
  }
  // Rows of d that the backward pass leaves for earlier pieces.
  std::int64_t reach_rows() const;
  Halo reach() const { return halo(Side::after, piece.featurizer_taps - 1, 3 * piece.width, reach_rows()); }

  void exchange(Communicator& ranks, std::initializer_list<HaloPassing> halos) const {
    exchange_halos(backend, ranks, sharding, halos);
  }
  // u of all rows, from z, whose rows before the pieces are brought to `before`. `first` is scratch: u of
  // reach_rows() of every piece.
  void gate(Communicator& ranks, const HyenaWeights& weights, const void* z, void* before, void* first,
            void* u) const;
  // dz += what later pieces' featurizers add.
  void finish_projections(Communicator& ranks, const HyenaWeights& weights, const void* reach, void* beyond,
                          void* dz) const;
};

}  // namespace striped::parallel
