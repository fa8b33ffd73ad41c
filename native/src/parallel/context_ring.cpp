#include "parallel/context_ring.h"

#include <array>

#include "parallel/carver.h"
#include "parallel/surroundings.h"

namespace striped::parallel {

Ring::Ring(const AttentionShape& shape, const Sharding& sharding, Backend& backend)
    : shape_(shape),
      sharding_(sharding),
      backend_(backend),
      operators_(shard_operators_of(backend)),
      value_(backend.activation_type()),
      real_(real_type(value_)),
      rows_(sharding.piece_length()),
      queries_(rows_ * shape.heads * shape.head_dim),
      keys_(2 * rows_ * shape.kv_heads * shape.head_dim),
      output_(queries_) {}

struct Ring::Scratch : Carver {
  Scratch(const Ring& ring, void* base)
      : Carver(base),
        pieces(ring.shape_.batch * ring.sharding_.pieces_a_rank()),
        q(take(pieces * ring.queries_, ring.value_)),
        own(take(pieces * ring.keys_, ring.value_)),
        others{take(pieces * ring.keys_, ring.value_), take(pieces * ring.keys_, ring.value_)},
        returned(take(pieces * ring.keys_, ring.value_)),
        y(take(pieces * ring.output_, ring.real_)),
        d_own(take(pieces * ring.keys_, ring.real_)),
        d_others(take(pieces * ring.keys_, ring.real_)),
        inner(take_bytes(ring.operators_.attention_part_workspace(ring.part(0, 0)))) {}
  std::int64_t pieces;
  void *q, *own;
  std::array<void*, 2> others;  // in turn: the next keys come while these are worked on
  void* returned;               // gradients of own keys
  void* y;                      // forward; backward the gradients of q
  void *d_own, *d_others;
  void* inner;
};

std::size_t Ring::workspace_bytes() const { return Scratch(*this, nullptr).used(); }

void* Ring::at(void* array, std::int64_t values, DType type, const Place& place) const {
  const std::int64_t index = place.b * sharding_.pieces_a_rank() + place.slot;
  return static_cast<std::byte*>(array) + static_cast<std::size_t>(index * values) * size_of(type);
}

bool Ring::sees(int query_piece, int key_piece) const {
  if (key_piece > query_piece) return false;
  // From the first query to the last key.
  const std::int64_t nearest = (query_piece - key_piece) * rows_ - (rows_ - 1);
  return shape_.window == 0 || nearest < shape_.window;
}

bool Ring::any_sees(int rank, int key_piece) const {
  for (int slot = 0; slot < sharding_.pieces_a_rank(); ++slot)
    if (sees(sharding_.piece(rank, slot), key_piece)) return true;
  return false;
}

AttentionPart Ring::part(int query_piece, int key_piece) const {
  return {rows_,           rows_,        (query_piece - key_piece) * rows_, shape_.heads, shape_.kv_heads,
          shape_.head_dim, shape_.window};
}

template <class Visit>
void Ring::for_parts(int here, int rank, const Visit& visit) const {
  for (std::int64_t b = 0; b < shape_.batch; ++b) {
    for (int mine = 0; mine < sharding_.pieces_a_rank(); ++mine) {
      // Of this rank's own keys, those of the same piece come first: every query sees some of them.
      for (int its = sharding_.pieces_a_rank() - 1; its >= 0; --its) {
        const int query_piece = sharding_.piece(here, mine), key_piece = sharding_.piece(rank, its);
        if (sees(query_piece, key_piece)) visit(Place{b, mine}, Place{b, its}, part(query_piece, key_piece));
      }
    }
  }
}

void Ring::split(int rank, const void* qkv, const Scratch& scratch) const {
  for (std::int64_t b = 0; b < shape_.batch; ++b) {
    for (int slot = 0; slot < sharding_.pieces_a_rank(); ++slot) {
      const Place place{b, slot};
      operators_.attention_split(shape_, rows_, sharding_.start(sharding_.piece(rank, slot)),
                                 at(qkv, queries_ + keys_, value_, place),
                                 at(scratch.q, queries_, value_, place),
                                 at(scratch.own, keys_, value_, place));
    }
  }
}

void Ring::send_keys(Communicator& ranks, int step, const void* own, void* others) const {
  const int size = sharding_.ranks, to = (ranks.rank() + step) % size,
            from = (ranks.rank() + size - step) % size;
  std::vector<Communicator::Send> sends;
  std::vector<Communicator::Receive> receives;
  for (std::int64_t b = 0; b < shape_.batch; ++b) {
    for (int slot = 0; slot < sharding_.pieces_a_rank(); ++slot) {
      const Place place{b, slot};
      if (any_sees(to, sharding_.piece(ranks.rank(), slot)))
        sends.push_back({to, at(own, keys_, value_, place), keys_});
      if (any_sees(ranks.rank(), sharding_.piece(from, slot)))
        receives.push_back({from, at(others, keys_, value_, place), keys_});
    }
  }
  ranks.exchange(sends, receives, value_);
}

void Ring::send_gradients(Communicator& ranks, int step, const void* others, void* own) const {
  const int size = sharding_.ranks, owner = (ranks.rank() + size - step) % size,
            from = (ranks.rank() + step) % size;
  std::vector<Communicator::Send> sends;
  std::vector<Communicator::Receive> receives;
  for (std::int64_t b = 0; b < shape_.batch; ++b) {
    for (int slot = 0; slot < sharding_.pieces_a_rank(); ++slot) {
      const Place place{b, slot};
      if (any_sees(ranks.rank(), sharding_.piece(owner, slot)))
        sends.push_back({owner, at(others, keys_, value_, place), keys_});
      if (any_sees(from, sharding_.piece(ranks.rank(), slot)))
        receives.push_back({from, at(own, keys_, value_, place), keys_});
    }
  }
  ranks.exchange(sends, receives, value_);
}

void Ring::forward(Communicator& ranks, const void* qkv, void* y, void* statistics,
                   const ContextBuffers& buffers) {
  const Scratch scratch(*this, buffers.workspace);
  const int here = ranks.rank(), size = sharding_.ranks;
  // Where activations are "real" themselves, y is its own sum.
  void* const sum = real_ == value_ ? y : scratch.y;
  split(here, qkv, scratch);
  for (int step = 0; step < size; ++step) {
    const void* const keys = step == 0 ? scratch.own : scratch.others[step % 2];
    const std::uint64_t coming = ranks.aside([&] {
      if (step + 1 < size) send_keys(ranks, step + 1, scratch.own, scratch.others[(step + 1) % 2]);
    });
    for_parts(here, (here + size - step) % size,
              [&](const Place& mine, const Place& its, const AttentionPart& part) {
                const bool first = step == 0 && part.offset == 0;
                operators_.attention_part(part, at(scratch.q, queries_, value_, mine),
                                          at(keys, keys_, value_, its), first, at(sum, output_, real_, mine),
                                          at(statistics, rows_ * shape_.heads, real_, mine), scratch.inner);
              });
    ranks.join(coming);
  }
  if (sum != y) operators_.to_activations(scratch.pieces * output_, sum, y);
}

void Ring::backward(Communicator& ranks, const void* qkv, const void* y, const void* statistics,
                    const void* dy, void* dqkv, const ContextBuffers& buffers) {
  const Scratch scratch(*this, buffers.workspace);
  const int here = ranks.rank(), size = sharding_.ranks;
  const auto bytes = [&](std::int64_t values) { return static_cast<std::size_t>(values) * size_of(real_); };
  split(here, qkv, scratch);
  backend_.zero(scratch.y, bytes(scratch.pieces * queries_));
  backend_.zero(scratch.d_own, bytes(scratch.pieces * keys_));
  const auto work_on = [&](int step) {
    if (step > 0) backend_.zero(scratch.d_others, bytes(scratch.pieces * keys_));
    void* const keys = step == 0 ? scratch.own : scratch.others[step % 2];
    void* const gradients = step == 0 ? scratch.d_own : scratch.d_others;
    for_parts(here, (here + size - step) % size,
              [&](const Place& mine, const Place& its, const AttentionPart& part) {
                operators_.attention_part_backward(
                    part, at(scratch.q, queries_, value_, mine), at(keys, keys_, value_, its),
                    at(y, output_, value_, mine), at(statistics, rows_ * shape_.heads, real_, mine),
                    at(dy, output_, value_, mine), at(scratch.y, queries_, real_, mine),
                    at(gradients, keys_, real_, its), scratch.inner);
              });
  };
  // One step more than keys: in it the last gradients come home.
  for (int step = 0; step <= size; ++step) {
    const bool returns = step > 1;
    void* const others = scratch.others[(step + 1) % 2];
    if (returns)
      backend_.zero(scratch.returned, static_cast<std::size_t>(scratch.pieces * keys_) * size_of(value_));
    const std::uint64_t passing = ranks.aside([&] {
      if (returns) send_gradients(ranks, step - 1, others, scratch.returned);
      if (step + 1 < size) send_keys(ranks, step + 1, scratch.own, others);
    });
    if (step < size) work_on(step);
    ranks.join(passing);
    if (returns) operators_.add_to_real(scratch.pieces * keys_, scratch.returned, scratch.d_own);
    // The keys here are needed no more: their places take the gradients on the way.
    if (step > 0 && step < size)
      operators_.to_activations(scratch.pieces * keys_, scratch.d_others, scratch.others[step % 2]);
  }
  for (std::int64_t b = 0; b < shape_.batch; ++b) {
    for (int slot = 0; slot < sharding_.pieces_a_rank(); ++slot) {
      const Place place{b, slot};
      operators_.attention_join(shape_, rows_, sharding_.start(sharding_.piece(here, slot)),
                                at(scratch.y, queries_, real_, place), at(scratch.d_own, keys_, real_, place),
                                at(dqkv, queries_ + keys_, value_, place));
    }
  }
}

}  // namespace striped::parallel
