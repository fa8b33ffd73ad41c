#include "parallel/context_pieces.h"

#include <algorithm>

#include "parallel/carver.h"

namespace striped::parallel {

// ---- point to point

struct PointToPoint::Kept : Carver {
  Kept(const PieceWork& w, const Halo& filter, void* base)
      : Carver(base),
        projections(take(w.projections().values(w.sharding), w.value)),
        before(take(filter.values(w.sharding), w.value)),
        inner(take_bytes(w.operators.hyena_piece_kept(w.piece))) {}
  void *projections, *before, *inner;
};

struct PointToPoint::Scratch : Carver {
  Scratch(const PieceWork& w, const Halo& filter, void* base)
      : Carver(base),
        edge(take(w.piece.batch * filter.source * w.piece.width, w.value)),
        after(take(filter.values(w.sharding), w.value)),
        reach(take(w.piece.batch * w.reach_rows() * 3 * w.piece.width, w.value)),
        beyond(take(w.reach().values(w.sharding), w.value)),
        inner(take_bytes(w.operators.hyena_piece_workspace(w.piece))) {}
  void *edge, *after, *reach, *beyond, *inner;
};

RowRange PointToPoint::edge(Side side) const {
  const std::int64_t length = work_.piece.length, rows = std::min<std::int64_t>(work_.piece.taps - 1, length);
  return {side == Side::before ? length - rows : 0, rows};
}

Halo PointToPoint::filter_halo(Side side) const {
  return work_.halo(side, work_.piece.taps - 1, work_.piece.width, edge(side).count);
}

std::size_t PointToPoint::kept_bytes() const {
  return Kept(work_, filter_halo(Side::before), nullptr).used();
}

std::size_t PointToPoint::workspace_bytes() const {
  return Scratch(work_, filter_halo(Side::before), nullptr).used();
}

void PointToPoint::forward(Communicator& ranks, const HyenaWeights& weights, const void* z, void* y,
                           const ContextBuffers& buffers) {
  const Halo filter = filter_halo(Side::before);
  const Kept kept(work_, filter, buffers.kept);
  const Scratch scratch(work_, filter, buffers.workspace);
  const HaloPassing rows{work_.projections(), z, kept.projections}, values{filter, scratch.edge, kept.before};
  // Only the first rows of a piece need what comes: where the values to send are not of these, all goes at
  // once.
  const RowRange sent = edge(Side::before);
  const bool at_once = sent.first >= work_.reach_rows();
  if (!at_once) work_.exchange(ranks, {rows});
  if (sent.count > 0)
    work_.operators.hyena_gate(work_.piece, weights, at_once ? nullptr : kept.projections, z, sent,
                               scratch.edge);
  const std::uint64_t coming =
      ranks.aside([&] { at_once ? work_.exchange(ranks, {rows, values}) : work_.exchange(ranks, {values}); });
  const auto arrived = [&] { ranks.join(coming); };
  work_.operators.hyena_piece(work_.piece, weights, {kept.projections, kept.before, nullptr}, arrived, z, y,
                              kept.inner, scratch.inner);
}

void PointToPoint::backward(Communicator& ranks, const HyenaWeights& weights, const void* z, const void* dy,
                            void* dz, const HyenaGradients& gradients, const ContextBuffers& buffers) {
  const Halo filter = filter_halo(Side::after);
  const Kept kept(work_, filter, buffers.kept);
  const Scratch scratch(work_, filter, buffers.workspace);
  const RowRange sent = edge(Side::after);
  if (sent.count > 0)
    work_.operators.hyena_query(work_.piece, weights, kept.projections, z, dy, sent, scratch.edge);
  const std::uint64_t coming =
      ranks.aside([&] { work_.exchange(ranks, {{filter, scratch.edge, scratch.after}}); });
  const auto arrived = [&] { ranks.join(coming); };
  work_.operators.hyena_piece_backward(work_.piece, weights, {kept.projections, kept.before, scratch.after},
                                       arrived, z, kept.inner, dy, dz, scratch.reach, gradients,
                                       scratch.inner);
  work_.finish_projections(ranks, weights, scratch.reach, scratch.beyond, dz);
}

// ---- state passing

struct StatePassing::Kept : Carver {
  Kept(const PieceWork& w, std::int64_t state, void* base)
      : Carver(base),
        projections(take(w.projections().values(w.sharding), w.value)),
        entering(take(w.piece.batch * state, w.real)),
        inner(take_bytes(w.operators.hyena_piece_kept(w.piece))) {}
  void *projections, *entering, *inner;
};

struct StatePassing::Scratch : Carver {
  Scratch(const PieceWork& w, std::int64_t state, void* base)
      : Carver(base),
        leaving(take(w.piece.batch * state, w.real)),
        after(take(w.piece.batch * state, w.real)),
        reach(take(w.piece.batch * w.reach_rows() * 3 * w.piece.width, w.value)),
        beyond(take(w.reach().values(w.sharding), w.value)),
        inner(take_bytes(w.operators.hyena_piece_workspace(w.piece))) {}
  void *leaving, *after, *reach, *beyond, *inner;
};

std::size_t StatePassing::kept_bytes() const { return Kept(work_, state_values(), nullptr).used(); }

std::size_t StatePassing::workspace_bytes() const { return Scratch(work_, state_values(), nullptr).used(); }

// From the states that each piece alone leaves to those that enter it, from piece to piece beside the
// backend's queue; `leaving` is used up. Where a piece is not the first, what it leaves waits for what enters
// it.
class StatePassing::Hops {
 public:
  Hops(const StatePassing& states, Communicator& ranks, const HyenaWeights& weights, Side side, void* leaving,
       void* entering)
      : work_(states.work_),
        ranks_(ranks),
        weights_(weights),
        state_(states.state_values()),
        step_(side == Side::before ? 1 : -1),
        piece_(side == Side::before ? 0 : work_.sharding.pieces() - 1),
        leaving_(leaving),
        entering_(entering) {
    const std::int64_t values = work_.piece.batch * state_;
    work_.backend.zero(entering, static_cast<std::size_t>(values) * size_of(work_.real));
    // As far as nothing that comes is needed here.
    while (left() && (hop_ == 0 || !is_here(piece_))) pass();
  }
  void finish() {
    while (left()) {
      if (hop_ > 0 && is_here(piece_)) carry();
      pass();
    }
    ranks_.join(passed_);
  }

 private:
  bool left() const { return hop_ + 1 < work_.sharding.pieces(); }
  bool is_here(int piece) const { return work_.sharding.owner(piece) == ranks_.rank(); }
  void* at(void* states, std::int64_t b, int piece) const {
    const std::int64_t index = b * work_.sharding.pieces_a_rank() + work_.sharding.slot(piece);
    return static_cast<std::byte*>(states) + static_cast<std::size_t>(index * state_) * size_of(work_.real);
  }
  void carry() const {
    ranks_.join(passed_);
    for (std::int64_t b = 0; b < work_.batch; ++b)
      work_.operators.hyena_carry(work_.piece, weights_, 1, at(entering_, b, piece_),
                                  at(leaving_, b, piece_));
  }
  void pass() {
    const int next = piece_ + step_;
    std::vector<Communicator::Send> sends;
    std::vector<Communicator::Receive> receives;
    for (std::int64_t b = 0; b < work_.batch; ++b) {
      if (is_here(piece_)) sends.push_back({work_.sharding.owner(next), at(leaving_, b, piece_), state_});
      if (is_here(next)) receives.push_back({work_.sharding.owner(piece_), at(entering_, b, next), state_});
    }
    passed_ = ranks_.aside([&] { ranks_.exchange(sends, receives, work_.real); });
    piece_ = next;
    ++hop_;
  }

  const PieceWork& work_;
  Communicator& ranks_;
  const HyenaWeights& weights_;
  std::int64_t state_;
  int step_, piece_, hop_ = 0;
  void *leaving_, *entering_;
  std::uint64_t passed_ = 0;
};

void StatePassing::forward(Communicator& ranks, const HyenaWeights& weights, const void* z, void* y,
                           const ContextBuffers& buffers) {
  const Kept kept(work_, state_values(), buffers.kept);
  const Scratch scratch(work_, state_values(), buffers.workspace);
  work_.exchange(ranks, {{work_.projections(), z, kept.projections}});
  work_.operators.hyena_states(work_.piece, weights, kept.projections, z, nullptr, scratch.leaving,
                               scratch.inner);
  Hops hops(*this, ranks, weights, Side::before, scratch.leaving, kept.entering);
  const auto arrived = [&] { hops.finish(); };
  work_.operators.hyena_piece(work_.piece, weights, {kept.projections, kept.entering, nullptr}, arrived, z, y,
                              kept.inner, scratch.inner);
}

void StatePassing::backward(Communicator& ranks, const HyenaWeights& weights, const void* z, const void* dy,
                            void* dz, const HyenaGradients& gradients, const ContextBuffers& buffers) {
  const Kept kept(work_, state_values(), buffers.kept);
  const Scratch scratch(work_, state_values(), buffers.workspace);
  work_.operators.hyena_states(work_.piece, weights, kept.projections, z, dy, scratch.leaving, scratch.inner);
  Hops hops(*this, ranks, weights, Side::after, scratch.leaving, scratch.after);
  const auto arrived = [&] { hops.finish(); };
  work_.operators.hyena_piece_backward(work_.piece, weights, {kept.projections, kept.entering, scratch.after},
                                       arrived, z, kept.inner, dy, dz, scratch.reach, gradients,
                                       scratch.inner);
  work_.finish_projections(ranks, weights, scratch.reach, scratch.beyond, dz);
}

}  // namespace striped::parallel
