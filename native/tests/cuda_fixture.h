// What the tests of the Hyena kernels have in common: random inputs, arrays with guards, and the tests'
// main().
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "cuda_check.h"
#include "hyena.h"
#include "hyena_reference.h"
#include "striped/error.h"

namespace cuda_fixture {

using namespace striped;
using hyena_reference::Inputs;
using hyena_reference::Results;
using hyena_reference::Values;
using striped::cuda::check;
using striped::cuda::ElementType;

constexpr int kSkipped = 77;  // what ctest and the test suite take for "skipped"

inline std::mt19937_64 generator;

inline Values normal(std::int64_t count, double scale) {
  std::normal_distribution<float> distribution(0, static_cast<float>(scale));
  Values values(static_cast<std::size_t>(count));
  for (double& x : values) x = distribution(generator);
  return values;
}

// An array on the device in fp32 or bf16, with a guard behind it.
class DeviceArray {
 public:
  DeviceArray(std::size_t count, ElementType type)
      : count_(count), width_(type == ElementType::bf16 ? 2 : 4), bytes_(count * width_ + kGuard) {
    check(cudaMalloc(&data_, bytes_), "cudaMalloc");
    poison();
  }
  DeviceArray(Values& values, ElementType type) : DeviceArray(values.size(), type) { put(values); }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;

  void* data() const { return data_; }
  std::size_t size() const { return count_; }
  void poison() { check(cudaMemset(data_, 0xff, bytes_), "cudaMemset"); }
  // Rounds `values` to the array's type.
  void put(Values& values) {
    std::vector<char> host(count_ * width_);
    for (std::size_t i = 0; i < count_; ++i) {
      if (width_ == 2) {
        const __nv_bfloat16 x = __float2bfloat16(static_cast<float>(values[i]));
        std::memcpy(&host[i * 2], &x, 2);
        values[i] = __bfloat162float(x);
      } else {
        const float x = static_cast<float>(values[i]);
        std::memcpy(&host[i * 4], &x, 4);
        values[i] = x;
      }
    }
    check(cudaMemcpy(data_, host.data(), host.size(), cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  std::vector<unsigned char> raw() const {
    std::vector<unsigned char> host(bytes_);
    check(cudaMemcpy(host.data(), data_, bytes_, cudaMemcpyDeviceToHost), "cudaMemcpy");
    return host;
  }
  Values get() const {
    const auto host = raw();
    Values values(count_);
    for (std::size_t i = 0; i < count_; ++i) {
      if (width_ == 2) {
        __nv_bfloat16 x;
        std::memcpy(&x, &host[i * 2], 2);
        values[i] = __bfloat162float(x);
      } else {
        float x;
        std::memcpy(&x, &host[i * 4], 4);
        values[i] = x;
      }
    }
    return values;
  }
  bool guard_intact() const {
    const auto host = raw();
    return std::all_of(host.end() - kGuard, host.end(), [](unsigned char c) { return c == 0xff; });
  }

 private:
  static constexpr std::size_t kGuard = 1024;
  std::size_t count_, width_, bytes_;
  void* data_ = nullptr;
};

constexpr ElementType kReal = ElementType::f32;  // of weights and their gradients

struct Case {
  HyenaShape shape;
  ElementType type;
  bool decay;
  std::size_t slice_bytes = std::size_t{1} << 30;  // of what Fourier transforms take at a time
};

inline Inputs random_inputs(const Case& test) {
  const HyenaShape& s = test.shape;
  Inputs in;
  in.z = normal(3 * s.batch * s.length * s.width, 1);
  in.dy = normal(s.batch * s.length * s.width, 1);
  in.featurizer = normal(3 * s.width * s.featurizer_taps, 0.6);
  if (s.has_skip) in.skip = normal(s.width, 1);
  if (s.kind == HyenaKind::long_implicit) {
    in.residues = normal(s.groups * s.order, 0.3);
    std::uniform_real_distribution<double> memory(std::log(0.5), std::log(2.0 * s.length));
    in.log_poles.resize(s.groups * s.order);
    for (double& p : in.log_poles) p = static_cast<float>(-std::exp(-memory(generator)));
  } else {
    in.filter = normal(s.groups * s.taps, 1 / std::sqrt(s.taps));
    if (test.decay) {
      in.decay.resize(in.filter.size());
      for (std::size_t i = 0; i < in.decay.size(); ++i) {
        in.decay[i] = static_cast<float>(std::exp(-3.0 * (i % s.taps) / s.taps));
      }
    }
  }
  return in;
}

inline double relative_error(const Values& out, const Values& expected, double base) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    difference += (out[i] - base - expected[i]) * (out[i] - base - expected[i]);
    size += expected[i] * expected[i];
  }
  return size == 0 ? std::sqrt(difference) : std::sqrt(difference / size);
}

// What a case's calls read.
class InputArrays {
 public:
  // Rounds `in` to the arrays' types.
  InputArrays(const Case& test, Inputs& in)
      : z(in.z, test.type),
        dy(in.dy, test.type),
        featurizer_(in.featurizer, kReal),
        filter_(in.filter, kReal),
        decay_(in.decay, kReal),
        skip_(in.skip, kReal),
        residues_(in.residues, kReal),
        log_poles_(in.log_poles, kReal) {}

  HyenaWeights weights() const {
    return {featurizer_.data(),
            filter_.data(),
            decay_.size() == 0 ? nullptr : decay_.data(),
            skip_.size() == 0 ? nullptr : skip_.data(),
            residues_.data(),
            log_poles_.data()};
  }

  DeviceArray z, dy;

 private:
  DeviceArray featurizer_, filter_, decay_, skip_, residues_, log_poles_;
};

// A result, and what it should be.
struct Output {
  const char* name;
  DeviceArray* array;
  const Values* expected;
  double base;  // what it holds before the call

  void start() const {
    array->poison();
    Values values(array->size(), base);
    if (base != 0) array->put(values);
  }
};

// The gradients of a case's weights; those that it has not are null in gradients().
class GradientArrays {
 public:
  GradientArrays(const Case& test, const Inputs& in)
      : implicit_(test.shape.kind == HyenaKind::long_implicit),
        has_skip_(test.shape.has_skip),
        featurizer_(in.featurizer.size(), kReal),
        filter_(in.filter.size(), kReal),
        skip_(in.skip.size(), kReal),
        residues_(in.residues.size(), kReal),
        log_poles_(in.log_poles.size(), kReal) {}

  HyenaGradients gradients() const {
    return {featurizer_.data(), implicit_ ? nullptr : filter_.data(), has_skip_ ? skip_.data() : nullptr,
            implicit_ ? residues_.data() : nullptr, implicit_ ? log_poles_.data() : nullptr};
  }
  Output of_featurizer(const Results& expected) {
    return {"featurizer", &featurizer_, &expected.featurizer, kBefore};
  }
  // Those of the filter and the skip, which the featurizer does not need.
  std::vector<Output> of_filter(const Results& expected) {
    std::vector<Output> outputs;
    if (implicit_) {
      outputs.push_back({"residues", &residues_, &expected.residues, kBefore});
      outputs.push_back({"log_poles", &log_poles_, &expected.log_poles, kBefore});
    } else {
      outputs.push_back({"filter", &filter_, &expected.filter, kBefore});
    }
    if (has_skip_) outputs.push_back({"skip", &skip_, &expected.skip, kBefore});
    return outputs;
  }

 private:
  static constexpr double kBefore = 0.25;  // calls add to gradients

  bool implicit_, has_skip_;
  DeviceArray featurizer_, filter_, skip_, residues_, log_poles_;
};

using Bytes = std::vector<std::vector<unsigned char>>;
inline Bytes bytes_of(const std::vector<Output>& outputs) {
  Bytes bytes;
  for (const auto& output : outputs) bytes.push_back(output.array->raw());
  return bytes;
}

inline int passed = 0, failed = 0;

inline void count(bool good, const std::string& line) {
  (good ? passed : failed) += 1;
  std::printf("%s %s\n", good ? "ok  " : "FAIL", line.c_str());
}

// Compares a case's outputs with what they should be. `same`: a second run gave the same bits; `intact`: the
// guards of all other arrays.
inline void judge(const Case& test, const std::string& about, const std::vector<Output>& outputs, bool same,
                  bool intact) {
  const HyenaShape& s = test.shape;
  const bool implicit = s.kind == HyenaKind::long_implicit, narrow = test.type == ElementType::bf16;
  const double tolerance = narrow ? 1e-2 : implicit ? 1e-4 : 1e-5;
  char text[160];
  std::snprintf(
      text, sizeof text, "%s %s B%lld L%lld D%lld size %lld %s%d taps %d%s%s%s%s%s:", implicit ? "LI" : "FIR",
      narrow ? "bf16" : "fp32", static_cast<long long>(s.batch), static_cast<long long>(s.length),
      static_cast<long long>(s.width), static_cast<long long>(s.width / s.groups), implicit ? "N" : "h",
      implicit ? s.order : s.taps, s.featurizer_taps, s.has_skip ? " skip" : "", test.decay ? " decay" : "",
      about.c_str(), same ? "" : " NOT DETERMINISTIC", intact ? "" : " WRITES BEHIND ARRAYS");
  std::string line = text;
  bool good = same && intact;
  for (const auto& output : outputs) {
    const double e = relative_error(output.array->get(), *output.expected, output.base);
    const bool fine = e <= tolerance && output.array->guard_intact();
    good = good && fine;
    std::snprintf(text, sizeof text, " %s %.1e%s", output.name, e, fine ? "" : "!");
    line += text;
  }
  count(good, line);
}

// A filter gradient in bf16 that is a few numbers is, by chance, several times smaller than the terms it is a
// sum of, whose rounding is its error and which no kernel changes: a limit on the relative error then fails
// on some draws whatever the kernel. So cases have filters enough for 64 numbers or more, where chance evens
// out (the error is 6e-3 of the limit of 1e-2, and passes it once in 100,000 draws).
inline std::int64_t width_for(int taps) { return std::max(192, 1024 / taps / 64 * 64); }

inline Case fir(ElementType type, std::int64_t batch, std::int64_t length, std::int64_t width,
                std::int64_t size, int taps, int featurizer_taps = 3, bool skip = false, bool decay = false) {
  return {{HyenaKind::medium_regularised, batch, length, width, width / size, featurizer_taps, taps, 0, skip},
          type,
          decay};
}
// An output in bf16 is rounded mode by mode, and of few filters whose modes nearly cancel it is small: of
// two, three times as small as its terms in one draw of 40, of eight in none of thousands. So cases in bf16
// have eight filters or more.
inline Case modal(ElementType type, std::int64_t batch, std::int64_t length, std::int64_t width,
                  std::int64_t size, int order, int featurizer_taps = 3, bool skip = true) {
  return {{HyenaKind::long_implicit, batch, length, width, width / size, featurizer_taps, 0, order, skip},
          type,
          false};
}

// The tests' main(): arguments are a size and a seed.
template <class Tests>
int run_tests(int arguments, char** values, const Tests& tests) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::printf("SKIPPED: no NVIDIA GPU can be used here\n");
    return kSkipped;
  }
  const unsigned seed = arguments > 2 ? static_cast<unsigned>(std::stoul(values[2])) : std::random_device{}();
  generator.seed(seed);
  std::printf("seed %u\n", seed);
  try {
    tests(arguments > 1 ? std::string(values[1]) : std::string("all"));
  } catch (const Error& e) {
    count(false, e.code() + ": " + e.what());
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}

}  // namespace cuda_fixture
