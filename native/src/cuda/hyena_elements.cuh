// The featurizer as the Hyena kernels for any shape see it: one channel a thread, fp32.
#pragma once

#include "hyena_general.h"
#include "vector.cuh"

namespace striped::cuda::general {

// What every thread needs to find its data. `projections`: the rows of z before each sequence's first, where
// it is a piece of a longer one (HyenaSurroundings); else null.
template <class T>
struct Tensors {
  const T *z, *dy, *projections;
  const float* featurizer;
  int length, width, featurizer_taps;
};

template <class T>
Tensors<T> tensors_of(const HyenaShape& shape, const HyenaWeights& weights, const void* z, const void* dy,
                      const void* projections = nullptr) {
  return {static_cast<const T*>(z),
          static_cast<const T*>(dy),
          static_cast<const T*>(projections),
          static_cast<const float*>(weights.featurizer),
          static_cast<int>(shape.length),
          static_cast<int>(shape.width),
          shape.featurizer_taps};
}

// A featurized projection of one channel of one sequence; not `piece`: one that nothing lies before.
template <class T, bool piece = true>
struct Projection {
  const T *column, *past;  // of tokens from 0 on, and before
  std::int64_t stride;
  int first, length, taps;
  float tap[kMaxFeaturizerTaps];

  // part: 0, 1, 2 for q, k, v.
  __device__ Projection(const Tensors<T>& t, int batch, int part, int channel)
      : column(t.z + (static_cast<std::int64_t>(batch) * t.length * 3 + part) * t.width + channel),
        past(t.projections == nullptr
                 ? nullptr
                 : t.projections +
                       (static_cast<std::int64_t>(batch + 1) * (t.featurizer_taps - 1) * 3 + part) * t.width +
                       channel),
        stride(std::int64_t{3} * t.width),
        first(t.projections == nullptr ? 0 : 1 - t.featurizer_taps),
        length(t.length),
        taps(t.featurizer_taps) {
    const float* weights = t.featurizer + (static_cast<std::int64_t>(part) * t.width + channel) * taps;
#pragma unroll
    for (int i = 0; i < kMaxFeaturizerTaps; ++i) tap[i] = i < taps ? weights[i] : 0.0f;
  }
  __device__ float raw(int token) const {
    if (!piece) return token >= 0 && token < length ? to_float(column[token * stride]) : 0.0f;
    return token >= first && token < length ? to_float((token < 0 ? past : column)[token * stride]) : 0.0f;
  }
  // Tokens begin … begin + Rows - 1; zero where the sequence has none near.
  template <int Rows>
  __device__ void run(int begin, float (&out)[Rows]) const {
    constexpr int reach = kMaxFeaturizerTaps - 1;
    float z[Rows + reach];
#pragma unroll
    for (int i = 0; i < Rows + reach; ++i) z[i] = i + taps > reach ? raw(begin - reach + i) : 0.0f;
#pragma unroll
    for (int r = 0; r < Rows; ++r) {
      out[r] = 0;
#pragma unroll
      for (int i = 0; i < kMaxFeaturizerTaps; ++i) out[r] += tap[i] * z[r + reach - i];
    }
  }
};

template <class T>
struct OutputGradient {
  const T* column;
  std::int64_t stride;
  int length;
  __device__ OutputGradient(const Tensors<T>& t, int batch, int channel)
      : column(t.dy + static_cast<std::int64_t>(batch) * t.length * t.width + channel),
        stride(t.width),
        length(t.length) {}
  __device__ float operator()(int token) const {
    return token >= 0 && token < length ? to_float(column[token * stride]) : 0.0f;
  }
};

// u = k' ⊙ v' and g = q' ⊙ dy at tokens first … first + Rows - 1. Beyond a sequence's end u is not zero: what
// its last tokens give the featurizers.
template <class T, int Rows>
__device__ void load_gate(const Projection<T>& k, const Projection<T>& v, int first, float (&u)[Rows]) {
  float value[Rows];
  k.run(first, u);
  v.run(first, value);
#pragma unroll
  for (int i = 0; i < Rows; ++i) u[i] *= value[i];
}
template <class T, int Rows>
__device__ void load_gradient(const Projection<T>& q, const OutputGradient<T>& dy, int first,
                              float (&g)[Rows]) {
  q.run(first, g);
#pragma unroll
  for (int i = 0; i < Rows; ++i) g[i] *= dy(first + i);
}

// Writes d, the gradients of the featurized projections, in place of dz, and keeps the first rows of each
// block of tokens for the block before (see featurizer_backward).
template <class T>
struct ProjectionGradient {
  T* dz;
  float* reach;
  int length, width, taps, rows, blocks;

  __device__ void write(int batch, int token, int part, int channel, float d) const {
    const float run[1] = {d};
    write_run(batch, token, part, channel, run);
  }
  // Tokens first … first + Rows - 1 of one block.
  template <int Rows>
  __device__ void write_run(int batch, int first, int part, int channel, const float (&d)[Rows]) const {
    const std::int64_t column = static_cast<std::int64_t>(part) * width + channel,
                       columns = std::int64_t{3} * width;
    const int first_row = first % rows;
    T* at = dz + (static_cast<std::int64_t>(batch) * length + first) * columns + column;
    float* kept =
        reach +
        ((static_cast<std::int64_t>(batch) * blocks + first / rows) * (taps - 1) + first_row) * columns +
        column;
#pragma unroll
    for (int r = 0; r < Rows; ++r) {
      if (first + r >= length) return;
      *at = from_float<T>(d[r]);
      if (first_row + r < taps - 1) *kept = d[r];
      at += columns;
      kept += columns;
    }
  }
};

template <class T>
ProjectionGradient<T> projection_gradient(const HyenaShape& shape, void* dz, float* reach, int rows) {
  return {static_cast<T*>(dz),
          reach,
          static_cast<int>(shape.length),
          static_cast<int>(shape.width),
          shape.featurizer_taps,
          rows,
          static_cast<int>(ceil_div(shape.length, rows))};
}

}  // namespace striped::cuda::general
