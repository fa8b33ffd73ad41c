// Sums over ranks whose arrays this process can read.
#pragma once

#include <cstddef>
#include <cstdint>

#include "striped/backend.h"
#include "striped/error.h"

namespace striped::parallel {

// out[count] = the sum over ranks of the elements from `first` on of shown(rank), in rank order, so that
// every rank has the same sum. Throws Error "exchange" for bf16, which it does not add.
template <typename Shown>
void sum_ranks(int ranks, const Shown& shown, std::int64_t first, void* out, std::int64_t count, DType type) {
  const auto sum = [&]<typename Real>(Real* sums) {
    for (std::int64_t i = 0; i < count; ++i) sums[i] = 0;
    for (int from = 0; from < ranks; ++from) {
      const auto* const its =
          reinterpret_cast<const Real*>(static_cast<const std::byte*>(shown(from))) + first;
      for (std::int64_t i = 0; i < count; ++i) sums[i] += its[i];
    }
  };
  if (type == DType::bf16) throw Error("exchange", "ranks in this machine's memory cannot add bf16");
  if (type == DType::f64)
    sum(static_cast<double*>(out));
  else
    sum(static_cast<float*>(out));
}

}  // namespace striped::parallel
