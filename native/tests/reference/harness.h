// Arrays on a backend with guards around them, random inputs, and comparisons.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "../relative_error.h"
#include "operators.h"
#include "striped/backend.h"

namespace reference {

using Values = std::vector<double>;

inline Values random_values(std::int64_t count, unsigned seed, double low = -1, double high = 1) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> uniform(low, high);
  Values values(static_cast<std::size_t>(count));
  for (auto& value : values) value = uniform(engine);
  return values;
}

// Rounded to float, so that both precisions get the same inputs.
inline Values as_float(Values values) {
  for (auto& value : values) value = static_cast<double>(static_cast<float>(value));
  return values;
}

// "Real" or activation values on a backend, in its own type, followed by a guard that no operator may touch.
class DeviceArray {
 public:
  DeviceArray(striped::Backend& backend, const Values& values) : DeviceArray(backend, values.size()) {
    write(values);
  }
  // Poisoned: every value is NaN.
  DeviceArray(striped::Backend& backend, std::size_t count)
      : backend_(backend), count_(count), wide_(backend.activation_type() == striped::DType::f64) {
    host_.assign((count + kGuard) * size(), 0xff);
    data_ = backend.allocate(host_.size());
    backend.upload(data_, host_.data(), host_.size());
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  ~DeviceArray() {
    check_guard();
    backend_.release(data_);
  }

  void* data() { return count_ == 0 ? nullptr : data_; }

  void write(const Values& values) {
    REQUIRE(values.size() == count_);
    if (wide_) return backend_.upload(data_, values.data(), count_ * size());
    const std::vector<float> narrow(values.begin(), values.end());
    backend_.upload(data_, narrow.data(), count_ * size());
  }

  Values read() {
    backend_.synchronize();
    Values values(count_);
    if (wide_) {
      backend_.download(values.data(), data_, count_ * size());
    } else {
      std::vector<float> narrow(count_);
      backend_.download(narrow.data(), data_, count_ * size());
      std::copy(narrow.begin(), narrow.end(), values.begin());
    }
    return values;
  }

 private:
  static constexpr std::size_t kGuard = 64;
  std::size_t size() const { return wide_ ? 8 : 4; }
  void check_guard() {
    backend_.synchronize();
    std::vector<unsigned char> now(host_.size());
    backend_.download(now.data(), data_, now.size());
    const bool whole = std::equal(now.begin() + count_ * size(), now.end(), host_.begin() + count_ * size());
    CHECK_MESSAGE(whole, "an operator wrote past the end of an array");
  }

  striped::Backend& backend_;
  std::size_t count_;
  bool wide_;
  void* data_ = nullptr;
  std::vector<unsigned char> host_;
};

// Scratch full of NaN, with a guard.
class Workspace {
 public:
  Workspace(striped::Backend& backend, std::size_t bytes)
      : array_(backend, (bytes + width(backend) - 1) / width(backend)) {}
  void* data() { return array_.data(); }

 private:
  static std::size_t width(striped::Backend& b) { return b.activation_type() == striped::DType::f64 ? 8 : 4; }
  DeviceArray array_;
};

inline double relative_error(const Values& actual, const Values& expected) {
  REQUIRE(actual.size() == expected.size());
  return test_values::relative_error(actual, expected);
}

// What an operator must hold to in each precision (relative to the reference in float64).
inline double tolerance(const std::string& precision) { return precision == "fp64" ? 1e-11 : 1e-5; }

inline Array<Var> inputs(const Values& values) {
  Array<Var> vars;
  vars.reserve(values.size());
  for (double value : values) vars.push_back(Var::input(value));
  return vars;
}

inline Values values_of(const Array<Var>& vars) {
  Values values;
  for (const Var& var : vars) values.push_back(var.value());
  return values;
}

// Σ c ⊙ y: the loss whose gradient with respect to y is c.
inline Var weighted_sum(const Array<Var>& y, const Values& c) {
  Var total(0);
  for (std::size_t i = 0; i < y.size(); ++i) total = multiply_add(total, y[i], Var(c[i]));
  return total;
}

inline Values gradient_of(const Array<Var>& vars, const std::vector<double>& adjoint) {
  Values values;
  for (const Var& var : vars) values.push_back(var.index() < 0 ? 0 : adjoint[var.index()]);
  return values;
}

inline Values sum_of(Values a, const Values& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  return a;
}

}  // namespace reference
