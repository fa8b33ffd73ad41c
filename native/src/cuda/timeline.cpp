#include "timeline.h"

#include <fstream>

#include "context.h"

namespace striped::cuda {

EventTimeline::~EventTimeline() {
  for (cudaEvent_t event : events_) cudaEventDestroy(event);
}

void EventTimeline::mark() {
  cudaEvent_t event = nullptr;
  check(cudaEventCreate(&event), "timeline");
  events_.push_back(event);
  check(cudaEventRecord(event, stream_), "timeline");
}

std::vector<double> EventTimeline::seconds() {
  std::vector<double> result;
  if (events_.empty()) return result;
  check(cudaEventSynchronize(events_.back()), "timeline");
  for (cudaEvent_t event : events_) {
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, events_.front(), event), "timeline");
    result.push_back(milliseconds * 1e-3);
  }
  return result;
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
