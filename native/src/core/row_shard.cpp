#include "core/row_shard.h"

namespace striped {

// A context rank has its pieces of every sequence; of those rows, one behind the other, a tensor rank has one
// stretch where they share out the stream.
RowShard::RowShard(const RankPlace& place, std::int64_t batch, std::int64_t length)
    : everything_(place.context.count == 1 && !place.sequence) {
  const parallel::Sharding sharding = place.sharding(length);
  for (std::int64_t sequence = 0; sequence < batch; ++sequence) {
    for (int slot = 0; slot < sharding.pieces_a_rank(); ++slot) {
      const std::int64_t first =
          sequence * length + sharding.start(sharding.piece(place.context.index, slot));
      for (std::int64_t i = 0; i < sharding.piece_length(); ++i) rows_.push_back(first + i);
    }
  }
  if (!place.sequence) return;
  const auto share = static_cast<std::ptrdiff_t>(rows_.size()) / place.tensor.count;
  const auto first = rows_.begin() + place.tensor.index * share;
  rows_ = std::vector<std::int64_t>(first, first + share);
}

MicroBatch RowShard::take(const SampleBatch& windows, std::int64_t first) {
  if (everything_)
    return {windows.tokens.data() + first, windows.targets.data() + first, windows.weights.data() + first};
  taken_ = {};
  for (const std::int64_t row : rows_) {
    const auto place = static_cast<std::size_t>(first + row);
    taken_.tokens.push_back(windows.tokens[place]);
    taken_.targets.push_back(windows.targets[place]);
    taken_.weights.push_back(windows.weights[place]);
  }
  return {taken_.tokens.data(), taken_.targets.data(), taken_.weights.data()};
}

}  // namespace striped
