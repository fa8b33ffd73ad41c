// What every CUDA operator gets: the device, its in-order stream, and scratch memory.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cuda_check.h"
#include "hyena.h"
#include "striped/backend.h"

namespace striped::cuda {

// After a kernel launch.
inline void check_launch(const char* kernel) { check(cudaGetLastError(), kernel); }

// cudaMalloc, with an "out-of-memory" Error that says how much was wanted and free.
void* device_allocate(std::size_t bytes);

struct Context;

// Device memory that grows on demand; contents do not outlive the call that reserved it. Growing while a step
// is recorded is an Error; after one was recorded, outgrown buffers stay, since the recording names them.
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch();
  void* reserve_bytes(std::size_t bytes, const Context&);
  template <class T>
  T* reserve(std::size_t count, const Context& context) {
    return static_cast<T*>(reserve_bytes(count * sizeof(T), context));
  }

 private:
  std::vector<void*> buffers_;
  std::size_t size_ = 0;
};

// cos and sin of the rotary angles, split as position = 1024·coarse + fine: [·, head_dim / 2] pairs each.
struct RopeTable {
  float2* coarse = nullptr;
  float2* fine = nullptr;
};

struct Context {
  int device = 0;
  cudaStream_t stream = nullptr;
  int multiprocessors = 0;
  int capability = 0;  // 90 for compute capability 9.0
  std::string name;
  ElementType type = ElementType::f32;
  Scratch scratch;
  std::uint64_t calls = 0;  // of the backend, so far
  bool recorded = false;    // a step has been recorded
  std::map<std::vector<double>, RopeTable> rope_tables;

  Context() = default;
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context();
};

// Which recording (CUDA graph capture) is going on in the stream, 0: none.
unsigned long long recording_id(cudaStream_t stream);

}  // namespace striped::cuda
