// Ranks on GPUs. Every communicator has a stream of its own, on which its calls follow each other; a call
// waits for the backend's stream and is waited for by it, unless it was made aside (Communicator::fork).
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <memory>
#include <vector>

#include "core/communicator.h"
#include "nccl_api.h"

namespace striped::cuda {

// Kept as long as the process: a communicator may outlive what made it.
struct NcclSetting {
  int device;
  cudaStream_t stream;                                  // the backend's
  std::function<void(void*, std::size_t)> will_change;  // told of memory before it is written
};

// Throws Error "no-nccl" that says what is missing.
std::unique_ptr<Communicator> join_gpus(const NcclSetting& setting, const DeviceRanks& ranks);

}  // namespace striped::cuda
