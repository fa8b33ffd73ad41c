// Kernel launches, checked.
#pragma once

#include <cuda_runtime.h>

#include <string>
#include <string_view>
#include <utility>

#include "cuda_check.h"
#include "device.h"

namespace striped::cuda {

// The kernel's name without what encloses it, out of what the compiler calls this function.
template <auto kernel>
std::string name_of() {
  std::string_view name = __PRETTY_FUNCTION__;
  const std::string_view before = "kernel = ";
  name.remove_prefix(name.find(before) + before.size());
  name = name.substr(0, name.find_first_of(";]"));
  const std::size_t scope = name.substr(0, name.find('<')).rfind("::");
  return std::string(scope == std::string_view::npos ? name : name.substr(scope + 2));
}
template <auto kernel>
void check_started(cudaError_t status) {
  if (status != cudaSuccess) check(status, name_of<kernel>().c_str());
}

template <auto kernel, class... Arguments>
void launch_as(cudaLaunchConfig_t config, dim3 blocks, dim3 threads, std::size_t shared, cudaStream_t stream,
               Arguments&&... arguments) {
  constexpr std::size_t without_asking = 48 * 1024;
  if (shared > without_asking) {
    static const cudaError_t raised =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
    check_started<kernel>(raised);
  }
  config.gridDim = blocks;
  config.blockDim = threads;
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  check_started<kernel>(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...));
}

// Starts `kernel` with `shared` bytes of dynamic shared memory, always the same number for a kernel.
template <auto kernel, class... Arguments>
void launch(dim3 blocks, dim3 threads, std::size_t shared, cudaStream_t stream, Arguments&&... arguments) {
  launch_as<kernel>({}, blocks, threads, shared, stream, std::forward<Arguments>(arguments)...);
}

// The same, on Hopper before the kernel ahead of it in the stream has ended: `kernel` waits for that
// itself, with ptx::wait_for_kernel_before.
template <auto kernel, class... Arguments>
void launch_ahead(dim3 blocks, dim3 threads, std::size_t shared, cudaStream_t stream,
                  Arguments&&... arguments) {
  if (!has_hopper_kernels())
    return launch<kernel>(blocks, threads, shared, stream, std::forward<Arguments>(arguments)...);
  cudaLaunchAttribute ahead{};
  ahead.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  ahead.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.attrs = &ahead;
  config.numAttrs = 1;
  launch_as<kernel>(config, blocks, threads, shared, stream, std::forward<Arguments>(arguments)...);
}

}  // namespace striped::cuda
