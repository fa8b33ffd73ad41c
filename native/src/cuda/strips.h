// How kernels that walk along time share out a sequence.
#pragma once

#include <algorithm>
#include <cstdint>

#include "device.h"

namespace striped::cuda {

// Parts of a sequence, of `rows` tokens each but for the last.
struct Strips {
  int per_sequence, rows;
};

// Cut so that the blocks of all strips fill the device once. `columns`: blocks beside each other in all
// sequences; `multiple`: what rows are a multiple of, and `shortest` they are at least.
inline Strips strips_of(std::int64_t length, std::int64_t columns, int blocks_per_multiprocessor,
                        std::int64_t multiple, std::int64_t shortest) {
  const std::int64_t wanted =
      std::max<std::int64_t>(1, multiprocessors() * blocks_per_multiprocessor / columns);
  std::int64_t rows = (length + wanted - 1) / wanted;
  rows = std::max(shortest, (rows + multiple - 1) / multiple * multiple);
  return {static_cast<int>((length + rows - 1) / rows), static_cast<int>(rows)};
}

}  // namespace striped::cuda
