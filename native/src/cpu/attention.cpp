// Causal attention, blocked with an online softmax (Dao et al. 2022; Rabe & Staats 2021): scores exist for
// one block of queries and one block of keys at a time.
#include <algorithm>
#include <cmath>
#include <limits>

#include "math.h"
#include "micro_gemm.h"
#include "operators.h"
#include "rope.h"

namespace striped::cpu {
namespace {

constexpr std::int64_t kQueries = 4 * kTileRows, kKeys = 128;
// Rows of a block of scores are this far apart: no power of two, which would crowd few cache sets.
constexpr std::int64_t kScoreStride = kKeys + 16, kScores = kQueries * kScoreStride;

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

struct Range {
  std::int64_t begin, end;
  std::int64_t size() const { return end - begin; }
};

std::int64_t first_key(const AttentionShape& s, std::int64_t query) {
  return s.window > 0 ? std::max<std::int64_t>(0, query - s.window + 1) : 0;
}

// Keys that the query sees, cut to `keys` and relative to their start.
Range visible(const AttentionShape& s, std::int64_t query, Range keys) {
  const std::int64_t end = std::clamp(query + 1, keys.begin, keys.end) - keys.begin;
  const std::int64_t begin = std::clamp(first_key(s, query), keys.begin, keys.end) - keys.begin;
  return {std::min(begin, end), end};
}

// One head: rotated q and k, k and v also turned to [head_dim, length], and a thread's two blocks of scores.
template <class T>
struct Head {
  const AttentionShape& shape;
  std::int64_t padded;
  T *q, *k, *v, *k_turned, *v_turned;
  T *scores, *slopes;

  std::int64_t dim() const { return shape.head_dim; }
  T scale() const { return T(1) / std::sqrt(static_cast<T>(shape.head_dim)); }

  // out[queries, keys] = alpha · rows · turnedᵀ's columns. Whole tiles of columns: what lies past the keys is
  // garbage.
  void products(T alpha, const T* rows, std::int64_t stride, Range queries, Range keys, const T* turned,
                T* out) const {
    const std::int64_t columns = (keys.size() + kTileColumns<T> - 1) / kTileColumns<T> * kTileColumns<T>;
    micro_gemm<T>(queries.size(), columns, dim(), alpha, {rows, stride, 1}, turned + keys.begin, padded,
                  false, out, kScoreStride);
  }
  void score(Range queries, Range keys) const {
    products(scale(), q + queries.begin * dim(), dim(), queries, keys, k_turned, scores);
  }

  // Turns a row of scores into exp(score - shift) where the query sees the key, zero elsewhere; returns the
  // sum.
  T weigh(T* row, std::int64_t query, Range keys, T shift) const {
    const Range seen = visible(shape, query, keys);
    std::fill(row, row + seen.begin, T(0));
    std::fill(row + seen.end, row + keys.size(), T(0));
    return exponentials(row + seen.begin, seen.size(), shift);
  }
};

template <class T>
Head<T> head_of(const Layout& at, const AttentionShape& s, std::int64_t head, T* workspace, int worker) {
  const std::int64_t kv = head / s.heads * s.kv_heads + head % s.heads / (s.heads / s.kv_heads);
  T* k = workspace + at.keys + kv * (2 * at.head + 2 * at.turned);
  T* v = k + at.head;
  T* scores = workspace + worker * 2 * kScores;
  return {s,
          at.padded,
          workspace + at.queries + head * at.head,
          k,
          v,
          v + at.head,
          v + at.head + at.turned,
          scores,
          scores + kScores};
}

template <class T>
void turn(const AttentionShape& s, const T* source, std::int64_t padded, T* target) {
  constexpr std::int64_t block = 16;
  for (std::int64_t t0 = 0; t0 < s.length; t0 += block) {
    const std::int64_t end = std::min(s.length, t0 + block);
    for (int d = 0; d < s.head_dim; ++d) {
      for (std::int64_t t = t0; t < end; ++t) target[d * padded + t] = source[t * s.head_dim + d];
    }
  }
}

// Fills the heads' q, k and v from the packed rows.
template <class T>
void gather_heads(Context& context, const Layout& at, const AttentionShape& s, const T* qkv, T* workspace) {
  const RopeTable* table = rope_table(context, s);
  const std::int64_t tasks = s.heads + s.kv_heads, shared = s.heads / s.kv_heads;
  context.pool.run(s.batch * tasks, [&](std::int64_t task, int) {
    const std::int64_t b = task / tasks, column = task % tasks;
    const T* source = qkv + b * s.length * at.row + column * s.head_dim;
    if (column < s.heads) {
      rotate_head(table, s, source, at.row, head_of(at, s, b * s.heads + column, workspace, 0).q);
      return;
    }
    const auto head = head_of(at, s, b * s.heads + (column - s.heads) * shared, workspace, 0);
    rotate_head(table, s, source, at.row, head.k);
    rotate_head<T>(nullptr, s, source + s.kv_heads * s.head_dim, at.row, head.v);
    turn(s, head.k, at.padded, head.k_turned);
    turn(s, head.v, at.padded, head.v_turned);
  });
}

// y rows (stride apart) and log-sum-exp of a block of queries.
template <class T>
void attend(const Head<T>& head, Range queries, T* y, std::int64_t stride, T* statistics) {
  const AttentionShape& s = head.shape;
  T peak[kQueries], total[kQueries];
  std::fill_n(peak, kQueries, -std::numeric_limits<T>::infinity());
  std::fill_n(total, kQueries, T(0));
  const std::int64_t first = first_key(s, queries.begin);
  for (Range keys{first, 0}; keys.begin < queries.end; keys.begin = keys.end) {
    keys.end = std::min(keys.begin + kKeys, queries.end);
    head.score(queries, keys);
    for (std::int64_t i = 0; i < queries.size(); ++i) {
      T* row = head.scores + i * kScoreStride;
      const Range seen = visible(s, queries.begin + i, keys);
      const T before = peak[i];
      // A row that sees none of these keys keeps its peak.
      if (seen.size() > 0) peak[i] = std::max(before, maximum(row + seen.begin, seen.size()));
      const T rescale = before == peak[i] ? T(1) : fast_exp(before - peak[i]);
      total[i] = total[i] * rescale + head.weigh(row, queries.begin + i, keys, peak[i]);
      if (keys.begin == first || rescale == T(1)) continue;
      for (int d = 0; d < s.head_dim; ++d) y[i * stride + d] *= rescale;
    }
    micro_gemm<T>(queries.size(), s.head_dim, keys.size(), T(1), {head.scores, kScoreStride, 1},
                  head.v + keys.begin * s.head_dim, s.head_dim, keys.begin > first, y, stride);
  }
  for (std::int64_t i = 0; i < queries.size(); ++i) {
    statistics[queries.begin + i] = peak[i] + std::log(total[i]);
    for (int d = 0; d < s.head_dim; ++d) y[i * stride + d] /= total[i];
  }
}

// Gradients of one query head, [length, head_dim] each, starting from zero.
template <class T>
struct HeadGradients {
  T *dq, *dk, *dv;
};

template <class T>
void attend_backward(const Head<T>& head, Range queries, const T* y, const T* dy, std::int64_t stride,
                     const T* statistics, const HeadGradients<T>& out) {
  const std::int64_t dim = head.dim(), count = queries.size();
  T delta[kQueries];
  for (std::int64_t i = 0; i < count; ++i) delta[i] = dot(y + i * stride, dy + i * stride, dim);
  for (Range keys{first_key(head.shape, queries.begin), 0}; keys.begin < queries.end; keys.begin = keys.end) {
    keys.end = std::min(keys.begin + kKeys, queries.end);
    head.score(queries, keys);
    head.products(T(1), dy, stride, queries, keys, head.v_turned, head.slopes);
    for (std::int64_t i = 0; i < count; ++i) {
      T* __restrict weights = head.scores + i * kScoreStride;
      T* __restrict slope = head.slopes + i * kScoreStride;
      head.weigh(weights, queries.begin + i, keys, statistics[queries.begin + i]);
      for (std::int64_t j = 0; j < keys.size(); ++j) slope[j] = weights[j] * (slope[j] - delta[i]);
    }
    micro_gemm<T>(keys.size(), dim, count, T(1), {head.scores, 1, kScoreStride}, dy, stride, true,
                  out.dv + keys.begin * dim, dim);
    micro_gemm<T>(count, dim, keys.size(), head.scale(), {head.slopes, kScoreStride, 1},
                  head.k + keys.begin * dim, dim, true, out.dq + queries.begin * dim, dim);
    micro_gemm<T>(keys.size(), dim, count, head.scale(), {head.slopes, 1, kScoreStride},
                  head.q + queries.begin * dim, dim, true, out.dk + keys.begin * dim, dim);
  }
}

// Turns gradients by query head back into rows of dqkv: q, k and v, summed over the heads that share k and v.
template <class T>
void write_gradients(Context& context, const Layout& at, const AttentionShape& s, const T* dq, T* dqkv) {
  const T *dk = dq + at.gradient, *dv = dk + at.gradient;
  const RopeTable* table = rope_table(context, s);
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
    attend(head_of(at, s, head, workspace, worker), queries, out, at.output, statistics + head * s.length);
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
