#include <cstdlib>
#include <fstream>
#include <string_view>

#include "cuda_check.h"
#include "device.h"

namespace striped::cuda {
namespace {

int attribute(cudaDeviceAttr which) {
  int device = 0, value = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
  return value;
}

}  // namespace

int multiprocessors() {
  static const int count = attribute(cudaDevAttrMultiProcessorCount);
  return count;
}

bool has_hopper_kernels() {
  static const bool has = [] {
    const char* portable = std::getenv("STRIPED_CUDA_PORTABLE");
    if (portable != nullptr && std::string_view(portable) == "1") return false;
    return attribute(cudaDevAttrComputeCapabilityMajor) == 9;
  }();
  return has;
}

std::size_t most_shared_memory() {
  static const int bytes = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  return static_cast<std::size_t>(bytes);
}

DeviceMemory device_memory() {
  std::size_t available = 0, total = 0;
  check(cudaMemGetInfo(&available, &total), "device_memory");
  return {total - available, total};
}

std::string driver_version() {
  std::string version;
  std::ifstream("/sys/module/nvidia/version") >> version;
  if (!version.empty()) return version;
  int number = 0;
  check(cudaDriverGetVersion(&number), "driver_version");
  return "of CUDA " + std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

}  // namespace striped::cuda
