// Turns CUDA runtime failures into striped::Error.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "striped/error.h"

namespace striped::cuda {

inline void check(cudaError_t status) {
  if (status == cudaSuccess) return;
  throw Error(status == cudaErrorMemoryAllocation ? "out-of-memory" : "cuda",
              std::string("CUDA: ") + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) + ")");
}

}  // namespace striped::cuda
