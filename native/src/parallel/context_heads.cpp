#include "parallel/context_heads.h"

#include <algorithm>

#include "parallel/carver.h"
#include "parallel/context_ring.h"
#include "parallel/surroundings.h"
#include "striped/error.h"

namespace striped::parallel {
namespace {

// Refused before anything is made of it.
AttentionShape part_of(AttentionShape shape, int ranks) {
  if (shape.heads % ranks != 0 || shape.kv_heads % ranks != 0)
    throw Error("context-strategy", "all-to-all needs heads that divide by the context ranks, and " +
                                        std::to_string(shape.heads) + " heads with " +
                                        std::to_string(shape.kv_heads) + " of keys do not divide by " +
                                        std::to_string(ranks) + "; use the ring");
  shape.heads /= ranks;
  shape.kv_heads /= ranks;
  return shape;
}

// q, k and v of a rank's heads.
std::vector<ColumnRange> ranges(const AttentionShape& whole, int ranks) {
  const std::int64_t dim = whole.head_dim, heads = whole.heads * dim, keys = whole.kv_heads * dim;
  return {{0, heads / ranks}, {heads, keys / ranks}, {heads + keys, keys / ranks}};
}

}  // namespace

Heads::Heads(const AttentionShape& shape, const Sharding& sharding, Backend& backend)
    : part_(part_of(shape, sharding.ranks)),
      backend_(backend),
      operators_(shard_operators_of(backend)),
      value_(backend.activation_type()),
      projections_(sharding, shape.batch, (shape.heads + 2 * std::int64_t{shape.kv_heads}) * shape.head_dim,
                   ranges(shape, sharding.ranks), value_),
      output_(sharding, shape.batch, std::int64_t{shape.heads} * shape.head_dim,
              {{0, std::int64_t{part_.heads} * shape.head_dim}}, value_) {}

struct Heads::Scratch : Carver {
  Scratch(const Heads& h, void* base)
      : Carver(base),
        staging(take(h.projections_.values(), h.value_)),
        qkv(take(h.projections_.values(), h.value_)),
        dy(take(h.output_.values(), h.value_)),
        dqkv(take(h.projections_.values(), h.value_)),
        inner(take_bytes(h.backend_.attention_workspace(h.part_))) {}
  void *staging, *qkv, *dy, *dqkv, *inner;
};

std::size_t Heads::kept_bytes() const { return static_cast<std::size_t>(output_.values()) * size_of(value_); }

std::size_t Heads::workspace_bytes() const { return Scratch(*this, nullptr).used(); }

void Heads::forward(Communicator& ranks, const void* qkv, void* y, void* statistics,
                    const ContextBuffers& buffers) {
  const Scratch scratch(*this, buffers.workspace);
  projections_.to_sequences(ranks, operators_, qkv, scratch.staging, scratch.qkv);
  backend_.attention(part_, scratch.qkv, buffers.kept, statistics, scratch.inner);
  output_.to_rows(ranks, operators_, buffers.kept, scratch.staging, y);
}

void Heads::backward(Communicator& ranks, const void* qkv, const void*, const void* statistics,
                     const void* dy, void* dqkv, const ContextBuffers& buffers) {
  const Scratch scratch(*this, buffers.workspace);
  projections_.to_sequences(ranks, operators_, qkv, scratch.staging, scratch.qkv);
  output_.to_sequences(ranks, operators_, dy, scratch.staging, scratch.dy);
  backend_.attention_backward(part_, scratch.qkv, buffers.kept, statistics, scratch.dy, scratch.dqkv,
                              scratch.inner);
  projections_.to_rows(ranks, operators_, scratch.dqkv, scratch.staging, dqkv);
}

std::unique_ptr<ContextAttention> make_context_attention(ContextStrategy strategy,
                                                         const AttentionShape& shape,
                                                         const Sharding& sharding, Backend& backend) {
  if (strategy == ContextStrategy::ring) return std::make_unique<Ring>(shape, sharding, backend);
  if (strategy == ContextStrategy::all_to_all) return std::make_unique<Heads>(shape, sharding, backend);
  throw Error("context-strategy", "attention is spread over context ranks by a ring or by all-to-all");
}

}  // namespace striped::parallel
