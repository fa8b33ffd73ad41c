// Tiles of an attention in shared memory and registers: which of them there are, their products, and their
// ways from and to device memory. A block is kSide x kSide threads.
#pragma once

#include <algorithm>

#include "operators.h"
#include "ptx.cuh"
#include "vector.cuh"

namespace striped::cuda::attention_tiles {

constexpr int kSide = 16;

struct Shape {
  std::int64_t queries, keys, offset;  // and window, as in AttentionPart
  int heads, kv_heads, head_dim;
  std::int64_t window;
  float scale;

  __device__ bool sees(std::int64_t query, std::int64_t key) const {
    const std::int64_t distance = query + offset - key;
    return query < queries && key < keys && distance >= 0 && (window == 0 || distance < window);
  }
  // Tiles of keys that some of a tile of queries see, and tiles of queries that see some of a tile of keys.
  template <int kTile>
  __device__ std::int64_t first_key_tile(std::int64_t query) const {
    return window == 0 ? 0 : std::max<std::int64_t>(0, query + offset - window + 1) / kTile;
  }
  template <int kTile>
  __device__ std::int64_t end_key_tile(std::int64_t first_query) const {
    const std::int64_t last = std::min(first_query + kTile, queries) - 1;
    return end_tile<kTile>(std::min(keys, last + offset + 1));
  }
  template <int kTile>
  __device__ std::int64_t first_query_tile(std::int64_t key) const {
    return std::max<std::int64_t>(0, key - offset) / kTile;
  }
  template <int kTile>
  __device__ std::int64_t end_query_tile(std::int64_t first_key) const {
    const std::int64_t last = std::min(first_key + kTile, keys) - 1;
    return end_tile<kTile>(window == 0 ? queries : std::min(queries, last - offset + window));
  }
  template <int kTile>
  __device__ static std::int64_t end_tile(std::int64_t end) {
    return end <= 0 ? 0 : (end + kTile - 1) / kTile;
  }
};

template <class T>
struct View {
  T* data;
  HeadStrides strides;
  __device__ T* head(std::int64_t sequence, int head) const {
    return data + sequence * strides.sequence + head * strides.head;
  }
};

__device__ __forceinline__ float* shared_floats() { return reinterpret_cast<float*>(ptx::dynamic_shared()); }

// tile[kTile][D + 1]: rows first … of `rows` of a head, zero outside.
template <int kTile, int D, class T>
__device__ void load_tile(const T* head, std::int64_t stride, std::int64_t first, std::int64_t rows,
                          int head_dim, float* tile) {
  const int thread = threadIdx.y * kSide + threadIdx.x;
  for (int i = thread; i < kTile * D; i += kSide * kSide) {
    const int row = i / D, column = i % D;
    const std::int64_t t = first + row;
    tile[row * (D + 1) + column] = t < rows && column < head_dim ? to_float(head[t * stride + column]) : 0.0f;
  }
}

// out[r][c] = Σ_d a[y + 16r][d] · b[x + 16c][d]
template <int kTile, int D>
__device__ __forceinline__ void multiply_rows(const float* a, const float* b,
                                              float (&out)[kTile / kSide][kTile / kSide]) {
  constexpr int n = kTile / kSide;
#pragma unroll
  for (int r = 0; r < n; ++r) {
#pragma unroll
    for (int c = 0; c < n; ++c) out[r][c] = 0;
  }
#pragma unroll 8
  for (int d = 0; d < D; ++d) {
    float left[n], right[n];
#pragma unroll
    for (int r = 0; r < n; ++r) left[r] = a[(threadIdx.y + kSide * r) * (D + 1) + d];
#pragma unroll
    for (int c = 0; c < n; ++c) right[c] = b[(threadIdx.x + kSide * c) * (D + 1) + d];
#pragma unroll
    for (int r = 0; r < n; ++r) {
#pragma unroll
      for (int c = 0; c < n; ++c) out[r][c] += left[r] * right[c];
    }
  }
}

// out[r][c] += Σ_j p[y + 16r][j] · b[j][x + 16c], or with p transposed; p is [kTile][kTile + 1].
template <int kTile, int D, bool kTransposed>
__device__ __forceinline__ void accumulate(const float* p, const float* b,
                                           float (&out)[kTile / kSide][D / kSide]) {
  constexpr int rows = kTile / kSide, columns = D / kSide;
#pragma unroll 4
  for (int j = 0; j < kTile; ++j) {
    float left[rows];
#pragma unroll
    for (int r = 0; r < rows; ++r) {
      const int i = threadIdx.y + kSide * r;
      left[r] = kTransposed ? p[j * (kTile + 1) + i] : p[i * (kTile + 1) + j];
    }
#pragma unroll
    for (int c = 0; c < columns; ++c) {
      const float right = b[j * (D + 1) + threadIdx.x + kSide * c];
#pragma unroll
      for (int r = 0; r < rows; ++r) out[r][c] += left[r] * right;
    }
  }
}

// Over the kSide threads that share a row of a tile.
__device__ __forceinline__ float row_max(float value) {
#pragma unroll
  for (int offset = kSide / 2; offset > 0; offset /= 2)
    value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, offset));
  return value;
}
__device__ __forceinline__ float row_sum(float value) {
#pragma unroll
  for (int offset = kSide / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
  return value;
}

// Writes, or where there is `more` adds, values · factor.
template <int kTile, int D, class T>
__device__ void write_rows(T* head, std::int64_t stride, std::int64_t first, std::int64_t rows, int head_dim,
                           const float (&values)[kTile / kSide][D / kSide], float factor, bool more) {
#pragma unroll
  for (int r = 0; r < kTile / kSide; ++r) {
    const std::int64_t t = first + threadIdx.y + kSide * r;
    if (t >= rows) continue;
#pragma unroll
    for (int c = 0; c < D / kSide; ++c) {
      const int d = threadIdx.x + kSide * c;
      if (d >= head_dim) continue;
      T& place = head[t * stride + d];
      const float value = values[r][c] * factor;
      place = from_float<T>(more ? to_float(place) + value : value);
    }
  }
}

}  // namespace striped::cuda::attention_tiles
