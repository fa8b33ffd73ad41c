#include "parallel/context_channels.h"

#include <algorithm>
#include <array>
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
  Scratch(const PieceWork& w, const HyenaShape& slice, int slices, std::int64_t part, void* base)
      : Carver(base),
        u(take(w.rows() * w.piece.width, w.value)),
        g(take(w.rows() * w.piece.width, w.value)),
        staging(take(part, w.value)),
        staging_g(take(part, w.value)),
        whole(take(part, w.value)),
        whole_g{take(part, w.value), take(slices > 1 ? part : 0, w.value)},
        made(take(part, w.value)),
        packed(take(3 * part, w.value)),
        d_packed(take(3 * part, w.value)),
        d_identity(take(3 * slice.width * slice.featurizer_taps, w.real)),
        first(take(w.piece.batch * w.reach_rows() * w.piece.width, w.value)),
        reach(take(w.piece.batch * w.reach_rows() * 3 * w.piece.width, w.value)),
        beyond(take(w.reach().values(w.sharding), w.value)),
        inner(take_bytes(
            std::max(w.backend.hyena_workspace(slice), w.operators.hyena_piece_workspace(w.piece)))) {}
  void *u, *g, *staging, *staging_g, *whole;
  std::array<void*, 2> whole_g;  // in turn: the next comes while one is worked on
  void *made, *packed, *d_packed, *d_identity, *first, *reach, *beyond, *inner;
};

std::size_t AllToAll::kept_bytes() const { return Kept(work_, slice_, slices_, nullptr).used(); }

std::size_t AllToAll::workspace_bytes() const {
  return Scratch(work_, slice_, slices_, slice(0).values(), nullptr).used();
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

// What comes and goes beside the convolution of a slice.
class AllToAll::Passing {
 public:
  struct Coming {
    const void* rows;
    void* staging;
    std::array<void*, 2> whole;  // of the slices in turn
  };
  // What goes back takes the first staging area when the next slice has left it.
  Passing(const AllToAll& all, Communicator& ranks, std::vector<Coming> coming, std::array<void*, 2> going,
          void* back)
      : all_(all), ranks_(ranks), coming_(std::move(coming)), going_(going), back_(back) {}

  // `work` on slice i, from -1 on, where the first one comes, to the number of slices, where the last one
  // goes.
  template <class Work>
  void beside(int i, const Work& work) const {
    const int next = i + 1, last = i - 1;
    const bool comes = next < all_.slices_, goes = last >= 0;
    if (comes)
      for (const Coming& each : coming_) all_.slice(next).stage(operators(), each.rows, each.staging);
    const std::uint64_t passing = ranks_.aside([&] {
      if (comes)
        for (const Coming& each : coming_)
          all_.slice(next).gather(ranks_, each.staging, each.whole[next % 2]);
      if (goes) all_.slice(last).scatter(ranks_, going_[last % 2], coming_[0].staging);
    });
    work();
    ranks_.join(passing);
    if (goes) all_.slice(last).unstage(operators(), coming_[0].staging, back_);
  }

 private:
  ShardOperators& operators() const { return all_.work_.operators; }
  const AllToAll& all_;
  Communicator& ranks_;
  std::vector<Coming> coming_;
  std::array<void*, 2> going_;
  void* back_;
};

void AllToAll::forward(Communicator& ranks, const HyenaWeights& weights, const void* z, void* y,
                       const ContextBuffers& buffers) {
  const Kept kept(work_, slice_, slices_, buffers.kept);
  const Scratch scratch(work_, slice_, slices_, slice(0).values(), buffers.workspace);
  work_.gate(ranks, weights, z, kept.projections, scratch.first, scratch.u);
  const std::array<void*, 2> made = scratch.whole_g;
  const Passing passing(*this, ranks, {{scratch.u, scratch.staging, {scratch.whole, scratch.whole}}}, made,
                        kept.convolved);
  passing.beside(-1, [] {});
  for (int i = 0; i < slices_; ++i) {
    pack(scratch.whole, scratch.packed);
    passing.beside(i, [&] {
      work_.backend.hyena(slice_, weights_of(weights, first_group(ranks.rank(), i)), scratch.packed,
                          made[i % 2], kept.of_slice[i], scratch.inner);
    });
  }
  passing.beside(slices_, [] {});
  work_.operators.hyena_query(work_.piece, weights, kept.projections, z, kept.convolved,
                              {0, work_.piece.length}, y);
}

void AllToAll::backward(Communicator& ranks, const HyenaWeights& weights, const void* z, const void* dy,
                        void* dz, const HyenaGradients& gradients, const ContextBuffers& buffers) {
  const Kept kept(work_, slice_, slices_, buffers.kept);
  const Scratch scratch(work_, slice_, slices_, slice(0).values(), buffers.workspace);
  const RowRange all{0, work_.piece.length};
  const auto bytes = slice_.width * static_cast<std::int64_t>(size_of(work_.value));
  work_.operators.hyena_gate(work_.piece, weights, kept.projections, z, all, scratch.u);
  work_.operators.hyena_query(work_.piece, weights, kept.projections, z, dy, all, scratch.g);
  const Passing passing(*this, ranks,
                        {{scratch.u, scratch.staging, {scratch.whole, scratch.whole}},
                         {scratch.g, scratch.staging_g, scratch.whole_g}},
                        {scratch.made, scratch.made}, scratch.u);
  passing.beside(-1, [] {});
  for (int i = 0; i < slices_; ++i) {
    const std::int64_t group = first_group(ranks.rank(), i);
    pack(scratch.whole, scratch.packed);
    passing.beside(i, [&] {
      work_.backend.zero(
          scratch.d_identity,
          static_cast<std::size_t>(3 * slice_.width * slice_.featurizer_taps) * size_of(work_.real));
      work_.backend.hyena_backward(slice_, weights_of(weights, group), scratch.packed, kept.of_slice[i],
                                   scratch.whole_g[i % 2], scratch.d_packed,
                                   gradients_of(gradients, group, scratch.d_identity), scratch.inner);
    });
    work_.operators.copy_rows(slice_.batch * slice_.length, bytes,
                              static_cast<const std::byte*>(scratch.d_packed) + bytes, 3 * bytes,
                              scratch.made, bytes);
  }
  passing.beside(slices_, [] {});
  work_.operators.hyena_gate_backward(work_.piece, weights, kept.projections, z, kept.convolved, dy,
                                      scratch.u, dz, scratch.reach, gradients.featurizer, scratch.inner);
  work_.finish_projections(ranks, weights, scratch.reach, scratch.beyond, dz);
}

}  // namespace striped::parallel
