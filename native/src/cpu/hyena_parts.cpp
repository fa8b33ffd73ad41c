// Parts of the Hyena operators by themselves, for sequences whose pieces lie with several ranks: gates
// without the convolution, and the states of LI that cross from piece to piece. Channels side by side, rows
// in order.
#include <cmath>
#include <vector>

#include "operators.h"

namespace striped::cpu {
namespace {

constexpr std::int64_t kColumns = 64;  // channels a task

// z with the rows before it, and the featurizer's taps as [taps, 3·width].
template <class T>
class Features {
 public:
  Features(Context& context, const HyenaShape& s, const HyenaWeights& w, const T* before, const T* z)
      : shape_(s), taps_(s.featurizer_taps), columns_(3 * s.width), before_(before), z_(z) {
    T* table = context.scratch.reserve<T>(static_cast<std::size_t>(taps_ * columns_));
    const auto* weights = static_cast<const T*>(w.featurizer);
    for (std::int64_t c = 0; c < columns_; ++c) {
      for (std::int64_t f = 0; f < taps_; ++f) table[f * columns_ + c] = weights[c * taps_ + f];
    }
    table_ = table;
  }

  const T* taps(std::int64_t f) const { return table_ + f * columns_; }
  // Row t >= 1 - taps of a sequence; null where there is none.
  const T* row(std::int64_t sequence, std::int64_t t) const {
    if (t >= 0) return z_ + (sequence * shape_.length + t) * columns_;
    return before_ == nullptr ? nullptr : before_ + ((sequence + 1) * (taps_ - 1) + t) * columns_;
  }
  // out[c] = columns first + c of the features of row t; part 0, 1, 2: q', k', v'.
  void get(std::int64_t sequence, std::int64_t t, std::int64_t part, std::int64_t first, std::int64_t count,
           T* __restrict out) const {
    std::fill_n(out, count, T(0));
    for (std::int64_t f = 0; f < taps_; ++f) {
      const T* from = row(sequence, t - f);
      if (from == nullptr) break;
      const T* __restrict in = from + part * shape_.width + first;
      const T* __restrict tap = taps(f) + part * shape_.width + first;
      for (std::int64_t c = 0; c < count; ++c) out[c] += tap[c] * in[c];
    }
  }

 private:
  HyenaShape shape_;
  std::int64_t taps_, columns_;
  const T *before_, *z_, *table_;
};

// visit(sequence, first column, columns) for blocks of the width.
template <class Visit>
void for_columns(Context& context, const HyenaShape& s, const Visit& visit) {
  const std::int64_t blocks = (s.width + kColumns - 1) / kColumns;
  context.pool.run(s.batch * blocks, [&](std::int64_t task, int) {
    const std::int64_t first = task % blocks * kColumns;
    visit(task / blocks, first, std::min(kColumns, s.width - first));
  });
}

// dz holds the gradients of the features of all rows and becomes that of z, one block of columns after
// another.
template <class T>
void through_featurizer(Context& context, const HyenaShape& s, const Features<T>& features, T* dz,
                        T* d_featurizer) {
  const std::int64_t taps = s.featurizer_taps, columns = 3 * s.width;
  const std::int64_t blocks = (columns + kColumns - 1) / kColumns;
  context.pool.run(blocks, [&](std::int64_t block, int) {
    const std::int64_t first = block * kColumns, count = std::min(kColumns, columns - first);
    std::vector<T> sums(static_cast<std::size_t>(taps * kColumns));
    for (std::int64_t b = 0; b < s.batch; ++b) {
      for (std::int64_t t = 0; t < s.length; ++t) {
        T* __restrict d = dz + (b * s.length + t) * columns + first;
        T out[kColumns] = {};
        for (std::int64_t f = 0; f < taps; ++f) {
          if (const T* z = features.row(b, t - f)) {
            for (std::int64_t c = 0; c < count; ++c) sums[f * kColumns + c] += d[c] * z[first + c];
          }
          if (t + f >= s.length) continue;
          const T* later = d + f * columns;
          for (std::int64_t c = 0; c < count; ++c) out[c] += features.taps(f)[first + c] * later[c];
        }
        std::copy_n(out, count, d);
      }
    }
    for (std::int64_t c = 0; c < count; ++c) {
      for (std::int64_t f = 0; f < taps; ++f) d_featurizer[(first + c) * taps + f] += sums[f * kColumns + c];
    }
  });
}

}  // namespace

template <class T>
void featurizer_reach(Context& context, const HyenaShape& s, const HyenaWeights& w, const T* after, T* dz) {
  const std::int64_t taps = s.featurizer_taps, columns = 3 * s.width;
  const auto* weights = static_cast<const T*>(w.featurizer);
  context.pool.split(columns, kColumns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = 0; b < s.batch; ++b) {
      for (std::int64_t row = 0; row < taps - 1; ++row) {
        const T* from = after + (b * (taps - 1) + row) * columns;
        for (std::int64_t f = row + 1; f < taps && f - row <= s.length; ++f) {
          T* target = dz + ((b + 1) * s.length + row - f) * columns;
          for (std::int64_t c = begin; c < end; ++c) target[c] += weights[c * taps + f] * from[c];
        }
      }
    }
  });
}

template <class T>
void hyena_gate(Context& context, const HyenaShape& s, const HyenaWeights& w, const T* before, const T* z,
                RowRange rows, T* out) {
  const Features<T> features(context, s, w, before, z);
  for_columns(context, s, [&](std::int64_t b, std::int64_t first, std::int64_t count) {
    T key[kColumns], value[kColumns];
    for (std::int64_t r = 0; r < rows.count; ++r) {
      features.get(b, rows.first + r, 1, first, count, key);
      features.get(b, rows.first + r, 2, first, count, value);
      T* target = out + (b * rows.count + r) * s.width + first;
      for (std::int64_t c = 0; c < count; ++c) target[c] = key[c] * value[c];
    }
  });
}

template <class T>
void hyena_query(Context& context, const HyenaShape& s, const HyenaWeights& w, const T* before, const T* z,
                 const T* x, RowRange rows, T* out) {
  const Features<T> features(context, s, w, before, z);
  for_columns(context, s, [&](std::int64_t b, std::int64_t first, std::int64_t count) {
    T query[kColumns];
    for (std::int64_t r = 0; r < rows.count; ++r) {
      features.get(b, rows.first + r, 0, first, count, query);
      const T* in = x + (b * s.length + rows.first + r) * s.width + first;
      T* target = out + (b * rows.count + r) * s.width + first;
      for (std::int64_t c = 0; c < count; ++c) target[c] = query[c] * in[c];
    }
  });
}

template <class T>
void hyena_gate_backward(Context& context, const HyenaShape& s, const HyenaWeights& w, const T* before,
                         const T* z, const T* c_in, const T* dy, const T* du, T* dz, T* reach,
                         T* d_featurizer) {
  const Features<T> features(context, s, w, before, z);
  const std::int64_t columns = 3 * s.width, edge = std::min<std::int64_t>(s.featurizer_taps - 1, s.length);
  for_columns(context, s, [&](std::int64_t b, std::int64_t first, std::int64_t count) {
    T key[kColumns], value[kColumns];
    for (std::int64_t t = 0; t < s.length; ++t) {
      features.get(b, t, 1, first, count, key);
      features.get(b, t, 2, first, count, value);
      const std::int64_t at = (b * s.length + t) * s.width + first;
      T* target = dz + (b * s.length + t) * columns + first;
      for (std::int64_t c = 0; c < count; ++c) {
        target[c] = dy[at + c] * c_in[at + c];
        target[s.width + c] = du[at + c] * value[c];
        target[2 * s.width + c] = du[at + c] * key[c];
      }
      if (t >= edge) continue;
      for (std::int64_t part = 0; part < 3; ++part)
        std::copy_n(target + part * s.width, count,
                    reach + (b * edge + t) * columns + part * s.width + first);
    }
  });
  through_featurizer(context, s, features, dz, d_featurizer);
}

// In double precision: a state is a sum over the whole piece.
template <class T>
void hyena_states(Context& context, const HyenaShape& s, const HyenaWeights& w, const T* before, const T* z,
                  const T* dy, T* states) {
  const Features<T> features(context, s, w, before, z);
  const auto* log_poles = static_cast<const T*>(w.log_poles);
  const std::int64_t group_size = s.width / s.groups;
  for_columns(context, s, [&](std::int64_t b, std::int64_t first, std::int64_t count) {
    std::vector<double> poles(static_cast<std::size_t>(s.order * kColumns)), state(poles.size());
    for (std::int64_t n = 0; n < s.order; ++n) {
      for (std::int64_t c = 0; c < count; ++c)
        poles[n * kColumns + c] = std::exp(double{log_poles[(first + c) / group_size * s.order + n]});
    }
    T x[kColumns] = {}, by[kColumns] = {};
    for (std::int64_t i = 0; i < s.length; ++i) {
      const std::int64_t t = dy != nullptr ? s.length - 1 - i : i;
      features.get(b, t, dy != nullptr ? 0 : 1, first, count, x);
      if (dy != nullptr) {
        std::copy_n(dy + (b * s.length + t) * s.width + first, count, by);
      } else {
        features.get(b, t, 2, first, count, by);
      }
      for (std::int64_t n = 0; n < s.order; ++n) {
        double* __restrict sum = state.data() + n * kColumns;
        const double* __restrict pole = poles.data() + n * kColumns;
        for (std::int64_t c = 0; c < kColumns; ++c) sum[c] = pole[c] * sum[c] + double{x[c]} * double{by[c]};
      }
    }
    for (std::int64_t n = 0; n < s.order; ++n) {
      for (std::int64_t c = 0; c < count; ++c)
        states[(b * s.order + n) * s.width + first + c] = static_cast<T>(state[n * kColumns + c]);
    }
  });
}

template <class T>
void hyena_carry(Context& context, const HyenaShape& s, const HyenaWeights& w, std::int64_t count,
                 const T* from, T* to) {
  const auto* log_poles = static_cast<const T*>(w.log_poles);
  const std::int64_t group_size = s.width / s.groups;
  context.pool.split(s.width, kColumns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = 0; n < s.order; ++n) {
      for (std::int64_t c = begin; c < end; ++c) {
        const double log_pole = log_poles[c / group_size * s.order + n];
        const double power = std::exp(log_pole * static_cast<double>(s.length));
        for (std::int64_t i = 0; i < count; ++i) {
          const std::int64_t at = (i * s.order + n) * s.width + c;
          to[at] = static_cast<T>(to[at] + power * from[at]);
        }
      }
    }
  });
}

#define STRIPED_INSTANTIATE(T)                                                                               \
  template void featurizer_reach(Context&, const HyenaShape&, const HyenaWeights&, const T*, T*);            \
  template void hyena_gate(Context&, const HyenaShape&, const HyenaWeights&, const T*, const T*, RowRange,   \
                           T*);                                                                              \
  template void hyena_query(Context&, const HyenaShape&, const HyenaWeights&, const T*, const T*, const T*,  \
                            RowRange, T*);                                                                   \
  template void hyena_gate_backward(Context&, const HyenaShape&, const HyenaWeights&, const T*, const T*,    \
                                    const T*, const T*, const T*, T*, T*, T*);                               \
  template void hyena_states(Context&, const HyenaShape&, const HyenaWeights&, const T*, const T*, const T*, \
                             T*);                                                                            \
  template void hyena_carry(Context&, const HyenaShape&, const HyenaWeights&, std::int64_t, const T*, T*);
STRIPED_INSTANTIATE(float)
STRIPED_INSTANTIATE(double)
#undef STRIPED_INSTANTIATE

}  // namespace striped::cpu
