// Which of several algorithms for one matrix product to use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>

#include "gemm.h"

namespace striped::cuda {

// How long a candidate is timed: for a few runs behind a pause, which see the device's full clocks; or for a
// good hundred milliseconds in a row, at the clocks that its power limit leaves.
enum class Tuning : std::uint8_t { brief, sustained };

// Sustained for products long enough for steps made of their like to reach the power limit; none are with the
// environment variable STRIPED_TUNING=brief.
Tuning tuning_of(const Product&);

// Times the candidates on operands of its own, which are not zeros, and tells the fastest. Only candidates
// that give the very bits of the first take part, so that the choice, which depends on timings, never changes
// a result. `run` launches one of them on the context's stream. Nothing where the operands find no room in
// device memory.
std::optional<std::size_t> fastest_candidate(
    Context&, const Product&, Tuning, std::size_t candidates,
    const std::function<void(std::size_t candidate, const ProductPointers&)>& run);

}  // namespace striped::cuda
