// Time tiles of a block of channels: the building bricks of the fused Hyena operators. A tile is [rows,
// kLanes], channels contiguous, zero-padded to kLanes, so that everything vectorises across channels and a
// filter of any length is a sum over shifted rows. Tiles live in a thread's scratch and never stream through
// memory.
#pragma once

#include <algorithm>
#include <cstdint>

#include "vec.h"

namespace striped::cpu {

// Two vectors wide: whole cache-line pairs of z are used at a time.
template <class T>
inline constexpr int kLanes = 2 * kVecSize<T>;

// Rows that the filter kernels compute at a time; tile buffers are padded by as many.
inline constexpr int kRowBlock = 8;

inline std::int64_t padded_rows(std::int64_t rows) { return (rows + kRowBlock - 1) / kRowBlock * kRowBlock; }

// The channels [first, first + live) of the model's width that one task works on.
struct ChannelBlock {
  std::int64_t first;
  int live;
};

template <class T>
void zero_rows(T* tile, std::int64_t rows) {
  std::fill_n(tile, rows * kLanes<T>, T(0));
}

template <class T>
void load_rows(T* tile, const T* source, std::int64_t stride, std::int64_t rows, int live) {
  constexpr int lanes = kLanes<T>, n = kVecSize<T>;
  if (live == lanes) {
    for (std::int64_t r = 0; r < rows; ++r) {
      store(tile + r * lanes, load(source + r * stride));
      store(tile + r * lanes + n, load(source + r * stride + n));
    }
    return;
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    for (int c = 0; c < lanes; ++c) tile[r * lanes + c] = c < live ? source[r * stride + c] : T(0);
  }
}

template <class T>
void store_rows(T* target, const T* tile, std::int64_t stride, std::int64_t rows, int live) {
  constexpr int lanes = kLanes<T>, n = kVecSize<T>;
  if (live == lanes) {
    for (std::int64_t r = 0; r < rows; ++r) {
      store(target + r * stride, load(tile + r * lanes));
      store(target + r * stride + n, load(tile + r * lanes + n));
    }
    return;
  }
  for (std::int64_t r = 0; r < rows; ++r) std::copy_n(tile + r * lanes, live, target + r * stride);
}

template <class T>
void multiply_rows(T* __restrict out, const T* __restrict a, const T* __restrict b, std::int64_t rows) {
  for (std::int64_t i = 0; i < rows * kLanes<T>; ++i) out[i] = a[i] * b[i];
}

}  // namespace striped::cpu
