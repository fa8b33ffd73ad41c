// Attention over context ranks against one device.
#pragma once

#include "context_hyena_checks.h"

namespace context_checks {

struct AttentionCase {
  AttentionShape shape;
  ContextStrategy strategy;
  SequenceOrder order;
  int keys_at_once = 0;  // heads of keys that a rank exchanges at a time, at most; 0: as many as ever

  Sharding sharding(int ranks) const { return {ranks, order, shape.length}; }
  std::int64_t row() const { return (shape.heads + 2 * std::int64_t{shape.kv_heads}) * shape.head_dim; }
  std::int64_t output() const { return std::int64_t{shape.heads} * shape.head_dim; }
  std::size_t heads_at_once(DType type) const {
    if (keys_at_once == 0) return kHeadsAtOnce;
    const std::int64_t of_all = shape.batch * shape.length * row();
    return static_cast<std::size_t>(of_all / shape.kv_heads * keys_at_once) * size_of(type);
  }
  std::string text() const {
    return name_of(strategy) + ", " + name_of(order) + ", batch " + std::to_string(shape.batch) +
           ", length " + std::to_string(shape.length) + ", heads " + std::to_string(shape.heads) + "/" +
           std::to_string(shape.kv_heads) + ", window " + std::to_string(shape.window) + ", rope " +
           std::to_string(shape.rope_base) +
           (keys_at_once > 0 ? ", heads of " + std::to_string(keys_at_once) + " keys at once" : "");
  }
};

struct AttentionInputs {
  AttentionInputs(const AttentionCase& c, unsigned seed, DType type)
      : qkv(random_values(c.shape.batch * c.shape.length * c.row(), seed, -2, 2, type)),
        dy(random_values(c.shape.batch * c.shape.length * c.output(), seed + 1, -1, 1, type)) {}
  Values qkv, dy;
};

inline Named on_one_device(Backend& backend, const AttentionCase& c, const AttentionInputs& in) {
  const AttentionShape& s = c.shape;
  const Array qkv(backend, in.qkv), dy(backend, in.dy), y(backend, static_cast<std::int64_t>(in.dy.size()));
  const Array dqkv(backend, static_cast<std::int64_t>(in.qkv.size())),
      statistics(backend, s.batch * s.heads * s.length, real_type(backend.activation_type()));
  const Scratch workspace(backend, backend.attention_workspace(s));
  backend.attention(s, qkv.data(), y.data(), statistics.data(), workspace.data());
  backend.attention_backward(s, qkv.data(), y.data(), statistics.data(), dy.data(), dqkv.data(),
                             workspace.data());
  return {{"y", y.read()}, {"dqkv", dqkv.read()}};
}

inline Named over_ranks(const Setting& setting, const AttentionCase& c, const AttentionInputs& in,
                        Traffic* traffic = nullptr, Passes passes = Passes::both) {
  Communicator& world = setting.world;
  Backend& backend = setting.backend;
  CountingCommunicator ranks(setting.ranks);
  const AttentionShape& s = c.shape;
  const Sharding sharding = c.sharding(ranks.size());
  const auto context =
      make_context_attention(c.strategy, s, sharding, backend, c.heads_at_once(setting.type()));
  const std::int64_t rows = s.batch * sharding.local_length();
  const Array qkv(backend, shard(in.qkv, sharding, s.batch, c.row(), ranks.rank()));
  const Array dy(backend, shard(in.dy, sharding, s.batch, c.output(), ranks.rank()));
  const Array y(backend, rows * c.output()), elsewhere(backend, rows * c.row()),
      statistics(backend, rows * s.heads, real_type(setting.type()));
  const Array& dqkv = context->in_place() ? qkv : elsewhere;
  const Scratch kept(backend, context->kept_bytes());
  {
    const Scratch workspace(backend, context->workspace_bytes());
    context->forward(ranks, qkv.data(), y.data(), statistics.data(), {kept.data(), workspace.data()});
    ranks.barrier();  // what was left aside comes now, too late
  }
  const auto whole_y = [&] { return gather(world, y.read(), sharding, s.batch, c.output()); };
  if (passes == Passes::forward) return {{"y", whole_y()}};
  const std::int64_t forward = ranks.sent();
  ranks.reset();
  const Scratch workspace(backend, context->workspace_bytes());
  context->backward(ranks, qkv.data(), context->in_place() ? nullptr : y.data(), statistics.data(), dy.data(),
                    dqkv.data(), {kept.data(), workspace.data()});
  ranks.barrier();
  if (traffic != nullptr) *traffic = {total(world, forward), total(world, ranks.sent())};
  return {{"y", whole_y()}, {"dqkv", gather(world, dqkv.read(), sharding, s.batch, c.row())}};
}

inline AttentionCase attention_case(int ranks, SequenceOrder order, std::int64_t piece, int shared,
                                    std::int64_t window, ContextStrategy strategy) {
  const std::int64_t pieces = (order == SequenceOrder::zigzag ? 2 : 1) * ranks;
  const int kv_heads = strategy == ContextStrategy::all_to_all ? ranks : 2;
  return {{shared, pieces * piece, kv_heads * shared, kv_heads, 4, window, window % 2 == 0 ? 1e4 : 0,
           window == 4 ? 2.0 : 1.0},
          strategy,
          order};
}

inline void check_case(const Setting& setting, const AttentionCase& c, unsigned seed) {
  const AttentionInputs in(c, seed, setting.type());
  const Named results = over_ranks(setting, c, in);
  if (setting.compares()) require_equal(setting, results, on_one_device(setting.reference, c, in), c.text());
}

// Grouped heads, windows within a piece and over several, with and without rotary embedding.
inline void check_attention(const Setting& s, ContextStrategy strategy, SequenceOrder order) {
  unsigned seed = 500 + 40 * static_cast<unsigned>(strategy);
  for (const int piece : {1, 5, 33, 140}) {
    if (piece > 33 && s.ranks.size() > 3) continue;  // long enough as it is
    for (const int window : {0, 1, 4, 36, 150}) {
      check_case(
          s, attention_case(s.ranks.size(), order, piece, 1 + static_cast<int>(seed % 2), window, strategy),
          seed);
      ++seed;
    }
  }
}

// Six heads of keys a rank.
inline AttentionCase sliced_case(int ranks, SequenceOrder order, std::int64_t piece, int shared,
                                 std::int64_t window, int keys_at_once) {
  AttentionCase c = attention_case(ranks, order, piece, shared, window, ContextStrategy::all_to_all);
  c.shape.kv_heads *= 6;
  c.shape.heads *= 6;
  c.keys_at_once = keys_at_once;
  return c;
}

// In six slices, three, and two, since six heads do not go four at a time.
inline void check_sliced_attention(const Setting& s, ContextStrategy, SequenceOrder order) {
  unsigned seed = 700;
  for (const int piece : {1, 5, 33}) {
    if (piece > 5 && s.ranks.size() > 3) continue;  // long enough as it is
    for (const int at_once : {1, 2, 4}) {
      const std::int64_t window = seed % 2 == 0 ? 0 : 4;
      check_case(s,
                 sliced_case(s.ranks.size(), order, piece, 1 + static_cast<int>(seed % 2), window, at_once),
                 seed);
      ++seed;
    }
  }
}

// Keys go only where a query may see one of them; their gradients take the same way back.
inline void check_ring_traffic(const Setting& s, SequenceOrder order) {
  const int size = s.ranks.size();
  const auto c = attention_case(size, order, 10, 2, 0, ContextStrategy::ring);
  // Contiguous: a rank's keys go to all behind it. Zig-zag: its first piece to every other rank, which all
  // have a later one; its second to the ranks before it, whose second pieces come later.
  const std::int64_t later = size * (size - 1) / 2;
  const std::int64_t pieces = order == SequenceOrder::zigzag ? size * (size - 1) + later : later;
  const std::int64_t keys = pieces * c.shape.batch * 10 * 2 * c.shape.kv_heads * c.shape.head_dim;
  Traffic traffic;
  over_ranks(s, c, AttentionInputs(c, 7, s.type()), &traffic);
  expect_traffic(s, traffic, {bytes_of(s, keys), bytes_of(s, 2 * keys)}, c.text());
}

// Projections there and outputs back; projections and gradients of outputs there, and those of projections
// back. In slices it is the same in all.
inline void check_heads_traffic(const Setting& s, SequenceOrder order) {
  const int size = s.ranks.size();
  for (const int at_once : {1, 6}) {
    const auto c = sliced_case(size, order, 10, 2, 0, at_once);
    const std::int64_t rows = c.shape.batch * c.sharding(size).local_length() * (size - 1);
    Traffic traffic;
    over_ranks(s, c, AttentionInputs(c, 9, s.type()), &traffic);
    expect_traffic(
        s, traffic,
        {bytes_of(s, rows * (c.row() + c.output())), bytes_of(s, rows * (2 * c.row() + c.output()))},
        c.text());
  }
}

inline void check_attention_traffic(const Setting& s, ContextStrategy strategy, SequenceOrder order) {
  if (strategy == ContextStrategy::ring)
    check_ring_traffic(s, order);
  else
    check_heads_traffic(s, order);
}

}  // namespace context_checks
