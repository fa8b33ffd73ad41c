// Turns failures of the CUDA runtime into striped::Error.
#pragma once

#include <cuda_runtime.h>

namespace striped::cuda {

// Throws Error "cuda-error" or "out-of-memory" where a call failed; `what` is the call, or what it was for.
void check(cudaError_t status, const char* what);

}  // namespace striped::cuda
