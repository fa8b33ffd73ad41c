#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <thread>

#include "context.h"
#include "cuda_runtime.h"
#include "striped/error.h"

namespace {

using Clock = std::chrono::steady_clock;

// One recording of an event: waiting is for the recording that was the last when the wait was asked for.
struct Recording {
  std::mutex mutex;
  std::condition_variable done;
  bool reached = false;
  Clock::time_point time;

  void reach() {
    const std::lock_guard lock(mutex);
    reached = true;
    time = Clock::now();
    done.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex);
    done.wait(lock, [&] { return reached; });
  }
};

}  // namespace

struct StandInEvent {
  std::shared_ptr<Recording> last;
};

struct StandInStream {
  StandInStream() : thread([this] { work(); }) {}
  ~StandInStream() {
    {
      const std::lock_guard lock(mutex);
      over = true;
    }
    changed.notify_all();
    thread.join();
  }

  void push(std::function<void()> job) {
    {
      const std::lock_guard lock(mutex);
      jobs.push_back(std::move(job));
    }
    changed.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return jobs.empty() && !busy; });
  }

 private:
  void work() {
    std::mt19937 random(std::random_device{}());
    std::unique_lock lock(mutex);
    while (true) {
      changed.wait(lock, [&] { return over || !jobs.empty(); });
      if (jobs.empty()) return;
      const std::function<void()> job = std::move(jobs.front());
      jobs.pop_front();
      busy = true;
      lock.unlock();
      if (random() % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 200));
      job();
      lock.lock();
      busy = false;
      changed.notify_all();
    }
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> jobs;
  bool busy = false, over = false;
  std::thread thread;  // the last: it uses the others
};

extern "C" {

cudaError_t cudaSetDevice(int) { return cudaSuccess; }
cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = *greatest = 0;
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  *stream = new StandInStream;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  stream->wait();
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  // An event that was never recorded holds nobody.
  if (const auto recording = event->last) stream->push([recording] { recording->wait(); });
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new StandInEvent;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const auto recording = std::make_shared<Recording>();
  event->last = recording;
  stream->push([recording] { recording->reach(); });
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (event->last) event->last->wait();
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(end->last->time - start->last->time).count();
  return cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, void (*work)(void*), void* data) {
  stream->push([work, data] { work(data); });
  return cudaSuccess;
}

}  // extern "C"

namespace striped::cuda {

void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) throw Error("cuda-error", what);
}
void* device_allocate(std::size_t bytes) { return std::calloc(1, bytes); }

}  // namespace striped::cuda
