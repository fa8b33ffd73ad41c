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
  const auto arrived = [&] {
    work_.exchange(ranks, work_.projections(), z, kept.projections);
    if (filter.rows == 0) return;
    work_.operators.hyena_gate(work_.piece, weights, kept.projections, z, edge(Side::before), scratch.edge);
    work_.exchange(ranks, filter, scratch.edge, kept.before);
  };
  work_.operators.hyena_piece(work_.piece, weights, {kept.projections, kept.before, nullptr}, arrived, z, y,
                              kept.inner, scratch.inner);
}

void PointToPoint::backward(Communicator& ranks, const HyenaWeights& weights, const void* z, const void* dy,
                            void* dz, const HyenaGradients& gradients, const ContextBuffers& buffers) {
  const Halo filter = filter_halo(Side::after);
  const Kept kept(work_, filter, buffers.kept);
  const Scratch scratch(work_, filter, buffers.workspace);
  const auto arrived = [&] {
    if (filter.rows == 0) return;
    work_.operators.hyena_query(work_.piece, weights, kept.projections, z, dy, edge(Side::after),
                                scratch.edge);
    work_.exchange(ranks, filter, scratch.edge, scratch.after);
  };
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

void StatePassing::pass_on(Communicator& ranks, const HyenaWeights& weights, Side side, void* leaving,
                           void* entering) const {
  const Sharding& sharding = work_.sharding;
  const std::int64_t slots = sharding.pieces_a_rank(), state = state_values();
  const auto at = [&](void* states, std::int64_t b, int piece) {
    const std::int64_t index = b * slots + sharding.slot(piece);
    return static_cast<std::byte*>(states) + static_cast<std::size_t>(index * state) * size_of(work_.real);
  };
  work_.backend.zero(entering, static_cast<std::size_t>(work_.piece.batch * state) * size_of(work_.real));
  const int pieces = sharding.pieces(), step = side == Side::before ? 1 : -1;
  int piece = side == Side::before ? 0 : pieces - 1;
  for (int hop = 0; hop + 1 < pieces; ++hop, piece += step) {
    std::vector<Communicator::Send> sends;
    std::vector<Communicator::Receive> receives;
    for (std::int64_t b = 0; b < work_.batch; ++b) {
      if (sharding.owner(piece) == ranks.rank()) {
        if (hop > 0) {
          work_.operators.hyena_carry(work_.piece, weights, 1, at(entering, b, piece), at(leaving, b, piece));
        }
        sends.push_back({sharding.owner(piece + step), at(leaving, b, piece), state});
      }
      if (sharding.owner(piece + step) == ranks.rank())
        receives.push_back({sharding.owner(piece), at(entering, b, piece + step), state});
    }
    ranks.exchange(sends, receives, work_.real);
  }
}

void StatePassing::forward(Communicator& ranks, const HyenaWeights& weights, const void* z, void* y,
                           const ContextBuffers& buffers) {
  const Kept kept(work_, state_values(), buffers.kept);
  const Scratch scratch(work_, state_values(), buffers.workspace);
  work_.exchange(ranks, work_.projections(), z, kept.projections);
  work_.operators.hyena_states(work_.piece, weights, kept.projections, z, nullptr, scratch.leaving,
                               scratch.inner);
  const auto arrived = [&] { pass_on(ranks, weights, Side::before, scratch.leaving, kept.entering); };
  work_.operators.hyena_piece(work_.piece, weights, {kept.projections, kept.entering, nullptr}, arrived, z, y,
                              kept.inner, scratch.inner);
}

void StatePassing::backward(Communicator& ranks, const HyenaWeights& weights, const void* z, const void* dy,
                            void* dz, const HyenaGradients& gradients, const ContextBuffers& buffers) {
  const Kept kept(work_, state_values(), buffers.kept);
  const Scratch scratch(work_, state_values(), buffers.workspace);
  work_.operators.hyena_states(work_.piece, weights, kept.projections, z, dy, scratch.leaving, scratch.inner);
  const auto arrived = [&] { pass_on(ranks, weights, Side::after, scratch.leaving, scratch.after); };
  work_.operators.hyena_piece_backward(work_.piece, weights, {kept.projections, kept.entering, scratch.after},
                                       arrived, z, kept.inner, dy, dz, scratch.reach, gradients,
                                       scratch.inner);
  work_.finish_projections(ranks, weights, scratch.reach, scratch.beyond, dz);
}

}  // namespace striped::parallel
