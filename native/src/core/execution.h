// One walk through the model: over the backend, or over a tracing backend that only notes lifetimes.
#pragma once

#include <cstddef>

#include "core/arena.h"
#include "core/parameter_store.h"
#include "core/tracing_backend.h"

namespace striped {

class Execution {
 public:
  // For real: buffers lie in `memory` where the arena placed them.
  Execution(Backend& device, const ParameterStore& store, Arena& arena, void* memory)
      : backend(device), store_(&store), arena_(arena), memory_(static_cast<std::byte*>(memory)) {}
  // Inputs only: no weights.
  Execution(Backend& device, Arena& arena, void* memory)
      : backend(device), arena_(arena), memory_(static_cast<std::byte*>(memory)) {}
  // A trace: at() notes the use in the arena, and there are no weights.
  Execution(TracingBackend& trace, Arena& arena) : backend(trace), trace_(&trace), arena_(arena) {}

  Backend& backend;

  void* at(Arena::Buffer buffer, std::size_t byte = 0) const {
    if (trace_ != nullptr) {
      arena_.use(buffer, trace_->tick());
      return nullptr;
    }
    return memory_ + arena_.offset(buffer) + byte;
  }
  // A parameter's index of -1 means that there is none.
  const void* weight(int parameter) const {
    return store_ != nullptr && parameter >= 0 ? store_->weight(parameter) : nullptr;
  }
  void* gradient(int parameter) const {
    return store_ != nullptr && parameter >= 0 ? store_->gradient(parameter) : nullptr;
  }

 private:
  const ParameterStore* store_ = nullptr;
  TracingBackend* trace_ = nullptr;
  Arena& arena_;
  std::byte* memory_ = nullptr;
};

}  // namespace striped
