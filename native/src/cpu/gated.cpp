// Gated activations: act(g) ⊙ u.
#include "math.h"
#include "operators.h"

namespace striped::cpu {
namespace {

// V is a scalar or a vector.
struct Silu {
  template <class V>
  static V value(V g) {
    return g * sigmoid(g);
  }
  template <class V>
  static V slope(V g) {
    const V s = sigmoid(g);
    return s * (1.0f + g * (1.0f - s));
  }
};

struct Gelu {
  template <class V>
  static V value(V g) {
    return g * normal_cdf(g);
  }
  template <class V>
  static V slope(V g) {
    const V density = fast_exp(-0.5f * g * g) * constant<V>(0.39894228040143267794);
    return normal_cdf(g) + g * density;
  }
};

struct Identity {
  template <class V>
  static V value(V g) {
    return g;
  }
  template <class V>
  static V slope(V) {
    return V{} + 1.0f;
  }
};

template <class Act, class T>
void forward(Context& context, std::int64_t rows, std::int64_t inner, const T* gu, T* y) {
  constexpr int n = kVecSize<T>;
  context.pool.split(rows, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T* g = gu + r * 2 * inner;
      const T* u = g + inner;
      T* out = y + r * inner;
      std::int64_t c = 0;
      for (; c + n <= inner; c += n) store(out + c, Act::value(load(g + c)) * load(u + c));
      for (; c < inner; ++c) out[c] = Act::value(g[c]) * u[c];
    }
  });
}

// dgu may be gu: each value is read before it is written.
template <class Act, class T>
void backward(Context& context, std::int64_t rows, std::int64_t inner, const T* gu, const T* dy, T* dgu) {
  constexpr int n = kVecSize<T>;
  context.pool.split(rows, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T* g = gu + r * 2 * inner;
      T* dg = dgu + r * 2 * inner;
      const T* d = dy + r * inner;
      std::int64_t c = 0;
      for (; c + n <= inner; c += n) {
        const Vec<T> gate = load(g + c), up = load(g + c + inner), delta = load(d + c);
        store(dg + c, delta * up * Act::slope(gate));
        store(dg + c + inner, delta * Act::value(gate));
      }
      for (; c < inner; ++c) {
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
      return forward<Silu>(context, rows, inner, gu, y);
    case Activation::gelu:
      return forward<Gelu>(context, rows, inner, gu, y);
    case Activation::identity:
      return forward<Identity>(context, rows, inner, gu, y);
  }
}

template <class T>
void gated_backward(Context& context, std::int64_t rows, std::int64_t inner, Activation activation,
                    const T* gu, const T* dy, T* dgu) {
  switch (activation) {
    case Activation::silu:
      return backward<Silu>(context, rows, inner, gu, dy, dgu);
    case Activation::gelu:
      return backward<Gelu>(context, rows, inner, gu, dy, dgu);
    case Activation::identity:
      return backward<Identity>(context, rows, inner, gu, dy, dgu);
  }
}

#define STRIPED_INSTANTIATE(T)                                                         \
  template void gated(Context&, std::int64_t, std::int64_t, Activation, const T*, T*); \
  template void gated_backward(Context&, std::int64_t, std::int64_t, Activation, const T*, const T*, T*);
STRIPED_INSTANTIATE(float)
STRIPED_INSTANTIATE(double)
#undef STRIPED_INSTANTIATE

}  // namespace striped::cpu
