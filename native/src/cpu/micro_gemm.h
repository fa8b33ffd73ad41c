// The register-blocked kernel of matrix products, over operands that are packed or small enough to stay in
// cache.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "vec.h"

namespace striped::cpu {

inline constexpr int kTileRows = kVectorBytes == 64 ? 12 : 6;
template <class T>
inline constexpr int kTileColumns = 2 * kVecSize<T>;

// A matrix read as [rows, depth] with any strides, so that a transposed one costs nothing.
template <class T>
struct Strided {
  const T* data;
  std::int64_t row, depth;
};

namespace micro_detail {

// The first `columns` values at p, zeros after them.
template <class T>
inline Vec<T> load_some(const T* p, std::int64_t columns) {
  if (columns >= kVecSize<T>) return load(p);
  Vec<T> v{};
  if (columns > 0) std::memcpy(&v, p, static_cast<std::size_t>(columns) * sizeof(T));
  return v;
}

template <class T>
inline void store_some(T* p, Vec<T> v, std::int64_t columns) {
  if (columns >= kVecSize<T>) return store(p, v);
  if (columns > 0) std::memcpy(p, &v, static_cast<std::size_t>(columns) * sizeof(T));
}

// C[rows, columns] = alpha·A·B (+ C); `whole`: columns fill both vectors.
template <int rows, bool whole, class T>
void tile(std::int64_t depth, T alpha, Strided<T> a, const T* b, std::int64_t ldb, bool add, T* c,
          std::int64_t ldc, std::int64_t columns) {
  constexpr int n = kVecSize<T>;
  Vec<T> sum[rows][2] = {};
  for (std::int64_t p = 0; p < depth; ++p) {
    const T* in = b + p * ldb;
    const Vec<T> b0 = whole ? load(in) : load_some(in, columns);
    const Vec<T> b1 = whole ? load(in + n) : load_some(in + n, columns - n);
    const T* from = a.data + p * a.depth;
#pragma GCC unroll 12
    for (int r = 0; r < rows; ++r) {
      const T value = from[r * a.row];
      sum[r][0] += value * b0;
      sum[r][1] += value * b1;
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r) {
    T* out = c + r * ldc;
    for (int half = 0; half < 2; ++half) {
      const std::int64_t live = whole ? n : columns - half * n;
      Vec<T> value = alpha * sum[r][half];
      if (add) value += load_some(out + half * n, live);
      store_some(out + half * n, value, live);
    }
  }
}

template <int rows, class T>
void row_panel(std::int64_t columns, std::int64_t depth, T alpha, Strided<T> a, const T* b, std::int64_t ldb,
               bool add, T* c, std::int64_t ldc) {
  constexpr int step = kTileColumns<T>;
  std::int64_t j = 0;
  for (; j + step <= columns; j += step) tile<rows, true>(depth, alpha, a, b + j, ldb, add, c + j, ldc, step);
  if (j < columns) tile<rows, false>(depth, alpha, a, b + j, ldb, add, c + j, ldc, columns - j);
}

}  // namespace micro_detail

// C[rows, columns] = alpha · A[rows, depth] · B[depth, columns] (+ C when `add`), B and C row-major.
template <class T>
void micro_gemm(std::int64_t rows, std::int64_t columns, std::int64_t depth, T alpha, Strided<T> a,
                const T* b, std::int64_t ldb, bool add, T* c, std::int64_t ldc) {
  std::int64_t i = 0;
  const auto advance = [&](int by) {
    i += by;
    a.data += by * a.row;
    c += by * ldc;
  };
  while (i + kTileRows <= rows) {
    micro_detail::row_panel<kTileRows>(columns, depth, alpha, a, b, ldb, add, c, ldc);
    advance(kTileRows);
  }
  while (i + 4 <= rows) {
    micro_detail::row_panel<4>(columns, depth, alpha, a, b, ldb, add, c, ldc);
    advance(4);
  }
  while (i < rows) {
    micro_detail::row_panel<1>(columns, depth, alpha, a, b, ldb, add, c, ldc);
    advance(1);
  }
}

}  // namespace striped::cpu
