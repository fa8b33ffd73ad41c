// Which of several algorithms for one matrix product to use.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>

#include "gemm.h"

namespace striped::cuda {

// Times the candidates on operands of its own, which are not zeros, and tells the fastest. Only candidates
// that give the very bits of the first take part, so that the choice, which depends on timings, never changes
// a result. `run` launches one of them on the context's stream. Nothing where the operands find no room in
// device memory.
std::optional<std::size_t> fastest_candidate(
    Context&, const Product&, std::size_t candidates,
    const std::function<void(std::size_t candidate, const ProductPointers&)>& run);

}  // namespace striped::cuda
