// What the test programs of the CUDA backend share: fresh random inputs, a count of what held, and operators
// run on the CPU in fp64 and twice on the GPU.
#pragma once

#include <algorithm>
#include <cstdio>
#include <initializer_list>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cuda_pair.h"
#include "striped/backend.h"
#include "striped/error.h"

namespace device_test {

constexpr int kSkipped = 77;  // what ctest and the test suite take for "skipped"

inline std::mt19937_64 generator(std::random_device{}());
inline int passed = 0, failed = 0;
inline double worst = 0;  // of a suite, in limits

inline std::vector<double> uniform(std::int64_t count, double low = -1, double high = 1) {
  std::uniform_real_distribution<double> distribution(low, high);
  std::vector<double> values(static_cast<std::size_t>(count));
  for (double& value : values) value = distribution(generator);
  return values;
}

inline void expect(const std::string& name, bool good, double value, double limit) {
  if (good) {
    ++passed;
    worst = std::max(worst, value / limit);
  } else {
    ++failed;
    std::printf("FAILED %s: %.3g, limit %.3g\n", name.c_str(), value, limit);
  }
}

inline std::string sizes(std::initializer_list<std::int64_t> list) {
  std::string text;
  for (const std::int64_t size : list) text += (text.empty() ? "" : "x") + std::to_string(size);
  return text;
}

// Prints how many held, for the end of main.
inline int exit_code() {
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}

// Calls run(precision) for each; false where there is no GPU.
template <class Run>
bool run_suites(const std::vector<std::string>& precisions, const Run& run) {
  for (const std::string& precision : precisions) {
    try {
      run(precision);
    } catch (const striped::Error& error) {
      if (error.code() == "no-cuda") {
        std::printf("SKIPPED: %s\n", error.what());
        return false;
      }
      ++failed;
      std::printf("FAILED %s: %s [%s]\n", precision.c_str(), error.what(), error.code().c_str());
    }
  }
  return true;
}

class DeviceSuite {
 public:
  void report() const {
    std::printf("%s on %s: largest error %.3g of its limit\n", precision_.c_str(),
                gpu_->device_name().c_str(), worst);
  }

 protected:
  explicit DeviceSuite(const std::string& precision)
      : precision_(precision),
        cpu_(striped::make_cpu_backend("fp64", 0)),
        gpu_(striped::make_cuda_backend(precision, 0)),
        type_(gpu_->activation_type()),
        limit_(type_ == DType::bf16 ? 1e-2 : 1e-5) {
    worst = 0;
  }

  using Outputs = std::vector<std::pair<std::string, Pair*>>;
  Pair activations(std::vector<double> values) { return Pair(*cpu_, *gpu_, type_, std::move(values)); }
  Pair activations(std::int64_t count) { return Pair(*cpu_, *gpu_, type_, count); }
  Pair reals(std::vector<double> values) { return Pair(*cpu_, *gpu_, DType::f32, std::move(values)); }
  Pair reals(std::int64_t count) { return Pair(*cpu_, *gpu_, DType::f32, count); }

  // Runs on the CPU, then twice on the GPU; outputs must agree with the former, and the latter bit for bit.
  template <class Cpu, class Gpu>
  void check(const std::string& name, double limit, const Outputs& outputs, const Cpu& on_cpu,
             const Gpu& on_gpu) {
    on_cpu();
    on_gpu();
    gpu_->synchronize();
    std::vector<std::vector<char>> first;
    for (const auto& [label, pair] : outputs) {
      const double error = pair->error();
      expect(precision_ + " " + name + " " + label, error <= limit, error, limit);
      first.push_back(pair->bits());
      pair->reset_device();
    }
    on_gpu();
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      expect(precision_ + " " + name + " " + outputs[i].first + " repeats",
             outputs[i].second->bits() == first[i], 0, 1);
    }
  }

  std::string precision_;
  std::unique_ptr<Backend> cpu_, gpu_;
  DType type_;
  double limit_;
};

}  // namespace device_test
