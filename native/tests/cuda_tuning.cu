// The choice among algorithms for a matrix product: faster ones are taken, unless they add in another order.
// Exit code 1 when anything fails, 77 without a GPU.
#include <cuda_fp8.h>

#include <cstdio>
#include <string>

#include "gemm_tuning.h"
#include "striped/backend.h"
#include "striped/error.h"
#include "vector.cuh"

namespace {

using striped::cuda::bf16;
using striped::cuda::Product;
using striped::cuda::ProductPointers;

constexpr int kSkipped = 77;  // what ctest and the test suite take for "skipped"

enum class Order : std::uint8_t { ascending, descending, halves, chunks, result_first };

__device__ float value_of(float value) { return value; }
__device__ float value_of(bf16 value) { return __bfloat162float(value); }
__device__ float value_of(__nv_fp8_e4m3 value) { return static_cast<float>(value); }

// A thread an element of D.
template <class T, class D>
__global__ void multiply(Product p, ProductPointers pointers, Order order) {
  const std::int64_t i = threadIdx.x, j = blockIdx.x;
  const auto term = [&](std::int64_t l) {
    const std::int64_t a = p.transpose_a ? l + i * p.k : i + l * p.m;
    const std::int64_t b = p.transpose_b ? j + l * p.n : l + j * p.k;
    return value_of(static_cast<const T*>(pointers.a)[a]) * value_of(static_cast<const T*>(pointers.b)[b]);
  };
  const auto sum = [&](std::int64_t from, std::int64_t to, float start) {
    for (std::int64_t l = from; l < to; ++l) start += term(l);
    return start;
  };
  D& result = static_cast<D*>(pointers.d)[i + j * p.m];
  const float before = p.accumulate ? value_of(result) : 0;
  float found = 0;
  if (order == Order::ascending) {
    found = sum(0, p.k, 0);
  } else if (order == Order::descending) {
    for (std::int64_t l = p.k - 1; l >= 0; --l) found += term(l);
  } else if (order == Order::halves) {
    found = sum(0, p.k / 2, 0) + sum(p.k / 2, p.k, 0);
  } else if (order == Order::chunks) {
    for (std::int64_t l = 0; l < p.k; l += 16) found += sum(l, l + 16 < p.k ? l + 16 : p.k, 0);
  } else {
    found = sum(0, p.k, before);
  }
  if (p.bias) found += value_of(static_cast<const D*>(pointers.bias)[i]);
  if (order != Order::result_first) found += before;
  result = static_cast<D>(found);
}

__global__ void wait() { __nanosleep(500000); }

struct Counts {
  int passed = 0, failed = 0;
};

// The first candidate is slow, the second fast.
template <class T, class D>
void check(striped::cuda::Context& context, const Product& p, Order second, bool taken, Counts& counts) {
  const auto run = [&](std::size_t candidate, const ProductPointers& pointers) {
    const auto rows = static_cast<unsigned>(p.m), columns = static_cast<unsigned>(p.n);
    if (candidate == 0) wait<<<1, 1, 0, context.stream>>>();
    multiply<T, D>
        <<<columns, rows, 0, context.stream>>>(p, pointers, candidate == 0 ? Order::ascending : second);
  };
  const auto best = striped::cuda::fastest_candidate(context, p, striped::cuda::Tuning::brief, 2, run);
  if (best && *best == (taken ? 1U : 0U)) {
    ++counts.passed;
    return;
  }
  ++counts.failed;
  std::printf("FAILED m %d n %d k %d transposed %d %d accumulate %d bias %d order %d\n",
              static_cast<int>(p.m), static_cast<int>(p.n), static_cast<int>(p.k), p.transpose_a,
              p.transpose_b, p.accumulate, p.bias, static_cast<int>(second));
}

template <class T, class D>
void check_orders(striped::cuda::Context& context, Product p, Counts& counts) {
  for (const bool transpose_a : {false, true}) {
    for (const bool transpose_b : {false, true}) {
      p.transpose_a = transpose_a, p.transpose_b = transpose_b;
      check<T, D>(context, p, Order::ascending, true, counts);
      for (const Order other : {Order::descending, Order::halves, Order::chunks})
        check<T, D>(context, p, other, false, counts);
      if (p.accumulate) check<T, D>(context, p, Order::result_first, false, counts);
    }
  }
}

}  // namespace

int main() {
  Counts counts;
  try {
    const auto gpu = striped::make_cuda_backend("bf16", 0);  // or says why there is none
    striped::cuda::Context context;
    for (const std::int64_t k : {33, 64, 500}) {
      Product p{12, 5, k, false, false, false, false, false, CUDA_R_16BF, CUDA_R_16BF, CUDA_R_16BF};
      check_orders<bf16, bf16>(context, p, counts);
      p.bias = true;
      check_orders<bf16, bf16>(context, p, counts);
      p.bias = false, p.accumulate = true;
      check_orders<bf16, bf16>(context, p, counts);
      p.d = CUDA_R_32F;
      check_orders<bf16, float>(context, p, counts);
      p.a = p.b = CUDA_R_32F;
      check_orders<float, float>(context, p, counts);
      p.a = p.b = CUDA_R_8F_E4M3, p.d = CUDA_R_16BF, p.accumulate = false;
      check_orders<__nv_fp8_e4m3, bf16>(context, p, counts);
    }
  } catch (const striped::Error& error) {
    if (error.code() == "no-cuda") {
      std::printf("SKIPPED: %s\n", error.what());
      return kSkipped;
    }
    ++counts.failed;
    std::printf("FAILED: %s [%s]\n", error.what(), error.code().c_str());
  }
  std::printf("%d passed, %d failed\n", counts.passed, counts.failed);
  return counts.failed == 0 ? 0 : 1;
}
