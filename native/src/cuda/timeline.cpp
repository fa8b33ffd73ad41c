#include "timeline.h"

#include "cuda_check.h"

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

}  // namespace striped::cuda
