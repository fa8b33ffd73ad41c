// Exponentials without branches, for scalars and for vectors (Vec) alike: range reduction by powers of two
// and a polynomial.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "vec.h"

namespace striped::cpu {
namespace math_detail {

// F is float or Vec<float>, U the unsigned integers of its shape. Relative error under 2e-7.
template <class U, class F>
inline F exp_single(F x) {
  const F low = F{} - 87.0f, high = F{} + 88.0f;
  x = x < low ? low : x;
  x = x > high ? high : x;
  // Adding 1.5·2^23 rounds x / ln 2 to an integer, left in the low mantissa bits.
  const F shifted = x * 1.44269504f + 12582912.0f;
  const F n = shifted - 12582912.0f;
  const F r = (x - n * 0.693145752f) - n * 1.42860677e-6f;
  F p = r * (1.0f / 5040) + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  return std::bit_cast<F>(std::bit_cast<U>(p) + (std::bit_cast<U>(shifted) << 23));
}

// The same for double; relative error under 1e-15.
template <class U, class F>
inline F exp_double(F x) {
  const F low = F{} - 708.0, high = F{} + 709.0;
  x = x < low ? low : x;
  x = x > high ? high : x;
  const F shifted = x * 1.4426950408889634 + 6755399441055744.0;
  const F n = shifted - 6755399441055744.0;
  const F r = (x - n * 0.6931471803691238) - n * 1.9082149292705877e-10;
  F p = r * (1.0 / 6227020800.0) + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  return std::bit_cast<F>(std::bit_cast<U>(p) + (std::bit_cast<U>(shifted) << 52));
}

}  // namespace math_detail

// Results that would be below the smallest normal number stay near it.
inline float fast_exp(float x) { return math_detail::exp_single<std::uint32_t>(x); }
inline double fast_exp(double x) { return math_detail::exp_double<std::uint64_t>(x); }
inline Vec<float> fast_exp(Vec<float> x) { return math_detail::exp_single<Vec<std::uint32_t>>(x); }
inline Vec<double> fast_exp(Vec<double> x) { return math_detail::exp_double<Vec<std::uint64_t>>(x); }

// F is a scalar or a vector.
template <class F>
inline F sigmoid(F x) {
  return 1.0f / (1.0f + fast_exp(-x));
}

// erfc(t) = exp(-t·p(t)) with p fitted by least squares on [0, 4.3]; relative error of erfc under 1e-7 there.
// Beyond, where the result is below 1e-9, only its fall towards zero is kept.
template <class F>
inline F normal_cdf_single(F x) {
  const F t = (x < F{} ? -x : x) * 0.707106781f;
  F p = t * -6.11152055e-08f + 1.69168472e-06f;
  p = p * t - 2.07118905e-05f;
  p = p * t + 0.000146228852f;
  p = p * t - 0.000637117835f;
  p = p * t + 0.00154630427f;
  p = p * t + 0.000103326734f;
  p = p * t - 0.0194117367f;
  p = p * t + 0.102906448f;
  p = p * t + 0.636589593f;
  p = p * t + 1.12838149f;
  const F far = t + 2.0f / 4.3f;
  const F tail = 0.5f * fast_exp(-t * (t > F{} + 4.3f ? far : p));
  return x < F{} ? tail : 1.0f - tail;
}

// Probability of a standard normal below x.
inline float normal_cdf(float x) { return normal_cdf_single(x); }
inline Vec<float> normal_cdf(Vec<float> x) { return normal_cdf_single(x); }
inline double normal_cdf(double x) { return 0.5 * std::erfc(-x * 0.70710678118654752440); }
inline Vec<double> normal_cdf(Vec<double> x) {
  for (int i = 0; i < kVecSize<double>; ++i) x[i] = normal_cdf(x[i]);
  return x;
}

// Values of exp(x_i - shift) in place; returns their sum.
template <class T>
inline T exponentials(T* x, std::int64_t count, T shift) {
  constexpr int n = kVecSize<T>;
  Vec<T> total{};
  std::int64_t i = 0;
  for (; i + n <= count; i += n) {
    const Vec<T> e = fast_exp(load(x + i) - shift);
    store(x + i, e);
    total += e;
  }
  T sum = horizontal_sum<T>(total);
  for (; i < count; ++i) {
    x[i] = fast_exp(x[i] - shift);
    sum += x[i];
  }
  return sum;
}

}  // namespace striped::cpu
