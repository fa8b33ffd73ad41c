#include "gemm.h"

#if defined(STRIPED_HAS_CBLAS)
#include <cblas.h>
// Present when the BLAS is OpenBLAS.
extern "C" void openblas_set_num_threads(int) __attribute__((weak));
#else
#include "packed_gemm.h"
#endif

namespace striped::cpu {

#if defined(STRIPED_HAS_CBLAS)
namespace {
// Of OpenBLAS on x86-64, with the arena that malloc opens for its thread.
constexpr std::size_t kBufferBytes = std::size_t{128 + 64} << 20;

CBLAS_TRANSPOSE cblas(Transpose t) { return t == Transpose::yes ? CblasTrans : CblasNoTrans; }
}  // namespace

void configure_gemm() {
  if (openblas_set_num_threads) openblas_set_num_threads(1);
}

std::size_t gemm_memory() { return openblas_set_num_threads ? kBufferBytes : 0; }

template <>
void gemm(Transpose ta, Transpose tb, std::int64_t m, std::int64_t n, std::int64_t k, float alpha,
          const float* a, std::int64_t lda, const float* b, std::int64_t ldb, float beta, float* c,
          std::int64_t ldc) {
  cblas_sgemm(CblasRowMajor, cblas(ta), cblas(tb), static_cast<int>(m), static_cast<int>(n),
              static_cast<int>(k), alpha, a, static_cast<int>(lda), b, static_cast<int>(ldb), beta, c,
              static_cast<int>(ldc));
}

template <>
void gemm(Transpose ta, Transpose tb, std::int64_t m, std::int64_t n, std::int64_t k, double alpha,
          const double* a, std::int64_t lda, const double* b, std::int64_t ldb, double beta, double* c,
          std::int64_t ldc) {
  cblas_dgemm(CblasRowMajor, cblas(ta), cblas(tb), static_cast<int>(m), static_cast<int>(n),
              static_cast<int>(k), alpha, a, static_cast<int>(lda), b, static_cast<int>(ldb), beta, c,
              static_cast<int>(ldc));
}

#else

void configure_gemm() {}

std::size_t gemm_memory() { return 0; }

template <class T>
void gemm(Transpose ta, Transpose tb, std::int64_t m, std::int64_t n, std::int64_t k, T alpha, const T* a,
          std::int64_t lda, const T* b, std::int64_t ldb, T beta, T* c, std::int64_t ldc) {
  packed_gemm(ta == Transpose::yes, tb == Transpose::yes, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

template void gemm(Transpose, Transpose, std::int64_t, std::int64_t, std::int64_t, float, const float*,
                   std::int64_t, const float*, std::int64_t, float, float*, std::int64_t);
template void gemm(Transpose, Transpose, std::int64_t, std::int64_t, std::int64_t, double, const double*,
                   std::int64_t, const double*, std::int64_t, double, double*, std::int64_t);
#endif

}  // namespace striped::cpu
