// What the device can do.
#pragma once

namespace striped::cuda {

int multiprocessors();
// Whether the kernels written for compute capability 9.x run here; not with STRIPED_CUDA_PORTABLE=1, which
// leaves all work to those that run on any device, as on an older one.
bool has_hopper_kernels();

}  // namespace striped::cuda
