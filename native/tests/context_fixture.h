// Sequences on one device and spread over ranks: inputs, both runs, and what is compared.
#pragma once

#include <cmath>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "core/device_buffer.h"
#include "parallel/context_attention.h"
#include "parallel/counting_communicator.h"
#include "relative_error.h"
#include "striped/error.h"

namespace context_checks {

using namespace striped;
using namespace striped::parallel;
using test_values::relative_error;
using Values = std::vector<double>;
using Named = std::map<std::string, Values>;

inline Values random_values(std::int64_t count, unsigned seed, double low = -1, double high = 1) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> uniform(low, high);
  Values values(static_cast<std::size_t>(count));
  for (auto& value : values) value = static_cast<double>(static_cast<float>(uniform(engine)));
  return values;
}

// An array on a backend of f64 or f32.
class Array {
 public:
  Array(Backend& backend, const Values& values) : Array(backend, static_cast<std::int64_t>(values.size())) {
    const std::vector<float> narrow(values.begin(), values.end());
    const void* const host = wide_ ? static_cast<const void*>(values.data()) : narrow.data();
    if (count_ > 0) backend.upload(data(), host, buffer_.bytes());
  }
  // Full of NaN.
  Array(Backend& backend, std::int64_t count)
      : backend_(backend),
        wide_(backend.activation_type() == DType::f64),
        count_(static_cast<std::size_t>(count)) {
    const std::vector<unsigned char> poison(count_ * (wide_ ? 8 : 4), 0xff);
    buffer_ = DeviceBuffer(backend, poison.size());
    if (count > 0) backend.upload(data(), poison.data(), poison.size());
  }
  void* data() const { return count_ == 0 ? nullptr : buffer_.at(); }
  Values read() const {
    backend_.synchronize();
    Values values(count_);
    if (wide_) {
      backend_.download(values.data(), buffer_.at(), buffer_.bytes());
    } else {
      std::vector<float> narrow(count_);
      backend_.download(narrow.data(), buffer_.at(), buffer_.bytes());
      std::copy(narrow.begin(), narrow.end(), values.begin());
    }
    return values;
  }

 private:
  Backend& backend_;
  bool wide_;
  std::size_t count_;
  DeviceBuffer buffer_;
};

// Scratch full of NaN.
class Scratch {
 public:
  Scratch(Backend& backend, std::size_t bytes) : buffer_(backend, bytes) {
    const std::vector<unsigned char> poison(bytes, 0xff);
    if (bytes > 0) backend.upload(buffer_.at(), poison.data(), bytes);
  }
  void* data() const { return buffer_.at(); }

 private:
  DeviceBuffer buffer_;
};

// This rank's rows of [batch, length, width].
inline Values shard(const Values& whole, const Sharding& s, std::int64_t batch, std::int64_t width,
                    int rank) {
  Values local;
  const std::int64_t rows = s.piece_length();
  for (std::int64_t b = 0; b < batch; ++b) {
    for (int slot = 0; slot < s.pieces_a_rank(); ++slot) {
      const auto from = whole.begin() + (b * s.length + s.start(s.piece(rank, slot))) * width;
      local.insert(local.end(), from, from + rows * width);
    }
  }
  return local;
}

// [batch, length, width] from the local rows of all ranks.
inline Values gather(Communicator& ranks, const Values& local, const Sharding& s, std::int64_t batch,
                     std::int64_t width) {
  Values all(local.size() * static_cast<std::size_t>(s.ranks)), whole(all.size());
  ranks.all_gather(local.data(), all.data(), static_cast<std::int64_t>(local.size()), DType::f64);
  auto from = all.begin();
  for (int rank = 0; rank < s.ranks; ++rank) {
    for (std::int64_t b = 0; b < batch; ++b) {
      for (int slot = 0; slot < s.pieces_a_rank(); ++slot) {
        const std::int64_t count = s.piece_length() * width;
        std::copy_n(from, count, whole.begin() + (b * s.length + s.start(s.piece(rank, slot))) * width);
        from += count;
      }
    }
  }
  return whole;
}

inline double tolerance(const Backend& backend) {
  return backend.activation_type() == DType::f64 ? 1e-12 : 1e-5;
}

inline void require(bool holds, const Communicator& ranks, const std::string& what) {
  if (!holds)
    throw Error("check", what + " (rank " + std::to_string(ranks.rank()) + " of " +
                             std::to_string(ranks.size()) + ")");
}

inline void require_equal(Communicator& ranks, const Backend& backend, const Named& actual,
                          const Named& expected, const std::string& what) {
  for (const auto& [name, values] : expected) {
    const double error = relative_error(actual.at(name), values);
    require(error < tolerance(backend), ranks, what + ": " + name + " is off by " + std::to_string(error));
  }
}

inline std::string name_of(SequenceOrder order) {
  return order == SequenceOrder::zigzag ? "zig-zag" : "contiguous";
}

inline std::string name_of(ContextStrategy strategy) {
  switch (strategy) {
    case ContextStrategy::point_to_point:
      return "point to point";
    case ContextStrategy::state:
      return "state";
    case ContextStrategy::all_to_all:
      return "all-to-all";
    case ContextStrategy::fourier:
      return "Fourier transform";
    case ContextStrategy::ring:
      return "ring";
  }
  return "";
}

}  // namespace context_checks
