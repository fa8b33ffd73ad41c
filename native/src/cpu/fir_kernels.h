// Causal filters over tiles, and their correlation. This is the two-stage blocked convolution of the paper
// (sections 3.1-3.2) with the Toeplitz blocks H0 and H1 never formed and their empty triangles never touched:
// rows of the tile's history play the part of the previous chunk, so any filter length is exact. Vectorised
// across channels and blocked in registers over time and taps.
#pragma once

#include "hyena_tile.h"

namespace striped::cpu {
namespace fir_detail {

// Adds `taps` (constant, at most 4) filter taps to kRowBlock rows; x is the row that tap 0 of row 0 reads.
template <int taps, class T>
inline void accumulate(const T* filter, const T* x, Vec<T> (&sum)[kRowBlock]) {
  constexpr int lanes = kLanes<T>;
  Vec<T> tap[taps], in[kRowBlock + taps - 1];
#pragma GCC unroll 4
  for (int j = 0; j < taps; ++j) tap[j] = load(filter + j * lanes);
#pragma GCC unroll 16
  for (int i = 0; i < kRowBlock + taps - 1; ++i) in[i] = load(x + (i - taps + 1) * lanes);
#pragma GCC unroll 4
  for (int j = 0; j < taps; ++j) {
#pragma GCC unroll 8
    for (int r = 0; r < kRowBlock; ++r) sum[r] += tap[j] * in[r - j + taps - 1];
  }
}

// Adds Σ over `steps` (constant) rows of g_t·x_{t-j} to kRowBlock consecutive lags j; x is the row of lag 0.
template <int steps, class T>
inline void correlate_steps(const T* g, const T* x, Vec<T> (&sum)[kRowBlock]) {
  constexpr int lanes = kLanes<T>;
  Vec<T> out[steps], in[kRowBlock + steps - 1];
#pragma GCC unroll 4
  for (int t = 0; t < steps; ++t) out[t] = load(g + t * lanes);
#pragma GCC unroll 16
  for (int i = 0; i < kRowBlock + steps - 1; ++i) in[i] = load(x + (i - kRowBlock + 1) * lanes);
#pragma GCC unroll 4
  for (int t = 0; t < steps; ++t) {
#pragma GCC unroll 8
    for (int j = 0; j < kRowBlock; ++j) sum[j] += out[t] * in[t - j + kRowBlock - 1];
  }
}

}  // namespace fir_detail

// out_t = Σ_{j < taps} filter_j ⊙ x_{t-j} for t in [0, rows). Reads taps - 1 rows before x; reads and writes
// up to padded_rows(rows). filter is [taps, kLanes].
template <class T>
void fir(const T* filter, std::int64_t taps, const T* x, T* out, std::int64_t rows) {
  constexpr int lanes = kLanes<T>, n = kVecSize<T>;
  for (int half = 0; half < lanes; half += n) {
    for (std::int64_t t = 0; t < rows; t += kRowBlock) {
      Vec<T> sum[kRowBlock] = {};
      const T* now = x + t * lanes + half;
      const T* h = filter + half;
      std::int64_t j = 0;
      for (; j + 4 <= taps; j += 4) fir_detail::accumulate<4>(h + j * lanes, now - j * lanes, sum);
      switch (taps - j) {
        case 3:
          fir_detail::accumulate<3>(h + j * lanes, now - j * lanes, sum);
          break;
        case 2:
          fir_detail::accumulate<2>(h + j * lanes, now - j * lanes, sum);
          break;
        case 1:
          fir_detail::accumulate<1>(h + j * lanes, now - j * lanes, sum);
          break;
        default:
          break;
      }
      for (int r = 0; r < kRowBlock; ++r) store(out + (t + r) * lanes + half, sum[r]);
    }
  }
}

// filter_j += Σ_{t < rows} g_t ⊙ x_{t-j} for j in [0, taps). Reads padded_rows(taps) - 1 rows before x;
// writes padded_rows(taps) rows of filter.
template <class T>
void correlate(const T* g, const T* x, std::int64_t rows, T* filter, std::int64_t taps) {
  constexpr int lanes = kLanes<T>, n = kVecSize<T>;
  for (int half = 0; half < lanes; half += n) {
    for (std::int64_t j = 0; j < taps; j += kRowBlock) {
      Vec<T> sum[kRowBlock] = {};
      const T* out = g + half;
      const T* in = x - j * lanes + half;
      std::int64_t t = 0;
      for (; t + 4 <= rows; t += 4) fir_detail::correlate_steps<4>(out + t * lanes, in + t * lanes, sum);
      for (; t < rows; ++t) fir_detail::correlate_steps<1>(out + t * lanes, in + t * lanes, sum);
      for (int r = 0; r < kRowBlock; ++r) {
        T* target = filter + (j + r) * lanes + half;
        store(target, load(target) + sum[r]);
      }
    }
  }
}

}  // namespace striped::cpu
