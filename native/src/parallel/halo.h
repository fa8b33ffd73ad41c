// Rows that lie just beyond the ends of a rank's pieces, brought from the ranks that hold them: from as many
// pieces as it takes when these are shorter than what is wanted.
#pragma once

#include <initializer_list>

#include "core/communicator.h"
#include "parallel/sharding.h"

namespace striped::parallel {

enum class Side : std::uint8_t { before, after };

struct Halo {
  Side side;
  std::int64_t rows;   // beyond each piece's end
  std::int64_t width;  // values a row
  std::int64_t batch;
  std::int64_t source;  // rows of each piece that are at hand: its last ones, for `before`, or first; at
                        // least min(rows, piece length)
  DType type;

  std::int64_t values(const Sharding& s) const { return batch * s.pieces_a_rank() * rows * width; }
};

// halo[batch, pieces, rows, width], in the order of time, from source[batch, pieces, source, width] of all
// ranks.
struct HaloPassing {
  Halo what;
  const void* source;
  void* halo;
};

// All of them at once, of one type. Rows outside the whole sequence become zero. Every rank must call.
void exchange_halos(Backend& backend, Communicator& ranks, const Sharding& sharding,
                    std::initializer_list<HaloPassing> halos);

}  // namespace striped::parallel
