// A small persistent thread pool. Tasks are handed out one at a time; which worker runs a task is not
// deterministic, so a task may write only what belongs to its index (and use its worker's scratch).
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace striped {

// As many as this process may run on.
int usable_threads();

class ThreadPool {
 public:
  // threads 0: as many as the process may use. Errors: "threads" (the system starts no more).
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls task(index, worker) once for every index below count and returns when all are done. The caller
  // works too, as worker 0. Tasks must not throw and must not call run().
  template <class Task>
  void run(std::int64_t count, Task&& task) {
    using Stored = std::remove_reference_t<Task>;
    start(count, const_cast<void*>(static_cast<const void*>(&task)),
          [](void* context, std::int64_t index, int worker) {
            (*static_cast<Stored*>(context))(index, worker);
          });
  }

  // Splits [0, count) into contiguous ranges, bounds being multiples of `grain`, and calls task(begin, end).
  // The split depends on the thread count alone; several ranges a thread keep a thread that is held up by
  // others on the machine from holding up all.
  template <class Task>
  void split(std::int64_t count, std::int64_t grain, Task&& task, std::int64_t ranges_a_thread = 4) {
    const std::int64_t units = (count + grain - 1) / grain, wanted = ranges_a_thread * threads();
    const std::int64_t parts = units < wanted ? units : wanted;
    run(parts, [&](std::int64_t part, int) {
      const std::int64_t begin = units * part / parts * grain;
      const std::int64_t end = units * (part + 1) / parts * grain;
      task(begin, end < count ? end : count);
    });
  }

 private:
  void end();
  using Function = void (*)(void*, std::int64_t, int);
  void start(std::int64_t count, void* context, Function function);
  void work(int worker);
  void loop(int worker);

  std::vector<std::thread> workers_;
  Function function_ = nullptr;
  void* context_ = nullptr;
  std::int64_t count_ = 0;
  alignas(64) std::atomic<std::int64_t> next_{0};
  alignas(64) std::atomic<std::uint32_t> epoch_{0};
  alignas(64) std::atomic<std::uint32_t> pending_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace striped
