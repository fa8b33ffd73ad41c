// How sequences lie over the ranks of a context group: cut into pieces of one length, one a rank in order, or
// two a rank in zig-zag order (rank r has pieces r and 2·ranks - 1 - r, so that causal attention costs every
// rank the same). A rank holds [batch, its pieces, piece length, ...].
#pragma once

#include <cstdint>

namespace striped::parallel {

enum class SequenceOrder : std::uint8_t { contiguous, zigzag };

// How an operator works over them.
enum class ContextStrategy : std::uint8_t {
  point_to_point,  // explicit filters: what they reach beyond a piece travels
  state,           // LI: its states travel from piece to piece
  fourier,         // long filters: a Fourier transform over the ranks
  all_to_all,      // every rank gets whole sequences of some channels, or heads
  ring,            // attention: keys and values travel
};

// As a plan says; the values here are those of one rank, where none matters.
struct Spread {
  SequenceOrder order = SequenceOrder::contiguous;
  ContextStrategy se = ContextStrategy::point_to_point, mr = ContextStrategy::point_to_point,
                  li = ContextStrategy::state, mha = ContextStrategy::ring;
};

struct Sharding {
  int ranks;
  SequenceOrder order;
  std::int64_t length;  // of the whole sequence; a multiple of pieces()

  int pieces_a_rank() const { return order == SequenceOrder::zigzag ? 2 : 1; }
  int pieces() const { return ranks * pieces_a_rank(); }
  std::int64_t piece_length() const { return length / pieces(); }
  std::int64_t local_length() const { return length / ranks; }

  int piece(int rank, int slot) const { return slot == 0 ? rank : 2 * ranks - 1 - rank; }
  int owner(int piece) const { return piece < ranks ? piece : 2 * ranks - 1 - piece; }
  int slot(int piece) const { return piece < ranks ? 0 : 1; }
  std::int64_t start(int piece) const { return piece * piece_length(); }
};

}  // namespace striped::parallel
