// Causal attention, blocked with an online softmax (Dao et al. 2022; Rabe & Staats 2021): scores exist for
// one block of queries and one block of keys at a time.
#include <algorithm>

#include "attention_head.h"
#include "operators.h"
#include "rope.h"

namespace striped::cpu {
namespace {

// Where things lie, in values from the start of qkv or of the workspace.
struct Layout {
  Layout(const Context& context, const AttentionShape& s)
      : row((s.heads + 2 * std::int64_t{s.kv_heads}) * s.head_dim),
        value((s.heads + std::int64_t{s.kv_heads}) * s.head_dim),
        output(s.heads * std::int64_t{s.head_dim}),
        head(s.length * s.head_dim),
        padded(s.length + 2 * kTileColumns<float>),
        turned(padded * s.head_dim),
        queries(2 * context.pool.threads() * kScores),
        keys(queries + s.batch * s.heads * head),
        gradients(keys + s.batch * s.kv_heads * (2 * head + 2 * turned)),
        gradient(s.batch * s.heads * head),
        total(gradients + 3 * gradient) {}
  std::int64_t row, value, output;  // values in a row of qkv, before v in it, and in a row of y
  std::int64_t head;                // values of a head as [length, head_dim]
  std::int64_t padded, turned;      // a row and all values of a head as [head_dim, length]
  // In the workspace, after two blocks of scores a thread: rotated q by head, the four forms of k and v by
  // head, then dq, dk and dv, [batch, heads, length, head_dim] each.
  std::int64_t queries, keys, gradients, gradient, total;
};

// The four forms of a head of k and v in the workspace.
template <class T>
struct KeyForms {
  KeyForms(const Layout& at, std::int64_t head, T* workspace)
      : k(workspace + at.keys + head * (2 * at.head + 2 * at.turned)),
        v(k + at.head),
        k_turned(v + at.head),
        v_turned(k_turned + at.turned) {}
  T *k, *v, *k_turned, *v_turned;
};

template <class T>
Head<T> head_of(const Layout& at, const AttentionShape& s, std::int64_t head, T* workspace, int worker) {
  const std::int64_t kv = head / s.heads * s.kv_heads + head % s.heads / (s.heads / s.kv_heads);
  const KeyForms<T> keys(at, kv, workspace);
  T* scores = workspace + worker * 2 * kScores;
  return {{s.length, 0, s.window},
          s.head_dim,
          at.padded,
          workspace + at.queries + head * at.head,
          keys.k,
          keys.v,
          keys.k_turned,
          keys.v_turned,
          scores,
          scores + kScores};
}

// Fills the heads' q, k and v from the packed rows.
template <class T>
void gather_heads(Context& context, const Layout& at, const AttentionShape& s, const T* qkv, T* workspace) {
  const RopeTable* table = rope_table(context, s, s.length);
  const HeadRows rows{s.length, 0, s.head_dim};
  const std::int64_t tasks = s.heads + s.kv_heads;
  context.pool.run(s.batch * tasks, [&](std::int64_t task, int) {
    const std::int64_t b = task / tasks, column = task % tasks;
    const T* source = qkv + b * s.length * at.row + column * s.head_dim;
    if (column < s.heads) {
      rotate_head(table, rows, source, at.row, workspace + at.queries + (b * s.heads + column) * at.head);
      return;
    }
    const KeyForms<T> keys(at, b * s.kv_heads + column - s.heads, workspace);
    rotate_head(table, rows, source, at.row, keys.k);
    rotate_head<T>(nullptr, rows, source + s.kv_heads * s.head_dim, at.row, keys.v);
    turn<T>(s.length, s.head_dim, keys.k, at.padded, keys.k_turned);
    turn<T>(s.length, s.head_dim, keys.v, at.padded, keys.v_turned);
  });
}

// Turns gradients by query head back into rows of dqkv: q, k and v, summed over the heads that share k and v.
template <class T>
void write_gradients(Context& context, const Layout& at, const AttentionShape& s, const T* dq, T* dqkv) {
  const T *dk = dq + at.gradient, *dv = dk + at.gradient;
  const RopeTable* table = rope_table(context, s, s.length);
  const HeadRows rows{s.length, 0, s.head_dim};
  const int shared = s.heads / s.kv_heads, columns = s.heads + 2 * s.kv_heads;
  context.pool.run(s.batch * columns, [&](std::int64_t task, int) {
    const std::int64_t b = task / columns, column = task % columns;
    T* target = dqkv + b * s.length * at.row + column * s.head_dim;
    const auto from = [&](const T* gradient, std::int64_t head) {
      return gradient + (b * s.heads + head) * at.head;
    };
    if (column < s.heads) {
      rotate_back(table, rows, from(dq, column), 1, target, at.row);
    } else if (column < s.heads + s.kv_heads) {
      rotate_back(table, rows, from(dk, (column - s.heads) * shared), shared, target, at.row);
    } else {
      rotate_back<T>(nullptr, rows, from(dv, (column - s.heads - s.kv_heads) * shared), shared, target,
                     at.row);
    }
  });
}

}  // namespace

template <class T>
std::size_t attention_workspace(const Context& context, const AttentionShape& s) {
  return static_cast<std::size_t>(Layout(context, s).total) * sizeof(T);
}

template <class T>
void attention(Context& context, const AttentionShape& s, const T* qkv, T* y, T* statistics, T* workspace) {
  const Layout at(context, s);
  gather_heads(context, at, s, qkv, workspace);
  const std::int64_t heads = s.batch * s.heads, blocks = (s.length + kQueries - 1) / kQueries;
  context.pool.run(heads * blocks, [&](std::int64_t task, int worker) {
    // Later blocks see more keys: they go first, so that threads end together.
    const std::int64_t index = blocks - 1 - task / heads, head = task % heads;
    const Range queries{index * kQueries, std::min(s.length, (index + 1) * kQueries)};
    T* out = y + (head / s.heads * s.length + queries.begin) * at.output + head % s.heads * s.head_dim;
    attend(head_of(at, s, head, workspace, worker), queries, false, out, at.output,
           statistics + head * s.length);
  });
}

template <class T>
void attention_backward(Context& context, const AttentionShape& s, const T* qkv, const T* y,
                        const T* statistics, const T* dy, T* dqkv, T* workspace) {
  const Layout at(context, s);
  gather_heads(context, at, s, qkv, workspace);
  T* gradients = workspace + at.gradients;
  context.pool.run(s.batch * s.heads, [&](std::int64_t head, int worker) {
    T* dq = gradients + head * at.head;
    const HeadGradients<T> out{dq, dq + at.gradient, dq + 2 * at.gradient};
    for (T* target : {out.dq, out.dk, out.dv}) std::fill_n(target, at.head, T(0));
    const auto block = head_of(at, s, head, workspace, worker);
    for (Range queries{0, 0}; queries.begin < s.length; queries.begin = queries.end) {
      queries.end = std::min(s.length, queries.begin + kQueries);
      const std::int64_t from =
          (head / s.heads * s.length + queries.begin) * at.output + head % s.heads * s.head_dim;
      attend_backward(block, queries, y + from, dy + from, at.output, statistics + head * s.length, out);
    }
  });
  write_gradients<T>(context, at, s, gradients, dqkv);
}

#define STRIPED_INSTANTIATE(T)                                                                              \
  template std::size_t attention_workspace<T>(const Context&, const AttentionShape&);                       \
  template void attention(Context&, const AttentionShape&, const T*, T*, T*, T*);                           \
  template void attention_backward(Context&, const AttentionShape&, const T*, const T*, const T*, const T*, \
                                   T*, T*);
STRIPED_INSTANTIATE(float)
STRIPED_INSTANTIATE(double)
#undef STRIPED_INSTANTIATE

}  // namespace striped::cpu
