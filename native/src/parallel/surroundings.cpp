#include "parallel/surroundings.h"

#include <algorithm>

#include "striped/error.h"

namespace striped::parallel {

ShardOperators& shard_operators_of(Backend& backend) {
  if (ShardOperators* const operators = backend.shards()) return *operators;
  throw Error("context-strategy",
              "the " + backend.name() + " backend has no operators for parts of sequences");
}

PieceWork::PieceWork(const HyenaShape& whole, const Sharding& sharded, Backend& on)
    : value(on.activation_type()),
      real(real_type(value)),
      sharding(sharded),
      backend(on),
      operators(shard_operators_of(on)),
      piece(whole),
      batch(whole.batch) {
  piece.batch = whole.batch * sharding.pieces_a_rank();
  piece.length = sharding.piece_length();
}

std::int64_t PieceWork::reach_rows() const {
  return std::min<std::int64_t>(piece.featurizer_taps - 1, piece.length);
}

void PieceWork::finish_projections(Communicator& ranks, const HyenaWeights& weights, const void* reach_out,
                                   void* beyond, void* dz) const {
  if (piece.featurizer_taps == 1) return;
  exchange(ranks, reach(), reach_out, beyond);
  operators.featurizer_reach(piece, weights, beyond, dz);
}

}  // namespace striped::parallel
