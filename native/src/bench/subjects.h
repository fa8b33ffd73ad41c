// The three subjects of the benchmark.
#pragma once

#include <functional>
#include <string>

#include "bench/measure.h"
#include "bench/shapes.h"

namespace striped::bench {

// Told of every measured size: its name, median seconds and the costs of what ran.
using Told = std::function<void(const std::string& name, double seconds, const std::vector<Cost>& costs)>;

struct Size {
  std::int64_t width, length;
};

// Each operator alone, forward and backward.
void operators(Backend& backend, Measure& measure, const Size& size, const Told& told);
// A block of each mixer with its norms, dense layers and gated MLP: forward, and forward with backward.
void blocks(Backend& backend, Measure& measure, const Size& size, const Told& told);
// The six blocks SE MR LI SE MR MHA between embedding and loss: forward with backward, and a whole training
// step, AdamW included.
void stack(Backend& backend, Measure& measure, const Size& size, const Told& told);

}  // namespace striped::bench
