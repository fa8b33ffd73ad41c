// Descriptors for the bulk tensor copy engine (sm_90).
#pragma once

#include <cuda.h>

#include <cstdint>

namespace striped::cuda {

// A bf16 array [batch, rows, columns], copied in boxes of box_rows × box_columns with the 128-byte swizzle
// (box_columns · 2 bytes must be 128). Throws Error "cuda-error" when the driver refuses.
CUtensorMap bf16_tensor_map(const void* data, std::int64_t batch, std::int64_t rows, std::int64_t columns,
                            int box_rows, int box_columns);

}  // namespace striped::cuda
