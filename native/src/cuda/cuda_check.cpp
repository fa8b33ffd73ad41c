#include "cuda_check.h"

#include <string>

#include "striped/error.h"

namespace striped::cuda {

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  // An error is held until somebody asks for it, and would be blamed on the next call.
  cudaGetLastError();
  if (status == cudaErrorMemoryAllocation) {
    throw Error("out-of-memory", std::string("The GPU ran out of memory in ") + what +
                                     "; use a smaller micro-batch or sequence, or `recompute blocks`.");
  }
  throw Error("cuda-error", std::string("CUDA failed in ") + what + ": " + cudaGetErrorString(status) +
                                "; the run can be resumed from its last checkpoint.");
}

}  // namespace striped::cuda
