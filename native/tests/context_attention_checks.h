// Attention over context ranks against one device.
#pragma once

#include "context_hyena_checks.h"

namespace context_checks {

struct AttentionCase {
  AttentionShape shape;
  ContextStrategy strategy;
  SequenceOrder order;

  Sharding sharding(int ranks) const { return {ranks, order, shape.length}; }
  std::int64_t row() const { return (shape.heads + 2 * std::int64_t{shape.kv_heads}) * shape.head_dim; }
  std::int64_t output() const { return std::int64_t{shape.heads} * shape.head_dim; }
  std::string text() const {
    return name_of(strategy) + ", " + name_of(order) + ", batch " + std::to_string(shape.batch) +
           ", length " + std::to_string(shape.length) + ", heads " + std::to_string(shape.heads) + "/" +
           std::to_string(shape.kv_heads) + ", window " + std::to_string(shape.window) + ", rope " +
           std::to_string(shape.rope_base);
  }
};

struct AttentionInputs {
  AttentionInputs(const AttentionCase& c, unsigned seed)
      : qkv(random_values(c.shape.batch * c.shape.length * c.row(), seed, -2, 2)),
        dy(random_values(c.shape.batch * c.shape.length * c.output(), seed + 1)) {}
  Values qkv, dy;
};

inline Named on_one_device(Backend& backend, const AttentionCase& c, const AttentionInputs& in) {
  const AttentionShape& s = c.shape;
  const Array qkv(backend, in.qkv), dy(backend, in.dy), y(backend, static_cast<std::int64_t>(in.dy.size()));
  const Array dqkv(backend, static_cast<std::int64_t>(in.qkv.size())),
      statistics(backend, s.batch * s.heads * s.length);
  const Scratch workspace(backend, backend.attention_workspace(s));
  backend.attention(s, qkv.data(), y.data(), statistics.data(), workspace.data());
  backend.attention_backward(s, qkv.data(), y.data(), statistics.data(), dy.data(), dqkv.data(),
                             workspace.data());
  return {{"y", y.read()}, {"dqkv", dqkv.read()}};
}

inline Named over_ranks(Communicator& world, Backend& backend, const AttentionCase& c,
                        const AttentionInputs& in, Traffic* traffic = nullptr) {
  CountingCommunicator ranks(world);
  const AttentionShape& s = c.shape;
  const Sharding sharding = c.sharding(ranks.size());
  const auto context = make_context_attention(c.strategy, s, sharding, backend);
  const std::int64_t rows = s.batch * sharding.local_length();
  const Array qkv(backend, shard(in.qkv, sharding, s.batch, c.row(), ranks.rank()));
  const Array dy(backend, shard(in.dy, sharding, s.batch, c.output(), ranks.rank()));
  const Array y(backend, rows * c.output()), dqkv(backend, rows * c.row()),
      statistics(backend, rows * s.heads);
  const Scratch kept(backend, context->kept_bytes());
  {
    const Scratch workspace(backend, context->workspace_bytes());
    context->forward(ranks, qkv.data(), y.data(), statistics.data(), {kept.data(), workspace.data()});
  }
  const std::int64_t forward = ranks.sent();
  ranks.reset();
  const Scratch workspace(backend, context->workspace_bytes());
  context->backward(ranks, qkv.data(), y.data(), statistics.data(), dy.data(), dqkv.data(),
                    {kept.data(), workspace.data()});
  if (traffic != nullptr) *traffic = {total(world, forward), total(world, ranks.sent())};
  return {{"y", gather(world, y.read(), sharding, s.batch, c.output())},
          {"dqkv", gather(world, dqkv.read(), sharding, s.batch, c.row())}};
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

// Grouped heads, windows within a piece and over several, with and without rotary embedding.
inline void check_attention(Communicator& ranks, SequenceOrder order) {
  unsigned seed = 500;
  for (const auto strategy : {ContextStrategy::ring, ContextStrategy::all_to_all}) {
    for (const int piece : {1, 5, 33, 140}) {
      if (piece > 33 && ranks.size() > 3) continue;  // long enough as it is
      for (const int window : {0, 1, 4, 36, 150}) {
        const AttentionCase c =
            attention_case(ranks.size(), order, piece, 1 + static_cast<int>(seed % 2), window, strategy);
        for (const char* precision : {"fp64", "fp32"}) {
          const auto backend = make_cpu_backend(precision, 1);
          const AttentionInputs in(c, seed);
          require_equal(ranks, *backend, over_ranks(ranks, *backend, c, in), on_one_device(*backend, c, in),
                        std::string(precision) + ", " + c.text());
        }
        ++seed;
      }
    }
  }
}

// Keys go only where a query may see one of them; their gradients take the same way back.
inline void check_attention_traffic(Communicator& ranks, SequenceOrder order) {
  const auto backend = make_cpu_backend("fp32", 1);
  const int size = ranks.size();
  const auto c = attention_case(size, order, 10, 2, 0, ContextStrategy::ring);
  const AttentionShape& s = c.shape;
  // Contiguous: a rank's keys go to all behind it. Zig-zag: its first piece to every other rank, which all
  // have a later one; its second to the ranks before it, whose second pieces come later.
  const std::int64_t later = size * (size - 1) / 2;
  const std::int64_t pieces = order == SequenceOrder::zigzag ? size * (size - 1) + later : later;
  const std::int64_t keys = pieces * s.batch * 10 * 2 * s.kv_heads * s.head_dim;
  Traffic traffic;
  over_ranks(ranks, *backend, c, AttentionInputs(c, 7), &traffic);
  require(traffic.forward == 4 * keys && traffic.backward == 8 * keys, ranks, c.text() + ": bytes sent");
}

}  // namespace context_checks
