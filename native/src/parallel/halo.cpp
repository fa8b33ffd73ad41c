#include "parallel/halo.h"

#include <algorithm>

namespace striped::parallel {
namespace {

// Rows [first, end) of a whole sequence.
struct Span {
  std::int64_t first, end;
};

Span wanted(const Sharding& s, const Halo& h, int piece) {
  const std::int64_t from = h.side == Side::before ? s.start(piece) - h.rows : s.start(piece + 1);
  return {from, from + h.rows};
}

struct Messages {
  std::vector<Communicator::Send> sends;
  std::vector<Communicator::Receive> receives;
};

class Passing {
 public:
  Passing(const Sharding& sharding, const HaloPassing& passing, int rank)
      : sharding_(sharding),
        what_(passing.what),
        rank_(rank),
        source_(static_cast<const std::byte*>(passing.source)),
        halo_(static_cast<std::byte*>(passing.halo)) {}

  // In one order on all ranks, so that the messages between two ranks meet their places.
  void list(Messages& messages) const {
    for (int piece = 0; piece < sharding_.pieces(); ++piece) {
      const Span want = wanted(sharding_, what_, piece);
      for (int from = 0; from < sharding_.pieces(); ++from) {
        const Span part{std::max(want.first, sharding_.start(from)),
                        std::min(want.end, sharding_.start(from + 1))};
        if (part.first < part.end) list_part(messages, piece, want.first, from, part);
      }
    }
  }

  // What no piece holds.
  void clear_outside(Backend& backend) const {
    for (int slot = 0; slot < sharding_.pieces_a_rank(); ++slot) {
      const Span want = wanted(sharding_, what_, sharding_.piece(rank_, slot));
      const std::int64_t early = std::clamp<std::int64_t>(-want.first, 0, what_.rows);
      const std::int64_t late = std::clamp<std::int64_t>(want.end - sharding_.length, 0, what_.rows);
      for (std::int64_t b = 0; b < what_.batch; ++b) {
        if (early > 0) backend.zero(halo_ + bytes((b * slots() + slot) * what_.rows), bytes(early));
        if (late > 0) backend.zero(halo_ + bytes((b * slots() + slot + 1) * what_.rows - late), bytes(late));
      }
    }
  }

 private:
  std::int64_t slots() const { return sharding_.pieces_a_rank(); }
  std::size_t bytes(std::int64_t rows) const {
    return static_cast<std::size_t>(rows * what_.width) * size_of(what_.type);
  }

  void list_part(Messages& messages, int piece, std::int64_t halo_start, int from, Span part) const {
    const int to_rank = sharding_.owner(piece), from_rank = sharding_.owner(from);
    const std::int64_t count = (part.end - part.first) * what_.width;
    // The row of the source that is the piece's first one.
    const std::int64_t skipped = what_.side == Side::before ? sharding_.piece_length() - what_.source : 0;
    for (std::int64_t b = 0; b < what_.batch; ++b) {
      if (from_rank == rank_) {
        const std::int64_t row = part.first - sharding_.start(from) - skipped;
        messages.sends.push_back(
            {to_rank, source_ + bytes((b * slots() + sharding_.slot(from)) * what_.source + row), count});
      }
      if (to_rank == rank_) {
        const std::int64_t row = (b * slots() + sharding_.slot(piece)) * what_.rows + part.first - halo_start;
        messages.receives.push_back({from_rank, halo_ + bytes(row), count});
      }
    }
  }

  Sharding sharding_;
  Halo what_;
  int rank_;
  const std::byte* source_;
  std::byte* halo_;
};

}  // namespace

void exchange_halos(Backend& backend, Communicator& ranks, const Sharding& sharding,
                    std::initializer_list<HaloPassing> halos) {
  Messages messages;
  for (const HaloPassing& halo : halos) {
    const Passing passing(sharding, halo, ranks.rank());
    passing.clear_outside(backend);
    passing.list(messages);
  }
  ranks.exchange(messages.sends, messages.receives, halos.begin()->what.type);
}

}  // namespace striped::parallel
