// What every operator gets: the threads, scratch memory, and cached tables.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "core/thread_pool.h"

namespace striped::cpu {

// Memory that grows as needed and is never given back before the backend ends.
class Scratch {
 public:
  template <class T>
  T* reserve(std::size_t count) {
    const std::size_t bytes = (count * sizeof(T) + 255) / 256 * 256;
    if (bytes > size_) {
      memory_.reset(std::aligned_alloc(256, bytes));
      if (!memory_) throw std::bad_alloc();
      size_ = bytes;
    }
    return static_cast<T*>(memory_.get());
  }

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<void, Free> memory_;
  std::size_t size_ = 0;
};

// cos and sin of position/scale · base^(-2i/head_dim), [length, head_dim / 2] each.
struct RopeTable {
  std::int64_t length = 0;
  int head_dim = 0;
  double base = 0, scale = 0;
  std::vector<double> cosine, sine;
};

struct Context {
  explicit Context(int threads) : pool(threads) {}
  ThreadPool pool;
  Scratch scratch;
  RopeTable rope;
};

}  // namespace striped::cpu
