#include "parallel/context_heads.h"

#include <array>

#include "parallel/carver.h"
#include "parallel/context_ring.h"
#include "parallel/surroundings.h"
#include "striped/error.h"

namespace striped::parallel {
namespace {

std::int64_t row_values(const AttentionShape& s) {
  return (s.heads + 2 * std::int64_t{s.kv_heads}) * s.head_dim;
}

// A rank's heads of one slice: the fewest slices, all of as many heads of keys, whose projections take no
// more than `at_once` bytes. What cannot be divided is refused before anything is made of it.
AttentionShape slice_of(AttentionShape shape, int ranks, DType value, std::size_t at_once) {
  if (shape.heads % ranks != 0 || shape.kv_heads % ranks != 0)
    throw Error("context-strategy", "all-to-all needs heads that divide by the context ranks, and " +
                                        std::to_string(shape.heads) + " heads with " +
                                        std::to_string(shape.kv_heads) + " of keys do not divide by " +
                                        std::to_string(ranks) + "; use the ring");
  const int shared = shape.heads / shape.kv_heads, most = shape.kv_heads / ranks;
  for (int slices = 1; slices <= most; ++slices) {
    if (most % slices != 0) continue;
    shape.kv_heads = most / slices;
    shape.heads = shape.kv_heads * shared;
    const std::int64_t values = shape.batch * shape.length * row_values(shape);
    if (static_cast<std::size_t>(values) * size_of(value) <= at_once) break;
  }
  return shape;
}

}  // namespace

Heads::Heads(const AttentionShape& shape, const Sharding& sharding, Backend& backend, std::size_t at_once)
    : slice_(slice_of(shape, sharding.ranks, backend.activation_type(), at_once)),
      backend_(backend),
      operators_(shard_operators_of(backend)),
      value_(backend.activation_type()) {
  const std::int64_t dim = shape.head_dim, heads = shape.heads * dim, keys = shape.kv_heads * dim;
  const std::int64_t own = slice_.heads * dim, own_keys = slice_.kv_heads * dim;
  for (int i = 0; i * sharding.ranks * slice_.heads < shape.heads; ++i) {
    const std::int64_t first = i * sharding.ranks * own, first_key = i * sharding.ranks * own_keys;
    projections_.emplace_back(
        sharding, shape.batch, row_values(shape),
        std::vector<ColumnRange>{
            {first, own}, {heads + first_key, own_keys}, {heads + keys + first_key, own_keys}},
        value_);
    outputs_.emplace_back(sharding, shape.batch, heads, std::vector<ColumnRange>{{first, own}}, value_);
  }
}

struct Heads::Kept : Carver {
  Kept(const Heads& h, void* base) : Carver(base) {
    for (const Slices& output : h.outputs_) y.push_back(take(output.values(), h.value_));
  }
  std::vector<void*> y;  // of each slice
};

// Arrays of slices in turn. A single slice is fetched before it is computed with, and given after that.
struct Heads::Scratch : Carver {
  Scratch(const Heads& h, void* base) : Carver(base) {
    const std::int64_t projections = h.projections_[0].values(), output = h.outputs_[0].values();
    const bool single = h.slices() == 1;
    const auto in_turns = [&](std::int64_t values) -> std::array<void*, 2> {
      void* const first = take(values, h.value_);
      return {first, single ? first : take(values, h.value_)};
    };
    qkv = in_turns(projections);
    dy = in_turns(output);
    dqkv = in_turns(projections);
    staged = take(projections, h.value_);
    staged_dy = single ? dqkv[0] : take(output, h.value_);
    returned = single ? staged : take(projections, h.value_);
    inner = take_bytes(h.backend_.attention_workspace(h.slice_));
  }
  std::array<void*, 2> qkv, dy, dqkv;
  void *staged, *staged_dy, *returned, *inner;
};

std::size_t Heads::kept_bytes() const { return Kept(*this, nullptr).used(); }

std::size_t Heads::workspace_bytes() const { return Scratch(*this, nullptr).used(); }

std::size_t Heads::statistics_bytes() const {
  return static_cast<std::size_t>(slice_.batch * slice_.heads * slice_.length) * size_of(real_type(value_));
}

template <class Fetch, class Compute, class Give, class Put>
void Heads::in_turn(Communicator& ranks, const Fetch& fetch, const Compute& compute, const Give& give,
                    const Put& put) const {
  std::uint64_t fetched = fetch(0), given = 0;
  for (int i = 0; i < slices(); ++i) {
    ranks.join(fetched);
    if (i + 1 < slices()) fetched = fetch(i + 1);
    compute(i);
    if (i > 0) {
      ranks.join(given);
      put(i - 1);
    }
    given = give(i);
  }
  ranks.join(given);
  put(slices() - 1);
}

void Heads::forward(Communicator& ranks, const void* qkv, void* y, void* statistics,
                    const ContextBuffers& buffers) {
  const Kept kept(*this, buffers.kept);
  const Scratch scratch(*this, buffers.workspace);
  in_turn(
      ranks,
      [&](int i) {
        projections_[i].stage(operators_, qkv, scratch.staged);
        return ranks.aside([&] { projections_[i].gather(ranks, scratch.staged, scratch.qkv[i % 2]); });
      },
      [&](int i) {
        backend_.attention(slice_, scratch.qkv[i % 2], kept.y[i],
                           static_cast<std::byte*>(statistics) + i * statistics_bytes(), scratch.inner);
      },
      [&](int i) { return ranks.aside([&] { outputs_[i].scatter(ranks, kept.y[i], scratch.returned); }); },
      [&](int i) { outputs_[i].unstage(operators_, scratch.returned, y); });
}

// A slice's gradients are put where its projections were, which by then were staged: dqkv may be qkv.
void Heads::backward(Communicator& ranks, const void* qkv, const void*, const void* statistics,
                     const void* dy, void* dqkv, const ContextBuffers& buffers) {
  const Kept kept(*this, buffers.kept);
  const Scratch scratch(*this, buffers.workspace);
  in_turn(
      ranks,
      [&](int i) {
        projections_[i].stage(operators_, qkv, scratch.staged);
        outputs_[i].stage(operators_, dy, scratch.staged_dy);
        return ranks.aside([&] {
          projections_[i].gather(ranks, scratch.staged, scratch.qkv[i % 2]);
          outputs_[i].gather(ranks, scratch.staged_dy, scratch.dy[i % 2]);
        });
      },
      [&](int i) {
        backend_.attention_backward(slice_, scratch.qkv[i % 2], kept.y[i],
                                    static_cast<const std::byte*>(statistics) + i * statistics_bytes(),
                                    scratch.dy[i % 2], scratch.dqkv[i % 2], scratch.inner);
      },
      [&](int i) {
        return ranks.aside([&] { projections_[i].scatter(ranks, scratch.dqkv[i % 2], scratch.returned); });
      },
      [&](int i) { projections_[i].unstage(operators_, scratch.returned, dqkv); });
}

std::unique_ptr<ContextAttention> make_context_attention(ContextStrategy strategy,
                                                         const AttentionShape& shape,
                                                         const Sharding& sharding, Backend& backend,
                                                         std::size_t heads_at_once) {
  if (strategy == ContextStrategy::ring) return std::make_unique<Ring>(shape, sharding, backend);
  if (strategy == ContextStrategy::all_to_all)
    return std::make_unique<Heads>(shape, sharding, backend, heads_at_once);
  throw Error("context-strategy", "attention is spread over context ranks by a ring or by all-to-all");
}

}  // namespace striped::parallel
