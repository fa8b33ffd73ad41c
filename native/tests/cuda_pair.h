// An array on two backends at once, for tests of the one against the other.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "bf16_values.h"
#include "striped/backend.h"

namespace device_test {

using striped::Backend;
using striped::DType;
using test_values::from_bf16;
using test_values::to_bf16;

// Relative, by the norm of all values.
inline double difference_of(const std::vector<double>& values, const double* expected) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    difference += (values[i] - expected[i]) * (values[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

// The same values on both backends: in fp64 on the CPU, and in `type` on the GPU, rounded to it beforehand.
class Pair {
 public:
  Pair(Backend& cpu, Backend& gpu, DType type, std::vector<double> values)
      : cpu_(cpu), gpu_(gpu), type_(type), values_(std::move(values)) {
    for (double& value : values_)
      value = type == DType::bf16 ? from_bf16(to_bf16(static_cast<float>(value))) : static_cast<float>(value);
    reference = static_cast<double*>(cpu_.allocate(values_.size() * sizeof(double) + 8));
    device = gpu_.allocate(values_.size() * striped::size_of(type) + 8);
    reset();
  }
  // An output: NaN on the GPU, so that what is not written shows.
  Pair(Backend& cpu, Backend& gpu, DType type, std::int64_t count)
      : Pair(cpu, gpu, type, std::vector<double>(static_cast<std::size_t>(count), NAN)) {}
  ~Pair() {
    cpu_.release(reference);
    gpu_.release(device);
  }
  Pair(const Pair&) = delete;

  void reset() {
    std::memcpy(reference, values_.data(), values_.size() * sizeof(double));
    reset_device();
  }
  void reset_device() {
    std::vector<char> bytes(values_.size() * striped::size_of(type_));
    for (std::size_t i = 0; i < values_.size(); ++i) {
      const float single = static_cast<float>(values_[i]);
      const std::uint16_t half = to_bf16(single);
      if (type_ == DType::bf16) {
        std::memcpy(&bytes[2 * i], &half, 2);
      } else {
        std::memcpy(&bytes[4 * i], &single, 4);
      }
    }
    gpu_.upload(device, bytes.data(), bytes.size());
  }
  std::vector<char> bits() const {
    std::vector<char> bytes(values_.size() * striped::size_of(type_));
    gpu_.download(bytes.data(), device, bytes.size());
    return bytes;
  }
  // What the GPU holds.
  std::vector<double> result() const {
    const std::vector<char> bytes = bits();
    std::vector<double> values(values_.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (type_ == DType::bf16) {
        std::uint16_t half;
        std::memcpy(&half, &bytes[2 * i], 2);
        values[i] = from_bf16(half);
      } else {
        float single;
        std::memcpy(&single, &bytes[4 * i], 4);
        values[i] = single;
      }
    }
    return values;
  }
  double error() const { return difference_of(result(), reference); }

  double* reference;
  void* device;

 private:
  Backend &cpu_, &gpu_;
  DType type_;
  std::vector<double> values_;
};

}  // namespace device_test
