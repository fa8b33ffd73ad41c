#include "rope.h"

#include <algorithm>
#include <cmath>

namespace striped::cpu {
namespace {

// Rotates the pair (i, i + half) by the angle, or back for sign -1.
template <class T>
void rotate_row(const double* __restrict cosine, const double* __restrict sine, T sign, int half,
                const T* __restrict in, T* __restrict out) {
  for (int i = 0; i < half; ++i) {
    const T c = static_cast<T>(cosine[i]), s = sign * static_cast<T>(sine[i]);
    const T x = in[i], y = in[i + half];
    out[i] = x * c - y * s;
    out[i + half] = y * c + x * s;
  }
}

}  // namespace

const RopeTable* rope_table(Context& context, const AttentionShape& s, std::int64_t length) {
  if (s.rope_base == 0) return nullptr;
  RopeTable& table = context.rope;
  if (table.length >= length && table.head_dim == s.head_dim && table.base == s.rope_base &&
      table.scale == s.rope_scale) {
    return &table;
  }
  const std::int64_t half = s.head_dim / 2;
  table.cosine.resize(static_cast<std::size_t>(length * half));
  table.sine.resize(table.cosine.size());
  for (std::int64_t i = 0; i < half; ++i) {
    const double frequency = std::pow(s.rope_base, -2.0 * static_cast<double>(i) / s.head_dim);
    for (std::int64_t t = 0; t < length; ++t) {
      const double angle = static_cast<double>(t) / s.rope_scale * frequency;
      table.cosine[t * half + i] = std::cos(angle);
      table.sine[t * half + i] = std::sin(angle);
    }
  }
  table.length = length;
  table.head_dim = s.head_dim;
  table.base = s.rope_base;
  table.scale = s.rope_scale;
  return &table;
}

template <class T>
void rotate_head(const RopeTable* table, const HeadRows& s, const T* source, std::int64_t stride, T* target) {
  const int half = s.head_dim / 2;
  for (std::int64_t t = 0; t < s.rows; ++t) {
    const T* in = source + t * stride;
    T* out = target + t * s.head_dim;
    if (table) {
      rotate_row(&table->cosine[(s.position + t) * half], &table->sine[(s.position + t) * half], T(1), half,
                 in, out);
    } else {
      for (int i = 0; i < s.head_dim; ++i) out[i] = in[i];
    }
  }
}

template <class T>
void rotate_back(const RopeTable* table, const HeadRows& s, const T* source, int heads, T* target,
                 std::int64_t target_stride) {
  const int half = s.head_dim / 2;
  std::vector<T> sum(s.head_dim);
  for (std::int64_t t = 0; t < s.rows; ++t) {
    const T* in = source + t * s.head_dim;
    T* out = target + t * target_stride;
    std::copy_n(in, s.head_dim, sum.data());
    for (int h = 1; h < heads; ++h) {
      const T* other = in + h * s.rows * s.head_dim;
      for (int i = 0; i < s.head_dim; ++i) sum[i] += other[i];
    }
    if (table) {
      rotate_row(&table->cosine[(s.position + t) * half], &table->sine[(s.position + t) * half], T(-1), half,
                 sum.data(), out);
    } else {
      std::copy(sum.begin(), sum.end(), out);
    }
  }
}

#define STRIPED_INSTANTIATE(T)                                                              \
  template void rotate_head(const RopeTable*, const HeadRows&, const T*, std::int64_t, T*); \
  template void rotate_back(const RopeTable*, const HeadRows&, const T*, int, T*, std::int64_t);
STRIPED_INSTANTIATE(float)
STRIPED_INSTANTIATE(double)
#undef STRIPED_INSTANTIATE

}  // namespace striped::cpu
