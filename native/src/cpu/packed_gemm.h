// Matrix product where there is no BLAS: both operands are packed into panels that fit the caches, and the
// register-blocked kernel runs over them (the scheme of Goto & van de Geijn, ACM TOMS 34, 2008).
#pragma once

#include <vector>

#include "micro_gemm.h"

namespace striped::cpu {
namespace packed {

inline constexpr std::int64_t kBlockRows = kTileRows * 16, kBlockDepth = 256, kBlockColumns = 1024;

// Panels of `width` rows of the operand, depth-major inside a panel; missing rows become zeros.
template <class T>
void pack(Strided<T> source, std::int64_t rows, std::int64_t depth, int width, T* target) {
  for (std::int64_t r0 = 0; r0 < rows; r0 += width) {
    const auto live = static_cast<int>(std::min<std::int64_t>(width, rows - r0));
    for (std::int64_t p = 0; p < depth; ++p, target += width) {
      const T* from = source.data + r0 * source.row + p * source.depth;
      for (int r = 0; r < live; ++r) target[r] = from[r * source.row];
      for (int r = live; r < width; ++r) target[r] = 0;
    }
  }
}

// C += alpha · (one packed block of A) · (one packed block of B).
template <class T>
void multiply_block(std::int64_t rows, std::int64_t columns, std::int64_t depth, T alpha, const T* a,
                    const T* b, T* c, std::int64_t ldc) {
  constexpr int step = kTileColumns<T>;
  for (std::int64_t j = 0; j < columns; j += step) {
    for (std::int64_t i = 0; i < rows; i += kTileRows) {
      micro_gemm<T>(std::min<std::int64_t>(kTileRows, rows - i), std::min<std::int64_t>(step, columns - j),
                    depth, alpha, {a + i * depth, 1, kTileRows}, b + j * depth, step, true, c + i * ldc + j,
                    ldc);
    }
  }
}

}  // namespace packed

template <class T>
void packed_gemm(bool ta, bool tb, std::int64_t m, std::int64_t n, std::int64_t k, T alpha, const T* a,
                 std::int64_t lda, const T* b, std::int64_t ldb, T beta, T* c, std::int64_t ldc) {
  using namespace packed;
  thread_local std::vector<T> a_panel(kBlockRows * kBlockDepth), b_panel(kBlockColumns * kBlockDepth);
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) c[i * ldc + j] = beta == T(0) ? T(0) : beta * c[i * ldc + j];
  }
  const std::int64_t a_row = ta ? 1 : lda, a_depth = ta ? lda : 1, b_row = tb ? ldb : 1,
                     b_depth = tb ? 1 : ldb;
  for (std::int64_t j0 = 0; j0 < n; j0 += kBlockColumns) {
    const auto columns = std::min(kBlockColumns, n - j0);
    for (std::int64_t p0 = 0; p0 < k; p0 += kBlockDepth) {
      const auto depth = std::min(kBlockDepth, k - p0);
      pack<T>({b + j0 * b_row + p0 * b_depth, b_row, b_depth}, columns, depth, kTileColumns<T>,
              b_panel.data());
      for (std::int64_t i0 = 0; i0 < m; i0 += kBlockRows) {
        const auto rows = std::min(kBlockRows, m - i0);
        pack<T>({a + i0 * a_row + p0 * a_depth, a_row, a_depth}, rows, depth, kTileRows, a_panel.data());
        multiply_block(rows, columns, depth, alpha, a_panel.data(), b_panel.data(), c + i0 * ldc + j0, ldc);
      }
    }
  }
}

}  // namespace striped::cpu
