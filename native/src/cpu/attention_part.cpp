// Attention of one piece of a sequence to the keys of another, on top of what earlier pieces gave.
#include <algorithm>

#include "attention_head.h"
#include "operators.h"
#include "rope.h"

namespace striped::cpu {
namespace {

// The workspace, in values: two blocks of scores a thread, then k and v of each head turned.
struct PartLayout {
  PartLayout(const Context& context, const AttentionPart& p)
      : padded(p.keys + 2 * kTileColumns<float>),
        turned(padded * p.head_dim),
        keys(2 * context.pool.threads() * kScores),
        total(keys + 2 * p.kv_heads * turned) {}
  std::int64_t padded, turned, keys, total;
};

template <class T>
void turn_keys(Context& context, const PartLayout& at, const AttentionPart& p, const T* kv, T* workspace) {
  context.pool.run(2 * p.kv_heads, [&](std::int64_t head, int) {
    turn<T>(p.keys, p.head_dim, kv + head * p.keys * p.head_dim, at.padded,
            workspace + at.keys + head * at.turned);
  });
}

template <class T>
Head<T> head_of(const PartLayout& at, const AttentionPart& p, const T* q, const T* kv, std::int64_t head,
                T* workspace, int worker) {
  const std::int64_t key_head = head / (p.heads / p.kv_heads), rows = p.keys * p.head_dim;
  T* scores = workspace + worker * 2 * kScores;
  return {{p.keys, p.offset, p.window},
          p.head_dim,
          at.padded,
          q + head * p.queries * p.head_dim,
          kv + key_head * rows,
          kv + (p.kv_heads + key_head) * rows,
          workspace + at.keys + key_head * at.turned,
          workspace + at.keys + (p.kv_heads + key_head) * at.turned,
          scores,
          scores + kScores};
}

Range block_of_queries(const AttentionPart& p, std::int64_t index) {
  return {index * kQueries, std::min(p.queries, (index + 1) * kQueries)};
}

std::int64_t query_blocks(const AttentionPart& p) { return (p.queries + kQueries - 1) / kQueries; }

}  // namespace

template <class T>
void attention_split(Context& context, const AttentionShape& s, std::int64_t rows, std::int64_t position,
                     const T* qkv, T* q, T* kv) {
  const RopeTable* table = rope_table(context, s, position + rows);
  const HeadRows piece{rows, position, s.head_dim};
  const std::int64_t columns = s.heads + 2 * std::int64_t{s.kv_heads};
  context.pool.run(columns, [&](std::int64_t column, int) {
    T* target =
        column < s.heads ? q + column * rows * s.head_dim : kv + (column - s.heads) * rows * s.head_dim;
    rotate_head(column < s.heads + s.kv_heads ? table : nullptr, piece, qkv + column * s.head_dim,
                columns * s.head_dim, target);
  });
}

template <class T>
void attention_join(Context& context, const AttentionShape& s, std::int64_t rows, std::int64_t position,
                    const T* dq, const T* dkv, T* dqkv) {
  const RopeTable* table = rope_table(context, s, position + rows);
  const HeadRows piece{rows, position, s.head_dim};
  const std::int64_t columns = s.heads + 2 * std::int64_t{s.kv_heads};
  context.pool.run(columns, [&](std::int64_t column, int) {
    const T* source =
        column < s.heads ? dq + column * rows * s.head_dim : dkv + (column - s.heads) * rows * s.head_dim;
    rotate_back(column < s.heads + s.kv_heads ? table : nullptr, piece, source, 1, dqkv + column * s.head_dim,
                columns * s.head_dim);
  });
}

template <class T>
std::size_t attention_part_workspace(const Context& context, const AttentionPart& p) {
  return static_cast<std::size_t>(PartLayout(context, p).total) * sizeof(T);
}

template <class T>
void attention_part(Context& context, const AttentionPart& p, const T* q, const T* kv, bool first, T* y,
                    T* statistics, T* workspace) {
  const PartLayout at(context, p);
  turn_keys(context, at, p, kv, workspace);
  const std::int64_t blocks = query_blocks(p), stride = p.heads * std::int64_t{p.head_dim};
  context.pool.run(p.heads * blocks, [&](std::int64_t task, int worker) {
    const std::int64_t head = task % p.heads;
    const Range queries = block_of_queries(p, blocks - 1 - task / p.heads);
    attend(head_of(at, p, q, kv, head, workspace, worker), queries, !first,
           y + queries.begin * stride + head * p.head_dim, stride, statistics + head * p.queries);
  });
}

template <class T>
void attention_part_backward(Context& context, const AttentionPart& p, const T* q, const T* kv, const T* y,
                             const T* statistics, const T* dy, T* dq, T* dkv, T* workspace) {
  const PartLayout at(context, p);
  turn_keys(context, at, p, kv, workspace);
  const std::int64_t shared = p.heads / p.kv_heads, stride = p.heads * std::int64_t{p.head_dim};
  // A thread has all query heads of a head of keys, so that their sums have one order.
  context.pool.run(p.kv_heads, [&](std::int64_t key_head, int worker) {
    T* dk = dkv + key_head * p.keys * p.head_dim;
    for (std::int64_t head = key_head * shared; head < (key_head + 1) * shared; ++head) {
      const HeadGradients<T> out{dq + head * p.queries * p.head_dim, dk,
                                 dk + p.kv_heads * p.keys * p.head_dim};
      const auto block = head_of(at, p, q, kv, head, workspace, worker);
      for (std::int64_t i = 0; i < query_blocks(p); ++i) {
        const Range queries = block_of_queries(p, i);
        const std::int64_t from = queries.begin * stride + head * p.head_dim;
        attend_backward(block, queries, y + from, dy + from, stride, statistics + head * p.queries, out);
      }
    }
  });
}

#define STRIPED_INSTANTIATE(T)                                                                             \
  template void attention_split(Context&, const AttentionShape&, std::int64_t, std::int64_t, const T*, T*, \
                                T*);                                                                       \
  template void attention_join(Context&, const AttentionShape&, std::int64_t, std::int64_t, const T*,      \
                               const T*, T*);                                                              \
  template std::size_t attention_part_workspace<T>(const Context&, const AttentionPart&);                  \
  template void attention_part(Context&, const AttentionPart&, const T*, const T*, bool, T*, T*, T*);      \
  template void attention_part_backward(Context&, const AttentionPart&, const T*, const T*, const T*,      \
                                        const T*, const T*, T*, T*, T*);
STRIPED_INSTANTIATE(float)
STRIPED_INSTANTIATE(double)
#undef STRIPED_INSTANTIATE

}  // namespace striped::cpu
