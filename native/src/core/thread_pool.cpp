#include "core/thread_pool.h"

#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <string>
#include <system_error>

#include "striped/error.h"

namespace striped {
namespace {

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

// Operators follow one another within microseconds, so waiters spin for a while (some tens of microseconds)
// before they sleep.
constexpr int kSpins = 2000;

template <class Ready>
bool spin(Ready ready) {
  for (int i = 0; i < kSpins; ++i) {
    if (ready()) return true;
    pause();
  }
  return false;
}

}  // namespace

int usable_threads() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

ThreadPool::ThreadPool(int threads) {
  const int total = threads > 0 ? threads : usable_threads();
  try {
    for (int worker = 1; worker < total; ++worker) workers_.emplace_back([this, worker] { loop(worker); });
  } catch (const std::system_error& error) {
    const int started = this->threads();
    end();
    throw Error("threads", "only " + std::to_string(started) + " of " + std::to_string(total) +
                               " threads could be started (" + error.what() +
                               "); ask for fewer with --threads");
  }
}

ThreadPool::~ThreadPool() { end(); }

void ThreadPool::end() {
  stop_.store(true);
  epoch_.fetch_add(1);
  epoch_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::work(int worker) {
  for (;;) {
    const std::int64_t index = next_.fetch_add(1, std::memory_order_relaxed);
    if (index >= count_) return;
    function_(context_, index, worker);
  }
}

void ThreadPool::start(std::int64_t count, void* context, Function function) {
  if (count <= 0) return;
  if (count == 1 || workers_.empty()) {
    for (std::int64_t i = 0; i < count; ++i) function(context, i, 0);
    return;
  }
  function_ = function;
  context_ = context;
  count_ = count;
  next_.store(0, std::memory_order_relaxed);
  pending_.store(static_cast<std::uint32_t>(workers_.size()), std::memory_order_relaxed);
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  work(0);
  const auto done = [this] { return pending_.load(std::memory_order_acquire) == 0; };
  if (spin(done)) return;
  for (auto left = pending_.load(std::memory_order_acquire); left != 0;
       left = pending_.load(std::memory_order_acquire)) {
    pending_.wait(left, std::memory_order_acquire);
  }
}

void ThreadPool::loop(int worker) {
  std::uint32_t seen = 0;
  for (;;) {
    const auto fresh = [&] { return epoch_.load(std::memory_order_acquire) != seen; };
    if (!spin(fresh)) epoch_.wait(seen, std::memory_order_acquire);
    if (!fresh()) continue;
    ++seen;
    if (stop_.load()) return;
    work(worker);
    if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_one();
  }
}

}  // namespace striped
