// What this process's main thread does, as other ranks see it: how often it went on, and whether it waits for
// them.
#pragma once

#include <atomic>
#include <cstdint>

namespace striped::parallel {

struct Activity {
  std::atomic<std::uint64_t> steps{0};
  std::atomic<bool> waits{false};

  void go_on() { steps.fetch_add(1, std::memory_order_relaxed); }
};

inline Activity& activity() {
  static Activity only;
  return only;
}

// Around everything that may wait for other ranks.
class Waiting {
 public:
  Waiting() { activity().waits.store(true, std::memory_order_relaxed); }
  ~Waiting() {
    activity().waits.store(false, std::memory_order_relaxed);
    activity().go_on();
  }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
};

}  // namespace striped::parallel
