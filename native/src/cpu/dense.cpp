// Dense layers: matrix products split over threads along whichever side leaves the largest pieces.
#include <algorithm>

#include "gemm.h"
#include "operators.h"

namespace striped::cpu {
namespace {

constexpr std::int64_t kGrain = 16;
// Every range packs the operand it shares with the others, so it should have rows enough to make up for that.
constexpr std::int64_t kRangeRows = 256;

// C[m, n] = op(A)·op(B) (+ C), split over rows or columns of C.
template <class T>
void parallel_gemm(ThreadPool& pool, Transpose ta, Transpose tb, std::int64_t m, std::int64_t n,
                   std::int64_t k, const T* a, std::int64_t lda, const T* b, std::int64_t ldb, T beta, T* c,
                   std::int64_t ldc) {
  const std::int64_t ranges = std::clamp<std::int64_t>(std::max(m, n) / (kRangeRows * pool.threads()), 1, 4);
  if (m >= n) {
    pool.split(
        m, kGrain,
        [&](std::int64_t begin, std::int64_t end) {
          const T* part = a + begin * (ta == Transpose::yes ? 1 : lda);
          gemm<T>(ta, tb, end - begin, n, k, T(1), part, lda, b, ldb, beta, c + begin * ldc, ldc);
        },
        ranges);
  } else {
    pool.split(
        n, kGrain,
        [&](std::int64_t begin, std::int64_t end) {
          const T* part = b + begin * (tb == Transpose::yes ? ldb : 1);
          gemm<T>(ta, tb, m, end - begin, k, T(1), a, lda, part, ldb, beta, c + begin, ldc);
        },
        ranges);
  }
}

}  // namespace

template <class T>
void dense(Context& context, const DenseShape& s, const T* x, const T* w, const T* bias, T* y) {
  T beta = 0;
  if (bias) {
    beta = 1;
    context.pool.split(s.rows, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        for (std::int64_t o = 0; o < s.out; ++o) y[r * s.out + o] = bias[o];
      }
    });
  }
  parallel_gemm<T>(context.pool, Transpose::no, Transpose::yes, s.rows, s.out, s.in, x, s.in, w, s.in, beta,
                   y, s.out);
}

template <class T>
void dense_input_gradient(Context& context, const DenseShape& s, const T* dy, const T* w, T* dx,
                          bool accumulate) {
  parallel_gemm<T>(context.pool, Transpose::no, Transpose::no, s.rows, s.in, s.out, dy, s.out, w, s.in,
                   T(accumulate), dx, s.in);
}

template <class T>
void dense_weight_gradient(Context& context, const DenseShape& s, const T* dy, const T* x, T* dw, T* dbias,
                           bool accumulate) {
  parallel_gemm<T>(context.pool, Transpose::yes, Transpose::no, s.out, s.in, s.rows, dy, s.out, x, s.in,
                   T(accumulate), dw, s.in);
  if (!dbias) return;
  context.pool.split(s.out, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = 0; r < s.rows; ++r) {
      for (std::int64_t o = begin; o < end; ++o) dbias[o] += dy[r * s.out + o];
    }
  });
}

#define STRIPED_INSTANTIATE(T)                                                                   \
  template void dense(Context&, const DenseShape&, const T*, const T*, const T*, T*);            \
  template void dense_input_gradient(Context&, const DenseShape&, const T*, const T*, T*, bool); \
  template void dense_weight_gradient(Context&, const DenseShape&, const T*, const T*, T*, T*, bool);
STRIPED_INSTANTIATE(float)
STRIPED_INSTANTIATE(double)
#undef STRIPED_INSTANTIATE

}  // namespace striped::cpu
