// Gated activations: act(g) ⊙ u.
#include <cmath>

#include "math.h"
#include "operators.h"

namespace striped::cpu {
namespace {

template <class T>
struct Silu {
  static T value(T g) { return g * sigmoid(g); }
  static T slope(T g) {
    const T s = sigmoid(g);
    return s * (T(1) + g * (T(1) - s));
  }
};

template <class T>
struct Gelu {
  static T cdf(T g) { return T(0.5) * (T(1) + std::erf(g * T(0.70710678118654752440))); }
  static T value(T g) { return g * cdf(g); }
  static T slope(T g) { return cdf(g) + g * T(0.39894228040143267794) * fast_exp(T(-0.5) * g * g); }
};

template <class T>
struct Identity {
  static T value(T g) { return g; }
  static T slope(T) { return T(1); }
};

template <class Act, class T>
void forward(Context& context, std::int64_t rows, std::int64_t inner, const T* gu, T* y) {
  context.pool.split(rows, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T* __restrict g = gu + r * 2 * inner;
      const T* __restrict u = g + inner;
      T* __restrict out = y + r * inner;
      for (std::int64_t c = 0; c < inner; ++c) out[c] = Act::value(g[c]) * u[c];
    }
  });
}

template <class Act, class T>
void backward(Context& context, std::int64_t rows, std::int64_t inner, const T* gu, const T* dy, T* dgu) {
  context.pool.split(rows, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T* g = gu + r * 2 * inner;
      T* dg = dgu + r * 2 * inner;
      const T* d = dy + r * inner;
      // dgu may be gu: each element is read before it is written, and iterations are independent.
#pragma GCC ivdep
      for (std::int64_t c = 0; c < inner; ++c) {
        const T gate = g[c], up = g[c + inner], delta = d[c];
        dg[c] = delta * up * Act::slope(gate);
        dg[c + inner] = delta * Act::value(gate);
      }
    }
  });
}

}  // namespace

template <class T>
void gated(Context& context, std::int64_t rows, std::int64_t inner, Activation activation, const T* gu,
           T* y) {
  switch (activation) {
    case Activation::silu:
      return forward<Silu<T>>(context, rows, inner, gu, y);
    case Activation::gelu:
      return forward<Gelu<T>>(context, rows, inner, gu, y);
    case Activation::identity:
      return forward<Identity<T>>(context, rows, inner, gu, y);
  }
}

template <class T>
void gated_backward(Context& context, std::int64_t rows, std::int64_t inner, Activation activation,
                    const T* gu, const T* dy, T* dgu) {
  switch (activation) {
    case Activation::silu:
      return backward<Silu<T>>(context, rows, inner, gu, dy, dgu);
    case Activation::gelu:
      return backward<Gelu<T>>(context, rows, inner, gu, dy, dgu);
    case Activation::identity:
      return backward<Identity<T>>(context, rows, inner, gu, dy, dgu);
  }
}

#define STRIPED_INSTANTIATE(T)                                                         \
  template void gated(Context&, std::int64_t, std::int64_t, Activation, const T*, T*); \
  template void gated_backward(Context&, std::int64_t, std::int64_t, Activation, const T*, const T*, T*);
STRIPED_INSTANTIATE(float)
STRIPED_INSTANTIATE(double)
#undef STRIPED_INSTANTIATE

}  // namespace striped::cpu
