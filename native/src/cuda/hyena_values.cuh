// What a lane of a Hyena kernel holds of its channels, in fp32, and the featurizer over it, token by token.
#pragma once

#include "hyena_elements.cuh"
#include "ptx.cuh"

namespace striped::cuda::general {

constexpr int kFewTaps = 3;  // of the featurizers that stay in registers

// Channels of a lane, 4 bytes of them.
template <class T>
constexpr int kOwn = 4 / static_cast<int>(sizeof(T));

template <int N>
struct Values {
  float of[N];
  __device__ friend Values operator*(const Values& a, const Values& b) {
    Values out;
#pragma unroll
    for (int n = 0; n < N; ++n) out.of[n] = a.of[n] * b.of[n];
    return out;
  }
  __device__ void add_product(const Values& a, const Values& b) {
#pragma unroll
    for (int n = 0; n < N; ++n) of[n] += a.of[n] * b.of[n];
  }
};
template <class T>
using Own = Values<kOwn<T>>;

template <class T>
__device__ Own<T> unpacked(std::uint32_t raw) {
  Own<T> out;
  unpack<kOwn<T>>(__builtin_bit_cast(Pack<T, kOwn<T>>, raw), out.of);
  return out;
}
template <class T>
__device__ std::uint32_t packed(const Own<T>& values) {
  if constexpr (sizeof(T) == 2) return ptx::pack_bf16(values.of[0], values.of[1]);
  return __float_as_uint(values.of[0]);
}

// A projection's tokens, in order, become features.
template <int N>
struct Featurizer {
  Values<N> taps[kFewTaps], past[kFewTaps - 1] = {};  // the latest first

  __device__ Values<N> features(const Values<N>& z) const {
    Values<N> out = taps[0] * z;
#pragma unroll
    for (int i = 1; i < kFewTaps; ++i) out.add_product(taps[i], past[i - 1]);
    return out;
  }
  __device__ void pass(const Values<N>& z) {
    past[1] = past[0];
    past[0] = z;
  }
};

// d of a projection's features, in order, becomes dz two tokens back, and the gradient of the taps.
template <int N>
struct FeaturizerGradient {
  Values<N> sums[kFewTaps] = {}, past[kFewTaps - 1] = {};

  __device__ Values<N> pass(const Featurizer<N>& of, const Values<N>& d, const Values<N>& z,
                            const Values<N> (&z_past)[kFewTaps - 1], bool counts) {
    if (counts) {
      sums[0].add_product(d, z);
      sums[1].add_product(d, z_past[0]);
      sums[2].add_product(d, z_past[1]);
    }
    Values<N> out = of.taps[0] * past[1];
    out.add_product(of.taps[1], past[0]);
    out.add_product(of.taps[2], d);
    past[1] = past[0];
    past[0] = d;
    return out;
  }
};

}  // namespace striped::cuda::general
