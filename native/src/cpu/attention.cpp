// Causal attention, blocked with an online softmax (Dao et al. 2022; Rabe & Staats 2021): scores exist for
// one block of queries and one block of keys at a time.
#include <algorithm>
#include <cmath>
#include <limits>

#include "gemm.h"
#include "math.h"
#include "operators.h"
#include "rope.h"
#include "vec.h"

namespace striped::cpu {
namespace {

constexpr std::int64_t kQueries = 64, kKeys = 512;

// Where things lie, in values from the start of qkv or of the workspace.
struct Layout {
  explicit Layout(const AttentionShape& s)
      : row((s.heads + 2 * std::int64_t{s.kv_heads}) * s.head_dim),
        head(s.length * s.head_dim),
        rotated(s.batch * (s.heads + s.kv_heads) * head),
        gradient(s.batch * s.heads * head),
        value((s.heads + std::int64_t{s.kv_heads}) * s.head_dim) {}
  std::int64_t row;       // values in a row of qkv
  std::int64_t head;      // values of a head in head-major order
  std::int64_t rotated;   // rotated q and k: [batch, heads + kv_heads, length, head_dim]
  std::int64_t gradient;  // one of dq, dk, dv by query head: [batch, heads, length, head_dim]
  std::int64_t value;     // offset of v in a row
};

struct Range {
  std::int64_t begin, end;
};

// Keys that the query at `position` sees, cut to [keys.begin, keys.end) and relative to its start.
Range visible(const AttentionShape& s, std::int64_t position, Range keys) {
  const std::int64_t first = s.window > 0 ? std::max<std::int64_t>(0, position - s.window + 1) : 0;
  const std::int64_t begin = std::clamp(first, keys.begin, keys.end) - keys.begin;
  const std::int64_t end = std::clamp(position + 1, keys.begin, keys.end) - keys.begin;
  return {std::min(begin, end), end};
}

std::int64_t first_key(const AttentionShape& s, std::int64_t query) {
  return s.window > 0 ? std::max<std::int64_t>(0, query - s.window + 1) : 0;
}

template <class T>
void rotate_inputs(Context& context, const AttentionShape& s, const RopeTable* table, const T* qkv,
                   T* rotated) {
  const Layout at(s);
  const std::int64_t heads = s.heads + s.kv_heads;
  context.pool.run(s.batch * heads, [&](std::int64_t task, int) {
    const std::int64_t b = task / heads, h = task % heads;
    rotate_head(table, s, qkv + b * s.length * at.row + h * s.head_dim, at.row, rotated + task * at.head);
  });
}

// One block of queries of one head against one block of keys.
template <class T>
struct Block {
  const AttentionShape& shape;
  const T* q;  // [length, head_dim], rotated
  const T* k;  // the same
  const T* v;  // rows v_stride apart
  std::int64_t v_stride;
  T* scores;  // [kQueries, kKeys]

  T scale() const { return T(1) / std::sqrt(static_cast<T>(shape.head_dim)); }

  void score(Range queries, Range keys) const {
    gemm<T>(Transpose::no, Transpose::yes, queries.end - queries.begin, keys.end - keys.begin, shape.head_dim,
            scale(), q + queries.begin * shape.head_dim, shape.head_dim, k + keys.begin * shape.head_dim,
            shape.head_dim, T(0), scores, kKeys);
  }

  // Turns a row of scores into exp(score - shift) where the query sees the key, zero elsewhere.
  Range exponentiate(T* row, std::int64_t query, Range keys, T shift) const {
    const Range seen = visible(shape, query, keys);
    std::fill(row, row + seen.begin, T(0));
    for (std::int64_t j = seen.begin; j < seen.end; ++j) row[j] = fast_exp(row[j] - shift);
    std::fill(row + seen.end, row + (keys.end - keys.begin), T(0));
    return seen;
  }
};

// y rows (y_stride apart) and log-sum-exp of a block of queries.
template <class T>
void attend(const Block<T>& block, Range queries, T* y, std::int64_t y_stride, T* statistics) {
  const AttentionShape& s = block.shape;
  const std::int64_t count = queries.end - queries.begin;
  T peak[kQueries], total[kQueries];
  std::fill_n(peak, kQueries, -std::numeric_limits<T>::infinity());
  std::fill_n(total, kQueries, T(0));
  const std::int64_t first = first_key(s, queries.begin);
  for (Range keys{first, 0}; keys.begin < queries.end; keys.begin = keys.end) {
    keys.end = std::min(keys.begin + kKeys, queries.end);
    block.score(queries, keys);
    for (std::int64_t i = 0; i < count; ++i) {
      T* row = block.scores + i * kKeys;
      const Range seen = visible(s, queries.begin + i, keys);
      T* out = y + i * y_stride;
      const T before = peak[i];
      if (seen.begin < seen.end) peak[i] = std::max(before, maximum(row + seen.begin, seen.end - seen.begin));
      block.exponentiate(row, queries.begin + i, keys, peak[i]);
      // A row that sees none of these keys keeps its peak.
      const T rescale = before == peak[i] ? T(1) : fast_exp(before - peak[i]);
      total[i] = total[i] * rescale + sum(row, keys.end - keys.begin);
      if (keys.begin > first && rescale != T(1)) {
        for (int d = 0; d < s.head_dim; ++d) out[d] *= rescale;
      }
    }
    gemm<T>(Transpose::no, Transpose::no, count, s.head_dim, keys.end - keys.begin, T(1), block.scores, kKeys,
            block.v + keys.begin * block.v_stride, block.v_stride, T(keys.begin > first), y, y_stride);
  }
  for (std::int64_t i = 0; i < count; ++i) {
    statistics[queries.begin + i] = peak[i] + std::log(total[i]);
    for (int d = 0; d < s.head_dim; ++d) y[i * y_stride + d] /= total[i];
  }
}

// Gradients of one query head; dq, dk, dv are [length, head_dim] and start at zero.
template <class T>
struct HeadGradients {
  T *dq, *dk, *dv;
};

template <class T>
void attend_backward(const Block<T>& block, Range queries, const T* y, const T* dy, std::int64_t stride,
                     const T* statistics, T* slopes, const HeadGradients<T>& out) {
  const AttentionShape& s = block.shape;
  const std::int64_t count = queries.end - queries.begin, dim = s.head_dim;
  T delta[kQueries];
  for (std::int64_t i = 0; i < count; ++i) delta[i] = dot(y + i * stride, dy + i * stride, dim);
  for (Range keys{first_key(s, queries.begin), 0}; keys.begin < queries.end; keys.begin = keys.end) {
    keys.end = std::min(keys.begin + kKeys, queries.end);
    const std::int64_t width = keys.end - keys.begin;
    block.score(queries, keys);
    gemm<T>(Transpose::no, Transpose::yes, count, width, dim, T(1), dy, stride,
            block.v + keys.begin * block.v_stride, block.v_stride, T(0), slopes, kKeys);
    for (std::int64_t i = 0; i < count; ++i) {
      T* __restrict weights = block.scores + i * kKeys;
      T* __restrict slope = slopes + i * kKeys;
      block.exponentiate(weights, queries.begin + i, keys, statistics[queries.begin + i]);
      for (std::int64_t j = 0; j < width; ++j) slope[j] = weights[j] * (slope[j] - delta[i]);
    }
    gemm<T>(Transpose::yes, Transpose::no, width, dim, count, T(1), block.scores, kKeys, dy, stride, T(1),
            out.dv + keys.begin * dim, dim);
    gemm<T>(Transpose::no, Transpose::no, count, dim, width, block.scale(), slopes, kKeys,
            block.k + keys.begin * dim, dim, T(1), out.dq + queries.begin * dim, dim);
    gemm<T>(Transpose::yes, Transpose::no, width, dim, count, block.scale(), slopes, kKeys,
            block.q + queries.begin * dim, dim, T(1), out.dk + keys.begin * dim, dim);
  }
}

template <class T>
Block<T> head_block(const AttentionShape& s, std::int64_t b, std::int64_t h, const T* qkv, const T* rotated,
                    T* scores) {
  const Layout at(s);
  const std::int64_t kv = h / (s.heads / s.kv_heads);
  const T* heads = rotated + b * (s.heads + s.kv_heads) * at.head;
  return {s,
          heads + h * at.head,
          heads + (s.heads + kv) * at.head,
          qkv + b * s.length * at.row + at.value + kv * s.head_dim,
          at.row,
          scores};
}

// Turns gradients by query head back into rows of dqkv: q, k and v, summed over the heads that share k and v.
template <class T>
void write_gradients(Context& context, const AttentionShape& s, const RopeTable* table, const T* dq,
                     T* dqkv) {
  const Layout at(s);
  const T *dk = dq + at.gradient, *dv = dk + at.gradient;
  const int shared = s.heads / s.kv_heads, columns = s.heads + 2 * s.kv_heads;
  context.pool.run(s.batch * columns, [&](std::int64_t task, int) {
    const std::int64_t b = task / columns, column = task % columns;
    T* target = dqkv + b * s.length * at.row + column * s.head_dim;
    const auto from = [&](const T* gradient, std::int64_t head) {
      return gradient + (b * s.heads + head) * at.head;
    };
    if (column < s.heads) {
      rotate_back(table, s, from(dq, column), 1, target, at.row);
    } else if (column < s.heads + s.kv_heads) {
      rotate_back(table, s, from(dk, (column - s.heads) * shared), shared, target, at.row);
    } else {
      rotate_back<T>(nullptr, s, from(dv, (column - s.heads - s.kv_heads) * shared), shared, target, at.row);
    }
  });
}

}  // namespace

template <class T>
std::size_t attention_workspace(const Context& context, const AttentionShape& s) {
  const Layout at(s);
  return static_cast<std::size_t>(at.rotated + 3 * at.gradient +
                                  context.pool.threads() * 2 * kQueries * kKeys) *
         sizeof(T);
}

template <class T>
void attention(Context& context, const AttentionShape& s, const T* qkv, T* y, T* statistics, T* workspace) {
  const Layout at(s);
  T* scores = workspace;
  T* rotated = scores + context.pool.threads() * 2 * kQueries * kKeys;
  rotate_inputs(context, s, rope_table(context, s), qkv, rotated);
  const std::int64_t blocks = (s.length + kQueries - 1) / kQueries;
  context.pool.run(s.batch * s.heads * blocks, [&](std::int64_t task, int worker) {
    // Later blocks see more keys: they go first, so that threads end together.
    const std::int64_t index = blocks - 1 - task / (s.batch * s.heads), head = task % (s.batch * s.heads);
    const std::int64_t b = head / s.heads, h = head % s.heads;
    const Range queries{index * kQueries, std::min(s.length, (index + 1) * kQueries)};
    const auto block = head_block<T>(s, b, h, qkv, rotated, scores + worker * 2 * kQueries * kKeys);
    const std::int64_t stride = s.heads * std::int64_t{s.head_dim};
    attend(block, queries, y + (b * s.length + queries.begin) * stride + h * s.head_dim, stride,
           statistics + head * s.length);
  });
}

template <class T>
void attention_backward(Context& context, const AttentionShape& s, const T* qkv, const T* y,
                        const T* statistics, const T* dy, T* dqkv, T* workspace) {
  const Layout at(s);
  T* scores = workspace;
  T* rotated = scores + context.pool.threads() * 2 * kQueries * kKeys;
  T* gradients = rotated + at.rotated;
  const RopeTable* table = rope_table(context, s);
  rotate_inputs(context, s, table, qkv, rotated);
  context.pool.run(s.batch * s.heads, [&](std::int64_t head, int worker) {
    const std::int64_t b = head / s.heads, h = head % s.heads;
    T* dq = gradients + head * at.head;
    const HeadGradients<T> out{dq, dq + at.gradient, dq + 2 * at.gradient};
    for (T* target : {out.dq, out.dk, out.dv}) std::fill_n(target, at.head, T(0));
    T* mine = scores + worker * 2 * kQueries * kKeys;
    const auto block = head_block<T>(s, b, h, qkv, rotated, mine);
    const std::int64_t stride = s.heads * std::int64_t{s.head_dim};
    for (Range queries{0, 0}; queries.begin < s.length; queries.begin = queries.end) {
      queries.end = std::min(s.length, queries.begin + kQueries);
      const std::int64_t from = (b * s.length + queries.begin) * stride + h * s.head_dim;
      attend_backward(block, queries, y + from, dy + from, stride, statistics + head * s.length,
                      mine + kQueries * kKeys, out);
    }
  });
  write_gradients<T>(context, s, table, gradients, dqkv);
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
