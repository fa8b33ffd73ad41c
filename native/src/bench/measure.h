// The clock of the benchmarks, the rates that floors are made of, and random inputs.
#pragma once

#include <functional>
#include <random>
#include <vector>

#include "core/device_buffer.h"

namespace striped::bench {

// What work costs at least: bytes that must be moved once, and FLOPs by the definition of what is computed.
struct Cost {
  double bytes = 0, flops = 0;
  bool fp8 = false;  // the FLOPs may run in FP8
};

class Measure {
 public:
  // `fp8`: the backend computes in FP8. `runs`: behind each median; 0: 21, fewer where they take long.
  Measure(Backend& backend, bool fp8, int runs);

  // Median seconds of `work`. Before each run, `prepare` and a pass over memory larger than the cache.
  double median(const std::function<void()>& work, const std::function<void()>& prepare = [] {});

  double copy_rate() const { return copy_rate_; }
  double matrix_rate() const { return matrix_rate_; }
  double dense_rate() const { return dense_rate_; }
  double floor(const Cost& cost) const;

 private:
  void evict();
  double measure_copy();
  double measure_product(bool fp8);

  Backend& backend_;
  int runs_;
  std::int64_t evicted_;  // reals
  DeviceBuffer cache_, norm_;
  double copy_rate_ = 0, matrix_rate_ = 0, dense_rate_ = 0;
};

// Device arrays that live as long as this.
class Pool {
 public:
  explicit Pool(Backend& backend) : backend_(backend), generator_(std::random_device{}()) {}

  void* empty(std::size_t bytes);
  // Uniform values; long arrays repeat a stretch of them.
  void* values(std::int64_t count, DType type, double low = -1, double high = 1);
  void* activations(std::int64_t count) { return values(count, backend_.activation_type()); }
  void* reals(std::int64_t count, double low = -1, double high = 1) {
    return values(count, real_type(backend_.activation_type()), low, high);
  }
  std::int32_t* tokens(std::int64_t count, std::int64_t vocab);
  float* ones(std::int64_t count);

 private:
  Backend& backend_;
  std::mt19937_64 generator_;
  std::vector<DeviceBuffer> buffers_;
};

}  // namespace striped::bench
