#include "parallel/context_fourier.h"

#include "parallel/carver.h"

namespace striped::parallel {

struct FourierSpread::Kept : Carver {
  Kept(const PieceWork& w, void* base)
      : Carver(base),
        projections(take(w.projections().values(w.sharding), w.value)),
        convolved(take(w.rows() * w.piece.width, w.value)) {}
  void *projections, *convolved;
};

struct FourierSpread::Scratch : Carver {
  Scratch(const PieceWork& w, void* base)
      : Carver(base),
        u(take(w.rows() * w.piece.width, w.value)),
        passing(take(w.rows() * w.piece.width, w.value)),
        arriving(take(w.rows() * w.piece.width, w.value)),
        spectrum(take(2 * w.rows() * w.piece.width, w.real)),
        spectrum_g(take(2 * w.rows() * w.piece.width, w.real)),
        first(take(w.piece.batch * w.reach_rows() * w.piece.width, w.value)),
        reach(take(w.piece.batch * w.reach_rows() * 3 * w.piece.width, w.value)),
        beyond(take(w.reach().values(w.sharding), w.value)),
        inner(take_bytes(w.operators.hyena_piece_workspace(w.piece))) {}
  void *u, *passing, *arriving, *spectrum, *spectrum_g, *first, *reach, *beyond, *inner;
};

std::size_t FourierSpread::kept_bytes() const { return Kept(work_, nullptr).used(); }
std::size_t FourierSpread::workspace_bytes() const { return Scratch(work_, nullptr).used(); }

FourierPart FourierSpread::part(int rank) const {
  const int count = work_.sharding.pieces_a_rank();
  return {work_.batch, work_.piece.length, work_.piece.width, work_.sharding.pieces(), rank * count, count};
}

template <class Visit>
void FourierSpread::for_pieces(int rank, const Visit& visit) const {
  for (int slot = 0; slot < work_.sharding.pieces_a_rank(); ++slot)
    visit(work_.sharding.piece(rank, slot), slot * work_.piece.length * work_.piece.width);
}

void FourierSpread::to_residues(Communicator& ranks, const void* local, const Turns& arriving,
                                void* spectrum) const {
  const int size = ranks.size(), rank = ranks.rank();
  const std::int64_t values = local_values(), sequence = values / work_.batch;
  work_.backend.zero(spectrum, 2 * static_cast<std::size_t>(values) * size_of(work_.real));
  for (int step = 0; step < size; ++step) {
    const int next = step + 1;
    const std::uint64_t coming = ranks.aside([&] {
      if (next < size)
        ranks.exchange({{(rank + next) % size, local, values}},
                       {{(rank + size - next) % size, arriving[next % 2], values}}, work_.value);
    });
    const auto* rows = static_cast<const std::byte*>(step == 0 ? local : arriving[step % 2]);
    for_pieces((rank + size - step) % size, [&](int piece, std::int64_t first) {
      work_.operators.fourier_add(part(rank), piece,
                                  rows + static_cast<std::size_t>(first) * size_of(work_.value), sequence,
                                  spectrum);
    });
    ranks.join(coming);
  }
}

void FourierSpread::to_rows(Communicator& ranks, const void* spectrum, const Turns& leaving, void* arriving,
                            void* local) const {
  const int size = ranks.size(), rank = ranks.rank();
  const std::int64_t values = local_values(), sequence = values / work_.batch;
  const auto make = [&](int to, void* rows) {
    for_pieces(to, [&](int piece, std::int64_t first) {
      work_.operators.fourier_take(
          part(rank), piece, spectrum,
          static_cast<std::byte*>(rows) + static_cast<std::size_t>(first) * size_of(work_.value), sequence);
    });
  };
  // This rank's own rows come last, beside the last exchange.
  const auto make_step = [&](int step) {
    if (step == size) return make(rank, local);
    work_.backend.zero(leaving[step % 2], local_bytes());
    make((rank + step) % size, leaving[step % 2]);
  };
  work_.backend.zero(local, local_bytes());
  make_step(1);
  for (int step = 1; step < size; ++step) {
    const std::uint64_t passing = ranks.aside([&] {
      ranks.exchange({{(rank + step) % size, leaving[step % 2], values}},
                     {{(rank + size - step) % size, arriving, values}}, work_.value);
    });
    make_step(step + 1);
    ranks.join(passing);
    work_.backend.add(values, local, arriving);
  }
}

void FourierSpread::forward(Communicator& ranks, const HyenaWeights& weights, const void* z, void* y,
                            const ContextBuffers& buffers) {
  const Kept kept(work_, buffers.kept);
  const Scratch scratch(work_, buffers.workspace);
  work_.gate(ranks, weights, z, kept.projections, scratch.first, scratch.u);
  to_residues(ranks, scratch.u, {scratch.passing, scratch.arriving}, scratch.spectrum);
  work_.operators.fourier_filter(part(ranks.rank()), work_.piece, weights, scratch.spectrum);
  to_rows(ranks, scratch.spectrum, {scratch.passing, scratch.spectrum_g}, scratch.arriving, kept.convolved);
  work_.operators.hyena_query(work_.piece, weights, kept.projections, z, kept.convolved,
                              {0, work_.piece.length}, y);
}

void FourierSpread::backward(Communicator& ranks, const HyenaWeights& weights, const void* z, const void* dy,
                             void* dz, const HyenaGradients& gradients, const ContextBuffers& buffers) {
  const Kept kept(work_, buffers.kept);
  const Scratch scratch(work_, buffers.workspace);
  const RowRange all{0, work_.piece.length};
  work_.operators.hyena_gate(work_.piece, weights, kept.projections, z, all, scratch.u);
  to_residues(ranks, scratch.u, {scratch.passing, scratch.arriving}, scratch.spectrum);
  work_.operators.hyena_query(work_.piece, weights, kept.projections, z, dy, all, scratch.u);
  to_residues(ranks, scratch.u, {scratch.passing, scratch.arriving}, scratch.spectrum_g);
  work_.operators.fourier_filter_backward(part(ranks.rank()), work_.piece, weights, scratch.spectrum,
                                          scratch.spectrum_g, gradients);
  to_rows(ranks, scratch.spectrum_g, {scratch.passing, scratch.spectrum}, scratch.arriving, scratch.u);
  work_.operators.hyena_gate_backward(work_.piece, weights, kept.projections, z, kept.convolved, dy,
                                      scratch.u, dz, scratch.reach, gradients.featurizer, scratch.inner);
  work_.finish_projections(ranks, weights, scratch.reach, scratch.beyond, dz);
}

}  // namespace striped::parallel
