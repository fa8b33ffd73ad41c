// One-threaded matrix product; operators split work over threads above it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace striped::cpu {

enum class Transpose : bool { no, yes };

// C[m, n] = alpha · op(A)[m, k] · op(B)[k, n] + beta · C, row-major with the given leading dimensions. C is
// not read when beta is 0. Safe to call from several threads at once.
template <class T>
void gemm(Transpose a_transpose, Transpose b_transpose, std::int64_t m, std::int64_t n, std::int64_t k,
          T alpha, const T* a, std::int64_t lda, const T* b, std::int64_t ldb, T beta, T* c,
          std::int64_t ldc);

// Keeps a threaded BLAS from starting threads of its own under ours. Call once.
void configure_gemm();

// Bytes of address space that every thread's first product takes. OpenBLAS asks for them again and again, for
// ever, where there are none.
std::size_t gemm_memory();

}  // namespace striped::cpu
