#include "parallel/slices.h"

namespace striped::parallel {

std::int64_t Slices::part() const {
  std::int64_t total = 0;
  for (const ColumnRange& range : ranges_) total += range.count;
  return total;
}

template <class Move>
void Slices::for_ranges(const Move& move) const {
  for (int rank = 0; rank < sharding_.ranks; ++rank) {
    std::int64_t staged = rank * local_rows() * part();
    for (const ColumnRange& range : ranges_) {
      move(staged, range.first + rank * range.count, range.count);
      staged += range.count;
    }
  }
}

// The staging area is [ranks, batch, pieces, piece length, part]: a piece of a sequence is one message.
void Slices::exchange(Communicator& ranks, void* staging, void* whole, bool to_whole) const {
  const std::int64_t slots = sharding_.pieces_a_rank(), count = sharding_.piece_length() * part();
  const auto staged = [&](int rank, std::int64_t b, int slot) {
    return static_cast<std::byte*>(staging) + bytes(((rank * batch_ + b) * slots + slot) * count);
  };
  const auto placed = [&](std::int64_t b, int piece) {
    return static_cast<std::byte*>(whole) + bytes((b * sharding_.length + sharding_.start(piece)) * part());
  };
  std::vector<Communicator::Send> sends;
  std::vector<Communicator::Receive> receives;
  for (int other = 0; other < sharding_.ranks; ++other) {
    for (std::int64_t b = 0; b < batch_; ++b) {
      for (int slot = 0; slot < slots; ++slot) {
        // What lies here goes to the other rank, what the other rank has comes here.
        std::byte* const here = placed(b, sharding_.piece(other, slot));
        std::byte* const there = staged(other, b, slot);
        sends.push_back({other, to_whole ? there : here, count});
        receives.push_back({other, to_whole ? here : there, count});
      }
    }
  }
  ranks.exchange(sends, receives, type_);
}

void Slices::stage(ShardOperators& operators, const void* local, void* staging) const {
  for_ranges([&](std::int64_t staged, std::int64_t column, std::int64_t count) {
    operators.copy_rows(
        local_rows(), static_cast<std::int64_t>(bytes(count)),
        static_cast<const std::byte*>(local) + bytes(column), static_cast<std::int64_t>(bytes(width_)),
        static_cast<std::byte*>(staging) + bytes(staged), static_cast<std::int64_t>(bytes(part())));
  });
}

void Slices::unstage(ShardOperators& operators, const void* staging, void* local) const {
  for_ranges([&](std::int64_t staged, std::int64_t column, std::int64_t count) {
    operators.copy_rows(
        local_rows(), static_cast<std::int64_t>(bytes(count)),
        static_cast<const std::byte*>(staging) + bytes(staged), static_cast<std::int64_t>(bytes(part())),
        static_cast<std::byte*>(local) + bytes(column), static_cast<std::int64_t>(bytes(width_)));
  });
}

}  // namespace striped::parallel
