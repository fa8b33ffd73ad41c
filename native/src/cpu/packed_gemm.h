// Matrix product where there is no BLAS: both operands are packed into panels that fit the caches, and a
// register-blocked kernel runs over them (the scheme of Goto & van de Geijn, ACM TOMS 34, 2008).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "vec.h"

namespace striped::cpu {
namespace packed {

inline constexpr int kTileRows = kVectorBytes == 64 ? 12 : 6;
template <class T>
inline constexpr int kTileColumns = 2 * kVecSize<T>;
inline constexpr std::int64_t kBlockRows = kTileRows * 16, kBlockDepth = 256, kBlockColumns = 1024;

// Panels of `width` rows of the operand, depth-major inside a panel; missing rows become zeros.
template <class T>
void pack(const T* source, std::int64_t row_stride, std::int64_t depth_stride, std::int64_t rows,
          std::int64_t depth, int width, T* target) {
  for (std::int64_t r0 = 0; r0 < rows; r0 += width) {
    const auto live = static_cast<int>(std::min<std::int64_t>(width, rows - r0));
    for (std::int64_t p = 0; p < depth; ++p, target += width) {
      const T* from = source + r0 * row_stride + p * depth_stride;
      for (int r = 0; r < live; ++r) target[r] = from[r * row_stride];
      for (int r = live; r < width; ++r) target[r] = 0;
    }
  }
}

template <class T>
void tile(std::int64_t depth, const T* a, const T* b, T* out) {
  constexpr int n = kVecSize<T>;
  Vec<T> sum[kTileRows][2] = {};
  for (std::int64_t p = 0; p < depth; ++p, a += kTileRows, b += 2 * n) {
    const Vec<T> b0 = load(b), b1 = load(b + n);
#pragma GCC unroll 12
    for (int r = 0; r < kTileRows; ++r) {
      sum[r][0] += a[r] * b0;
      sum[r][1] += a[r] * b1;
    }
  }
  for (int r = 0; r < kTileRows; ++r) {
    store(out + r * 2 * n, sum[r][0]);
    store(out + r * 2 * n + n, sum[r][1]);
  }
}

}  // namespace packed

template <class T>
void packed_gemm(bool ta, bool tb, std::int64_t m, std::int64_t n, std::int64_t k, T alpha, const T* a,
                 std::int64_t lda, const T* b, std::int64_t ldb, T beta, T* c, std::int64_t ldc) {
  using namespace packed;
  constexpr int columns = kTileColumns<T>;
  thread_local std::vector<T> a_panel(kBlockRows * kBlockDepth), b_panel(kBlockColumns * kBlockDepth);
  alignas(64) T out[kTileRows * columns];
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) c[i * ldc + j] = beta == T(0) ? T(0) : beta * c[i * ldc + j];
  }
  const std::int64_t a_row = ta ? 1 : lda, a_depth = ta ? lda : 1, b_row = tb ? ldb : 1,
                     b_depth = tb ? 1 : ldb;
  for (std::int64_t j0 = 0; j0 < n; j0 += kBlockColumns) {
    const auto nb = std::min(kBlockColumns, n - j0);
    for (std::int64_t p0 = 0; p0 < k; p0 += kBlockDepth) {
      const auto kb = std::min(kBlockDepth, k - p0);
      pack(b + j0 * b_row + p0 * b_depth, b_row, b_depth, nb, kb, columns, b_panel.data());
      for (std::int64_t i0 = 0; i0 < m; i0 += kBlockRows) {
        const auto mb = std::min(kBlockRows, m - i0);
        pack(a + i0 * a_row + p0 * a_depth, a_row, a_depth, mb, kb, kTileRows, a_panel.data());
        for (std::int64_t j = 0; j < nb; j += columns) {
          for (std::int64_t i = 0; i < mb; i += kTileRows) {
            tile(kb, a_panel.data() + i * kb, b_panel.data() + j * kb, out);
            const auto rows = std::min<std::int64_t>(kTileRows, mb - i),
                       cols = std::min<std::int64_t>(columns, nb - j);
            for (std::int64_t r = 0; r < rows; ++r) {
              T* target = c + (i0 + i + r) * ldc + j0 + j;
              for (std::int64_t q = 0; q < cols; ++q) target[q] += alpha * out[r * columns + q];
            }
          }
        }
      }
    }
  }
}

}  // namespace striped::cpu
