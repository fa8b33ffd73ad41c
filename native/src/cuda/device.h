// What the device is and can do.
#pragma once

#include <cstddef>
#include <string>

#include "striped/backend.h"

namespace striped::cuda {

int multiprocessors();
// Whether the kernels written for compute capability 9.x run here; not with STRIPED_CUDA_PORTABLE=1, which
// leaves all work to those that run on any device, as on an older one.
bool has_hopper_kernels();
// Bytes of shared memory that one block can have.
std::size_t most_shared_memory();
// What is in use of it, of all that it has.
DeviceMemory device_memory();
// As the system names it.
std::string driver_version();

}  // namespace striped::cuda
