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

void PieceWork::gate(Communicator& ranks, const HyenaWeights& weights, const void* z, void* before,
                     void* first, void* u) const {
  // What comes changes the first rows alone, which are made again.
  const std::uint64_t coming = ranks.aside([&] { exchange(ranks, {{projections(), z, before}}); });
  operators.hyena_gate(piece, weights, nullptr, z, {0, piece.length}, u);
  ranks.join(coming);
  const std::int64_t rows = reach_rows();
  if (rows == 0) return;
  operators.hyena_gate(piece, weights, before, z, {0, rows}, first);
  const auto bytes = piece.width * static_cast<std::int64_t>(size_of(value));
  operators.copy_rows(piece.batch, rows * bytes, first, rows * bytes, u, piece.length * bytes);
}

void PieceWork::finish_projections(Communicator& ranks, const HyenaWeights& weights, const void* reach_out,
                                   void* beyond, void* dz) const {
  if (piece.featurizer_taps == 1) return;
  exchange(ranks, {{reach(), reach_out, beyond}});
  operators.featurizer_reach(piece, weights, beyond, dz);
}

}  // namespace striped::parallel
