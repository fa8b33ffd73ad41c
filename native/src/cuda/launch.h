// Kernel launches, checked.
#pragma once

#include <cuda_runtime.h>

#include <utility>

#include "cuda_check.h"

namespace striped::cuda {

// Starts `kernel` with `shared` bytes of dynamic shared memory, always the same number for a kernel.
template <auto kernel, class... Arguments>
void launch(dim3 blocks, dim3 threads, std::size_t shared, cudaStream_t stream, Arguments&&... arguments) {
  constexpr std::size_t without_asking = 48 * 1024;
  if (shared > without_asking) {
    static const cudaError_t raised =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
    check(raised);
  }
  cudaLaunchConfig_t config{};
  config.gridDim = blocks;
  config.blockDim = threads;
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...));
}

}  // namespace striped::cuda
