#include "parallel/context_channels.h"

#include <algorithm>
#include <vector>

#include "parallel/carver.h"
#include "striped/error.h"

namespace striped::parallel {
namespace {

constexpr int kMostSlices = 4;

// `values` elements further, where there is an array at all.
template <class Pointer>
Pointer advance(Pointer array, std::int64_t values, DType type) {
  using Byte =
      std::conditional_t<std::is_const_v<std::remove_pointer_t<Pointer>>, const std::byte, std::byte>;
  if (array == nullptr) return nullptr;
  return static_cast<Byte*>(array) + static_cast<std::size_t>(values) * size_of(type);
}

}  // namespace

AllToAll::AllToAll(const HyenaShape& whole, const Sharding& sharding, Backend& backend)
    : work_(whole, sharding, backend), slice_(whole) {
  if (whole.groups % sharding.ranks != 0)
    throw Error("context-strategy", "all-to-all needs filter groups that divide by the context ranks, and " +
                                        std::to_string(whole.groups) + " groups do not divide by " +
                                        std::to_string(sharding.ranks));
  slices_ = kMostSlices;
  while (whole.groups / sharding.ranks % slices_ != 0) slices_ /= 2;
  const std::int64_t parts = std::int64_t{sharding.ranks} * slices_;
  slice_.groups = whole.groups / parts;
  slice_.width = whole.width / parts;
  make_constants();
}

void AllToAll::make_constants() {
  const auto width = static_cast<std::size_t>(slice_.width);
  const auto taps = static_cast<std::size_t>(slice_.featurizer_taps);
  const auto fill = [&](DeviceBuffer& buffer, std::size_t count, std::size_t step, DType type) {
    std::vector<std::byte> host(count * size_of(type));
    for (std::size_t i = 0; i < count; i += step) {
      if (type == DType::f64) {
        reinterpret_cast<double*>(host.data())[i] = 1;
      } else if (type == DType::f32) {
        reinterpret_cast<float*>(host.data())[i] = 1;
      } else {
        reinterpret_cast<std::uint16_t*>(host.data())[i] = 0x3f80;
      }
    }
    buffer = DeviceBuffer(work_.backend, host.size());
    work_.backend.upload(buffer.at(), host.data(), host.size());
  };
  fill(ones_, width, 1, work_.value);
  fill(identity_, 3 * width * taps, taps, work_.real);
}

struct AllToAll::Kept : Carver {
  Kept(const PieceWork& w, const HyenaShape& slice, int slices, void* base)
      : Carver(base),
        projections(take(w.projections().values(w.sharding), w.value)),
        convolved(take(w.rows() * w.piece.width, w.value)) {
    for (int i = 0; i < slices; ++i) of_slice.push_back(take_bytes(w.backend.hyena_kept(slice)));
  }
  void *projections, *convolved;
  std::vector<void*> of_slice;  // what each slice's convolution keeps
};

struct AllToAll::Scratch : Carver {
  Scratch(const PieceWork& w, const HyenaShape& slice, std::int64_t part, void* base)
      : Carver(base),
        u(take(w.rows() * w.piece.width, w.value)),
        g(take(w.rows() * w.piece.width, w.value)),
        staging(take(part, w.value)),
        whole(take(part, w.value)),
        whole_g(take(part, w.value)),
        packed(take(3 * part, w.value)),
        d_packed(take(3 * part, w.value)),
        d_identity(take(3 * slice.width * slice.featurizer_taps, w.real)),
        reach(take(w.piece.batch * w.reach_rows() * 3 * w.piece.width, w.value)),
        beyond(take(w.reach().values(w.sharding), w.value)),
        inner(take_bytes(
            std::max(w.backend.hyena_workspace(slice), w.operators.hyena_piece_workspace(w.piece)))) {}
  void *u, *g, *staging, *whole, *whole_g, *packed, *d_packed, *d_identity, *reach, *beyond, *inner;
};

std::size_t AllToAll::kept_bytes() const { return Kept(work_, slice_, slices_, nullptr).used(); }

std::size_t AllToAll::workspace_bytes() const {
  return Scratch(work_, slice_, slice(0).values(), nullptr).used();
}

Slices AllToAll::slice(int index) const {
  const std::int64_t first = index * std::int64_t{work_.sharding.ranks} * slice_.width;
  return {work_.sharding, work_.batch, work_.piece.width, {{first, slice_.width}}, work_.value};
}

std::int64_t AllToAll::first_group(int rank, int index) const {
  return (std::int64_t{index} * work_.sharding.ranks + rank) * slice_.groups;
}

HyenaWeights AllToAll::weights_of(const HyenaWeights& w, std::int64_t first) const {
  const std::int64_t channel = first * (slice_.width / slice_.groups);
  return {identity_.at(),
          advance(w.filter, first * slice_.taps, work_.real),
          advance(w.decay, first * slice_.taps, work_.real),
          advance(w.skip, channel, work_.real),
          advance(w.residues, first * slice_.order, work_.real),
          advance(w.log_poles, first * slice_.order, work_.real)};
}

HyenaGradients AllToAll::gradients_of(const HyenaGradients& d, std::int64_t first, void* d_featurizer) const {
  const std::int64_t channel = first * (slice_.width / slice_.groups);
  return {d_featurizer, advance(d.filter, first * slice_.taps, work_.real),
          advance(d.skip, channel, work_.real), advance(d.residues, first * slice_.order, work_.real),
          advance(d.log_poles, first * slice_.order, work_.real)};
}

void AllToAll::pack(const void* u, void* z) const {
  const auto bytes = slice_.width * static_cast<std::int64_t>(size_of(work_.value));
  const std::int64_t rows = slice_.batch * slice_.length;
  auto* const to = static_cast<std::byte*>(z);
  work_.operators.copy_rows(rows, bytes, ones_.at(), 0, to, 3 * bytes);
  work_.operators.copy_rows(rows, bytes, u, bytes, to + bytes, 3 * bytes);
  work_.operators.copy_rows(rows, bytes, ones_.at(), 0, to + 2 * bytes, 3 * bytes);
}

void AllToAll::forward(Communicator& ranks, const HyenaWeights& weights, const void* z, void* y,
                       const ContextBuffers& buffers) {
  const Kept kept(work_, slice_, slices_, buffers.kept);
  const Scratch scratch(work_, slice_, slice(0).values(), buffers.workspace);
  const RowRange all{0, work_.piece.length};
  work_.exchange(ranks, work_.projections(), z, kept.projections);
  work_.operators.hyena_gate(work_.piece, weights, kept.projections, z, all, scratch.u);
  for (int i = 0; i < slices_; ++i) {
    const Slices part = slice(i);
    part.to_sequences(ranks, work_.operators, scratch.u, scratch.staging, scratch.whole);
    pack(scratch.whole, scratch.packed);
    work_.backend.hyena(slice_, weights_of(weights, first_group(ranks.rank(), i)), scratch.packed,
                        scratch.whole, kept.of_slice[i], scratch.inner);
    part.to_rows(ranks, work_.operators, scratch.whole, scratch.staging, kept.convolved);
  }
  work_.operators.hyena_query(work_.piece, weights, kept.projections, z, kept.convolved, all, y);
}

void AllToAll::backward(Communicator& ranks, const HyenaWeights& weights, const void* z, const void* dy,
                        void* dz, const HyenaGradients& gradients, const ContextBuffers& buffers) {
  const Kept kept(work_, slice_, slices_, buffers.kept);
  const Scratch scratch(work_, slice_, slice(0).values(), buffers.workspace);
  const RowRange all{0, work_.piece.length};
  const auto bytes = slice_.width * static_cast<std::int64_t>(size_of(work_.value));
  work_.operators.hyena_gate(work_.piece, weights, kept.projections, z, all, scratch.u);
  work_.operators.hyena_query(work_.piece, weights, kept.projections, z, dy, all, scratch.g);
  for (int i = 0; i < slices_; ++i) {
    const Slices part = slice(i);
    const std::int64_t group = first_group(ranks.rank(), i);
    part.to_sequences(ranks, work_.operators, scratch.u, scratch.staging, scratch.whole);
    part.to_sequences(ranks, work_.operators, scratch.g, scratch.staging, scratch.whole_g);
    pack(scratch.whole, scratch.packed);
    work_.backend.zero(
        scratch.d_identity,
        static_cast<std::size_t>(3 * slice_.width * slice_.featurizer_taps) * size_of(work_.real));
    work_.backend.hyena_backward(slice_, weights_of(weights, group), scratch.packed, kept.of_slice[i],
                                 scratch.whole_g, scratch.d_packed,
                                 gradients_of(gradients, group, scratch.d_identity), scratch.inner);
    work_.operators.copy_rows(slice_.batch * slice_.length, bytes,
                              static_cast<const std::byte*>(scratch.d_packed) + bytes, 3 * bytes,
                              scratch.whole, bytes);
    part.to_rows(ranks, work_.operators, scratch.whole, scratch.staging, scratch.u);
  }
  work_.operators.hyena_gate_backward(work_.piece, weights, kept.projections, z, kept.convolved, dy,
                                      scratch.u, dz, scratch.reach, gradients.featurizer, scratch.inner);
  work_.finish_projections(ranks, weights, scratch.reach, scratch.beyond, dz);
}

}  // namespace striped::parallel
