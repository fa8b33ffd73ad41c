// How kernels that walk along time share out a sequence.
#pragma once

#include <algorithm>
#include <cstdint>

#include "device.h"
#include "vector.cuh"

namespace striped::cuda {

// Parts of a sequence, of `rows` tokens each but for the last.
struct Strips {
  int per_sequence, rows;
};

// What a kernel makes of strips.
struct StripCosts {
  std::int64_t multiple, shortest;  // rows are a multiple of, and at least
  std::int64_t extra;               // tokens in whose time a strip starts and fills its window
  // Blocks that only wait for memory get unequal shares of it, so that some end late and alone: where all are
  // not there at once, they are to be several times what the device holds, and short.
  std::int64_t fewest_waves = 1;
};

// Cut so that the blocks of all strips are done soonest: they fill the device once, or several times where
// that leaves fewer places empty. `columns`: blocks beside each other in all sequences.
inline Strips strips_of(std::int64_t length, std::int64_t columns, int blocks_per_multiprocessor,
                        const StripCosts& costs) {
  constexpr std::int64_t most_waves = 12;
  const std::int64_t places = std::int64_t{multiprocessors()} * blocks_per_multiprocessor;
  Strips best{};
  std::int64_t least = 0;
  for (std::int64_t wave = 1; wave <= most_waves; ++wave) {
    // As many as so many waves hold: with fewer, all would only be longer.
    const std::int64_t wanted = std::max<std::int64_t>(1, wave * places / columns);
    const std::int64_t rows =
        std::max(costs.shortest, ceil_div(ceil_div(length, wanted), costs.multiple) * costs.multiple);
    const std::int64_t strips = ceil_div(length, rows), waves = ceil_div(columns * strips, places);
    const std::int64_t time = (waves == 1 ? 1 : std::max(waves, costs.fewest_waves)) * (rows + costs.extra);
    if (wave == 1 || time < least) best = {static_cast<int>(strips), static_cast<int>(rows)}, least = time;
  }
  return best;
}

}  // namespace striped::cuda
