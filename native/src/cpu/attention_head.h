// Attention of one head, a block of queries and a block of keys at a time, with an online softmax (Dao et al.
// 2022; Rabe & Staats 2021): over the keys of the same sequence, or of another piece of it, and then on top
// of what other pieces gave.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "math.h"
#include "micro_gemm.h"

namespace striped::cpu {

inline constexpr std::int64_t kQueries = 4 * kTileRows, kKeys = 128;
// Rows of a block of scores are this far apart: no power of two, which would crowd few cache sets.
inline constexpr std::int64_t kScoreStride = kKeys + 16, kScores = kQueries * kScoreStride;

struct Range {
  std::int64_t begin, end;
  std::int64_t size() const { return end - begin; }
};

// Which keys a query sees; both are counted from the first of their own piece.
struct Sight {
  std::int64_t keys, offset, window;  // as in AttentionPart

  std::int64_t first_key(std::int64_t query) const {
    return window > 0 ? std::clamp<std::int64_t>(query + offset - window + 1, 0, keys) : 0;
  }
  std::int64_t end_key(std::int64_t query) const {
    return std::clamp<std::int64_t>(query + offset + 1, 0, keys);
  }
  // Keys that the query sees, cut to `range` and relative to its start.
  Range visible(std::int64_t query, Range range) const {
    const std::int64_t end = std::clamp(end_key(query), range.begin, range.end) - range.begin;
    const std::int64_t begin = std::clamp(first_key(query), range.begin, range.end) - range.begin;
    return {std::min(begin, end), end};
  }
  // Calls visit(range) for the keys that some of the queries see, a block at a time.
  template <class Visit>
  void for_blocks(Range queries, const Visit& visit) const {
    const std::int64_t last = end_key(queries.end - 1);
    for (Range range{first_key(queries.begin), 0}; range.begin < last; range.begin = range.end) {
      range.end = std::min(range.begin + kKeys, last);
      visit(range);
    }
  }
};

// One head: rotated q and k, k and v also turned to [head_dim, keys], and a thread's two blocks of scores.
template <class T>
struct Head {
  Sight sight;
  std::int64_t dim, padded;
  const T *q, *k, *v, *k_turned, *v_turned;
  T *scores, *slopes;

  T scale() const { return T(1) / std::sqrt(static_cast<T>(dim)); }

  // out[queries, keys] = alpha · rows · turnedᵀ's columns. Whole tiles of columns: what lies past the keys is
  // garbage.
  void products(T alpha, const T* rows, std::int64_t stride, Range queries, Range keys, const T* turned,
                T* out) const {
    const std::int64_t columns = (keys.size() + kTileColumns<T> - 1) / kTileColumns<T> * kTileColumns<T>;
    micro_gemm<T>(queries.size(), columns, dim, alpha, {rows, stride, 1}, turned + keys.begin, padded, false,
                  out, kScoreStride);
  }
  void score(Range queries, Range keys) const {
    products(scale(), q + queries.begin * dim, dim, queries, keys, k_turned, scores);
  }

  // Turns a row of scores into exp(score - shift) where the query sees the key, zero elsewhere; returns the
  // sum.
  T weigh(T* row, std::int64_t query, Range keys, T shift) const {
    const Range seen = sight.visible(query, keys);
    std::fill(row, row + seen.begin, T(0));
    std::fill(row + seen.end, row + keys.size(), T(0));
    return exponentials(row + seen.begin, seen.size(), shift);
  }
};

// target[dim, padded] = source[rows, dim] transposed.
template <class T>
void turn(std::int64_t rows, std::int64_t dim, const T* source, std::int64_t padded, T* target) {
  constexpr std::int64_t block = 16;
  for (std::int64_t t0 = 0; t0 < rows; t0 += block) {
    const std::int64_t end = std::min(rows, t0 + block);
    for (std::int64_t d = 0; d < dim; ++d) {
      for (std::int64_t t = t0; t < end; ++t) target[d * padded + t] = source[t * dim + d];
    }
  }
}

// y rows (stride apart) and log-sum-exp of a block of queries; `resume`: they hold the result for other keys
// and become that for all of them.
template <class T>
void attend(const Head<T>& head, Range queries, bool resume, T* y, std::int64_t stride, T* statistics) {
  T peak[kQueries], total[kQueries];
  for (std::int64_t i = 0; i < queries.size(); ++i) {
    peak[i] = resume ? statistics[queries.begin + i] : -std::numeric_limits<T>::infinity();
    total[i] = resume ? T(1) : T(0);
  }
  bool begun = resume;
  head.sight.for_blocks(queries, [&](Range keys) {
    head.score(queries, keys);
    for (std::int64_t i = 0; i < queries.size(); ++i) {
      T* row = head.scores + i * kScoreStride;
      const Range seen = head.sight.visible(queries.begin + i, keys);
      const T before = peak[i];
      // A row that sees none of these keys keeps its peak.
      if (seen.size() > 0) peak[i] = std::max(before, maximum(row + seen.begin, seen.size()));
      const T rescale = before == peak[i] ? T(1) : fast_exp(before - peak[i]);
      total[i] = total[i] * rescale + head.weigh(row, queries.begin + i, keys, peak[i]);
      if (!begun || rescale == T(1)) continue;
      for (std::int64_t d = 0; d < head.dim; ++d) y[i * stride + d] *= rescale;
    }
    micro_gemm<T>(queries.size(), head.dim, keys.size(), T(1), {head.scores, kScoreStride, 1},
                  head.v + keys.begin * head.dim, head.dim, begun, y, stride);
    begun = true;
  });
  for (std::int64_t i = 0; i < queries.size(); ++i) {
    statistics[queries.begin + i] = peak[i] + std::log(total[i]);
    for (std::int64_t d = 0; d < head.dim; ++d) y[i * stride + d] /= total[i];
  }
}

// Gradients of one head, [queries or keys, head_dim] each; they are added to.
template <class T>
struct HeadGradients {
  T *dq, *dk, *dv;
};

template <class T>
void attend_backward(const Head<T>& head, Range queries, const T* y, const T* dy, std::int64_t stride,
                     const T* statistics, const HeadGradients<T>& out) {
  const std::int64_t dim = head.dim, count = queries.size();
  T delta[kQueries];
  for (std::int64_t i = 0; i < count; ++i) delta[i] = dot(y + i * stride, dy + i * stride, dim);
  head.sight.for_blocks(queries, [&](Range keys) {
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
  });
}

}  // namespace striped::cpu
