// One walk through the model: over the backend and with the other ranks, or over a tracing backend that only
// notes lifetimes.
#pragma once

#include <cstddef>

#include "core/arena.h"
#include "core/parameter_store.h"
#include "core/tracing_backend.h"

namespace striped {

class Execution {
 public:
  // For real: buffers lie in `memory` where the arena placed them.
  Execution(Backend& device, const RankGroups& groups, const ParameterStore& store, Arena& arena,
            void* memory)
      : backend(device),
        ranks(groups),
        store_(&store),
        arena_(arena),
        memory_(static_cast<std::byte*>(memory)) {}
  // Inputs only: no weights.
  Execution(Backend& device, const RankGroups& groups, Arena& arena, void* memory)
      : backend(device), ranks(groups), arena_(arena), memory_(static_cast<std::byte*>(memory)) {}
  // A trace: at() notes the use in the arena, and there are no weights.
  Execution(TracingBackend& trace, const RankGroups& traced, Arena& arena)
      : backend(trace), ranks(traced), trace_(&trace), arena_(arena) {}

  Backend& backend;
  const RankGroups& ranks;

  void* at(Arena::Buffer buffer, std::size_t byte = 0) const {
    if (trace_ != nullptr) {
      arena_.use(buffer, trace_->tick());
      return nullptr;
    }
    return memory_ + arena_.offset(buffer) + byte;
  }
  // Does work() with the device and the other ranks; in a trace, notes that something is done.
  template <typename Work>
  void call(const Work& work) const {
    if (trace_ != nullptr)
      trace_->touch();
    else
      work();
  }
  // A parameter's index of -1 means that there is none.
  const void* weight(int parameter) const {
    return store_ != nullptr && parameter >= 0 ? store_->weight(parameter) : nullptr;
  }
  void* gradient(int parameter) const {
    return store_ != nullptr && parameter >= 0 ? store_->gradient(parameter) : nullptr;
  }
  // ParameterStore::accumulates().
  bool accumulates() const { return store_ == nullptr || store_->accumulates(); }

  // What the replicas of the parameters are told of (Residence).
  void need(int unit) const {
    if (Residence* const told = residence()) told->need(unit);
  }
  void begin_gradients(int unit) const {
    if (Residence* const told = residence()) told->begin_gradients(unit);
  }
  void end_gradients(int unit) const {
    if (Residence* const told = residence()) told->end_gradients(unit);
  }

 private:
  Residence* residence() const { return store_ != nullptr ? store_->residence() : nullptr; }

  const ParameterStore* store_ = nullptr;
  TracingBackend* trace_ = nullptr;
  Arena& arena_;
  std::byte* memory_ = nullptr;
};

}  // namespace striped
