// Every operator written down from its equation, in float64, with no thought for speed. S is double, or Var
// where gradients are wanted. Shapes are those of striped::Backend; arrays are dense and row-major.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "striped/backend.h"
#include "tape.h"

namespace reference {

template <class S>
using Array = std::vector<S>;

// y[r, o] = Σ_i x[r, i]·w[o, i] + bias[o]; an empty bias is none.
template <class S>
Array<S> dense(std::int64_t rows, std::int64_t in, std::int64_t out, const Array<S>& x, const Array<S>& w,
               const Array<S>& bias) {
  Array<S> y(rows * out);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t o = 0; o < out; ++o) {
      S sum = bias.empty() ? S(0) : bias[o];
      for (std::int64_t i = 0; i < in; ++i) sum = multiply_add(sum, x[r * in + i], w[o * in + i]);
      y[r * out + o] = sum;
    }
  }
  return y;
}

// y = s / sqrt(mean(s²) + eps) · w.
template <class S>
Array<S> rms_norm(std::int64_t rows, std::int64_t width, double eps, const Array<S>& s, const Array<S>& w) {
  using std::sqrt;
  Array<S> y(rows * width);
  for (std::int64_t r = 0; r < rows; ++r) {
    S squares(0);
    for (std::int64_t c = 0; c < width; ++c)
      squares = multiply_add(squares, s[r * width + c], s[r * width + c]);
    const S root = sqrt(squares / S(static_cast<double>(width)) + S(eps));
    for (std::int64_t c = 0; c < width; ++c) y[r * width + c] = s[r * width + c] / root * w[c];
  }
  return y;
}

template <class S>
struct HyenaInputs {
  Array<S> z, featurizer, filter, skip, residues, log_poles;
  Array<double> decay;
};

// h[groups, length], as long as the sequence.
template <class S>
Array<S> hyena_filter(const striped::HyenaShape& s, const HyenaInputs<S>& in) {
  using std::exp;
  Array<S> h(s.groups * s.length, S(0));
  for (std::int64_t g = 0; g < s.groups; ++g) {
    for (std::int64_t t = 0; t < s.length; ++t) {
      S& value = h[g * s.length + t];
      if (s.kind == striped::HyenaKind::long_implicit) {
        for (int n = 0; n < s.order; ++n) {
          const S power = exp(in.log_poles[g * s.order + n] * S(static_cast<double>(t)));
          value = multiply_add(value, in.residues[g * s.order + n], power);
        }
      } else if (t < s.taps) {
        value = in.filter[g * s.taps + t];
        if (!in.decay.empty()) value = value * S(in.decay[g * s.taps + t]);
      }
    }
  }
  return h;
}

// Paper eq. 1 without its dense projections; see striped::Backend::hyena.
template <class S>
Array<S> hyena(const striped::HyenaShape& s, const HyenaInputs<S>& in) {
  const Array<S> h = hyena_filter(s, in);
  const std::int64_t reach =
      s.kind == striped::HyenaKind::long_implicit ? s.length : std::min<std::int64_t>(s.taps, s.length);
  const std::int64_t L = s.length, D = s.width;
  Array<S> y(s.batch * L * D);
  for (std::int64_t b = 0; b < s.batch; ++b) {
    for (std::int64_t c = 0; c < D; ++c) {
      const auto feature = [&](std::int64_t stream) {
        Array<S> f(L, S(0));
        for (std::int64_t t = 0; t < L; ++t) {
          for (std::int64_t j = 0; j < s.featurizer_taps && j <= t; ++j) {
            const S tap = in.featurizer[(stream * D + c) * s.featurizer_taps + j];
            f[t] = multiply_add(f[t], tap, in.z[((b * L + t - j) * 3 + stream) * D + c]);
          }
        }
        return f;
      };
      const Array<S> q = feature(0), k = feature(1), v = feature(2);
      Array<S> u(L);
      for (std::int64_t t = 0; t < L; ++t) u[t] = k[t] * v[t];
      const std::int64_t group = c / (D / s.groups);
      for (std::int64_t t = 0; t < L; ++t) {
        S sum = s.has_skip ? in.skip[c] * u[t] : S(0);
        for (std::int64_t j = 0; j < reach && j <= t; ++j)
          sum = multiply_add(sum, h[group * L + j], u[t - j]);
        y[(b * L + t) * D + c] = q[t] * sum;
      }
    }
  }
  return y;
}

// softmax(R(i)q_i · R(j)k_j / sqrt(dim)) v_j over the j that i sees.
template <class S>
Array<S> attention(const striped::AttentionShape& s, const Array<S>& qkv) {
  using std::exp;
  const std::int64_t L = s.length, dim = s.head_dim, half = dim / 2;
  const std::int64_t row = (s.heads + 2 * s.kv_heads) * dim;
  Array<S> y(s.batch * L * s.heads * dim, S(0));
  const auto rotated = [&](std::int64_t b, std::int64_t t, std::int64_t column) {
    const S* x = &qkv[(b * L + t) * row + column * dim];
    Array<S> out(x, x + dim);
    if (s.rope_base == 0) return out;
    for (std::int64_t i = 0; i < half; ++i) {
      const double angle = t / s.rope_scale * std::pow(s.rope_base, -2.0 * i / dim);
      out[i] = x[i] * S(std::cos(angle)) - x[i + half] * S(std::sin(angle));
      out[i + half] = x[i] * S(std::sin(angle)) + x[i + half] * S(std::cos(angle));
    }
    return out;
  };
  for (std::int64_t b = 0; b < s.batch; ++b) {
    for (std::int64_t head = 0; head < s.heads; ++head) {
      const std::int64_t kv = head / (s.heads / s.kv_heads);
      std::vector<Array<S>> keys;
      for (std::int64_t t = 0; t < L; ++t) keys.push_back(rotated(b, t, s.heads + kv));
      for (std::int64_t t = 0; t < L; ++t) {
        const Array<S> q = rotated(b, t, head);
        const std::int64_t first = s.window > 0 ? std::max<std::int64_t>(0, t - s.window + 1) : 0;
        Array<S> weights;
        S total(0);
        for (std::int64_t j = first; j <= t; ++j) {
          S score(0);
          for (std::int64_t d = 0; d < dim; ++d) score = multiply_add(score, q[d], keys[j][d]);
          weights.push_back(exp(score / S(std::sqrt(static_cast<double>(dim)))));
          total = total + weights.back();
        }
        S* out = &y[(b * L + t) * s.heads * dim + head * dim];
        for (std::int64_t j = first; j <= t; ++j) {
          const S weight = weights[j - first] / total;
          const S* v = &qkv[(b * L + j) * row + (s.heads + s.kv_heads + kv) * dim];
          for (std::int64_t d = 0; d < dim; ++d) out[d] = multiply_add(out[d], weight, v[d]);
        }
      }
    }
  }
  return y;
}

template <class S>
S activate(striped::Activation activation, S g) {
  using std::erf;
  using std::exp;
  switch (activation) {
    case striped::Activation::silu:
      return g / (S(1) + exp(S(0) - g));
    case striped::Activation::gelu:
      return g * S(0.5) * (S(1) + erf(g / S(std::sqrt(2.0))));
    case striped::Activation::identity:
      return g;
  }
  return g;
}

template <class S>
Array<S> gated(std::int64_t rows, std::int64_t inner, striped::Activation activation, const Array<S>& gu) {
  Array<S> y(rows * inner);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < inner; ++c) {
      y[r * inner + c] = activate(activation, gu[r * 2 * inner + c]) * gu[r * 2 * inner + inner + c];
    }
  }
  return y;
}

// Σ_r weight_r · -log softmax(logits_r)[target_r].
template <class S>
S cross_entropy(std::int64_t rows, std::int64_t vocab, const Array<S>& logits,
                const Array<std::int32_t>& targets, const Array<float>& weights) {
  using std::exp;
  using std::log;
  S loss(0);
  for (std::int64_t r = 0; r < rows; ++r) {
    S total(0);
    for (std::int64_t v = 0; v < vocab; ++v) total = total + exp(logits[r * vocab + v]);
    loss = loss + S(static_cast<double>(weights[r])) * (log(total) - logits[r * vocab + targets[r]]);
  }
  return loss;
}

}  // namespace reference
