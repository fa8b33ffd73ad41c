// RMSNorm fused with the residual add, and its backward pass.
#include <algorithm>
#include <cmath>

#include "operators.h"
#include "vec.h"

namespace striped::cpu {
namespace {

// Rows a partial sum of the weight gradient covers: fixed, so that the result does not depend on the threads.
constexpr std::int64_t kPartialRows = 256;

}  // namespace

template <class T>
void rms_norm(Context& context, std::int64_t rows, std::int64_t width, T eps, const T* x, const T* branch,
              const T* w, T* sum, T* y, T* reciprocal_rms) {
  context.pool.split(rows, 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T* s = x + r * width;
      if (sum) {
        T* target = sum + r * width;
        const T* other = branch ? branch + r * width : nullptr;
        if (other) {
          for (std::int64_t c = 0; c < width; ++c) target[c] = s[c] + other[c];
        } else if (target != s) {
          std::copy_n(s, width, target);
        }
        s = target;
      }
      const T scale = T(1) / std::sqrt(dot(s, s, width) / T(width) + eps);
      reciprocal_rms[r] = scale;
      T* __restrict out = y + r * width;
      for (std::int64_t c = 0; c < width; ++c) out[c] = s[c] * scale * w[c];
    }
  });
}

// With r = 1/rms and p = Σ_c dy_c·w_c·s_c: ds = r·(w ⊙ dy) - s·r³·p/width and dw = Σ_rows dy ⊙ s·r.
template <class T>
void rms_norm_backward(Context& context, std::int64_t rows, std::int64_t width, const T* sum, const T* w,
                       const T* reciprocal_rms, const T* dy, T* dx, T* dw) {
  const std::int64_t parts = (rows + kPartialRows - 1) / kPartialRows;
  T* partial = context.scratch.reserve<T>(static_cast<std::size_t>(parts * width));
  context.pool.run(parts, [&](std::int64_t part, int) {
    T* __restrict mine = partial + part * width;
    std::fill_n(mine, width, T(0));
    for (std::int64_t row = part * kPartialRows; row < std::min(rows, (part + 1) * kPartialRows); ++row) {
      const T* __restrict s = sum + row * width;
      const T* __restrict g = dy + row * width;
      const T scale = reciprocal_rms[row];
      // One pass gathers both the projection and the weight gradient.
      T* __restrict out = dx + row * width;
      Vec<T> projection{};
      constexpr int n = kVecSize<T>;
      std::int64_t c = 0;
      for (; c + n <= width; c += n) {
        const Vec<T> product = load(g + c) * load(s + c);
        projection += product * load(w + c);
        store(mine + c, load(mine + c) + product * scale);
      }
      T p = horizontal_sum<T>(projection);
      for (; c < width; ++c) {
        const T product = g[c] * s[c];
        p += product * w[c];
        mine[c] += product * scale;
      }
      const T along = scale * scale * scale * p / T(width);
      for (c = 0; c < width; ++c) out[c] += scale * w[c] * g[c] - along * s[c];
    }
  });
  for (std::int64_t part = 0; part < parts; ++part) {
    for (std::int64_t c = 0; c < width; ++c) dw[c] += partial[part * width + c];
  }
}

template <class T>
void add(Context& context, std::int64_t count, T* x, const T* y) {
  context.pool.split(count, 1024, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) x[i] += y[i];
  });
}

#define STRIPED_INSTANTIATE(T)                                                                               \
  template void rms_norm(Context&, std::int64_t, std::int64_t, T, const T*, const T*, const T*, T*, T*, T*); \
  template void rms_norm_backward(Context&, std::int64_t, std::int64_t, const T*, const T*, const T*,        \
                                  const T*, T*, T*);                                                         \
  template void add(Context&, std::int64_t, T*, const T*);
STRIPED_INSTANTIATE(float)
STRIPED_INSTANTIATE(double)
#undef STRIPED_INSTANTIATE

}  // namespace striped::cpu
