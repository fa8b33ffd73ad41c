// Fixed-width vectors through the compilers' vector extension: the widest the target has, lowered by GCC and
// Clang to whatever instructions there are.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace striped::cpu {

#if defined(__AVX512F__)
inline constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
inline constexpr int kVectorBytes = 32;
#else
inline constexpr int kVectorBytes = 16;
#endif

template <class T>
struct VecOf {
  typedef T type __attribute__((vector_size(kVectorBytes)));
};
template <class T>
using Vec = typename VecOf<T>::type;

template <class T>
inline constexpr int kVecSize = kVectorBytes / static_cast<int>(sizeof(T));

// A constant as a scalar or as a vector of any type.
template <class V>
inline V constant(double value) {
  if constexpr (std::is_floating_point_v<V>) {
    return static_cast<V>(value);
  } else {
    return V{} + static_cast<std::remove_cvref_t<decltype(V{}[0])>>(value);
  }
}

template <class T>
inline Vec<T> load(const T* p) {
  Vec<T> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

template <class T>
inline void store(T* p, Vec<T> v) {
  std::memcpy(p, &v, sizeof v);
}

template <class T>
inline T horizontal_sum(Vec<T> v) {
  T sum = 0;
  for (int i = 0; i < kVecSize<T>; ++i) sum += v[i];
  return sum;
}

// Σ a_i·b_i with four independent accumulators.
template <class T>
inline T dot(const T* a, const T* b, std::int64_t count) {
  constexpr int n = kVecSize<T>;
  Vec<T> s0{}, s1{}, s2{}, s3{};
  std::int64_t i = 0;
  for (; i + 4 * n <= count; i += 4 * n) {
    s0 += load(a + i) * load(b + i);
    s1 += load(a + i + n) * load(b + i + n);
    s2 += load(a + i + 2 * n) * load(b + i + 2 * n);
    s3 += load(a + i + 3 * n) * load(b + i + 3 * n);
  }
  for (; i + n <= count; i += n) s0 += load(a + i) * load(b + i);
  T sum = horizontal_sum<T>((s0 + s1) + (s2 + s3));
  for (; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

template <class T>
inline T sum(const T* a, std::int64_t count) {
  constexpr int n = kVecSize<T>;
  Vec<T> s0{}, s1{};
  std::int64_t i = 0;
  for (; i + 2 * n <= count; i += 2 * n) {
    s0 += load(a + i);
    s1 += load(a + i + n);
  }
  T total = horizontal_sum<T>(s0 + s1);
  for (; i < count; ++i) total += a[i];
  return total;
}

template <class T>
inline T maximum(const T* a, std::int64_t count) {
  constexpr int n = kVecSize<T>;
  T best = a[0];
  std::int64_t i = 0;
  if (count >= n) {
    Vec<T> m = load(a);
    for (i = n; i + n <= count; i += n) {
      const Vec<T> v = load(a + i);
      m = v > m ? v : m;
    }
    for (int lane = 0; lane < n; ++lane) best = m[lane] > best ? m[lane] : best;
  }
  for (; i < count; ++i) best = a[i] > best ? a[i] : best;
  return best;
}

}  // namespace striped::cpu
