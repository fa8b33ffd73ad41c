// Takes the place of src/cuda/launch.h: kernels run on the processor.
#pragma once

#include <utility>

#include "cuda_check.h"
#include "emulation.h"

namespace striped::cuda {

template <auto kernel, class... Arguments>
void launch(dim3 blocks, dim3 threads, std::size_t shared, cudaStream_t, Arguments&&... arguments) {
  ::emulation::run(blocks, threads, shared, [&] { kernel(arguments...); });
}

// One kernel after the other here too.
template <auto kernel, class... Arguments>
void launch_ahead(dim3 blocks, dim3 threads, std::size_t shared, cudaStream_t stream,
                  Arguments&&... arguments) {
  launch<kernel>(blocks, threads, shared, stream, std::forward<Arguments>(arguments)...);
}

}  // namespace striped::cuda
