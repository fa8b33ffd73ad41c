// Times of many places in a stream.
#pragma once

#include <cuda_runtime.h>

#include <vector>

#include "striped/backend.h"

namespace striped::cuda {

class EventTimeline final : public Timeline {
 public:
  explicit EventTimeline(cudaStream_t stream) : stream_(stream) {}
  EventTimeline(const EventTimeline&) = delete;
  EventTimeline& operator=(const EventTimeline&) = delete;
  ~EventTimeline() override;

  void mark() override;
  std::vector<double> seconds() override;

 private:
  cudaStream_t stream_;
  std::vector<cudaEvent_t> events_;
};

}  // namespace striped::cuda
