// Sequences on one device and spread over ranks: inputs, both runs, and what is compared.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "bf16_values.h"
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

inline double round_to(DType type, double value) {
  const auto single = static_cast<float>(value);
  return static_cast<double>(type == DType::bf16 ? test_values::from_bf16(test_values::to_bf16(single))
                                                 : single);
}

// That `type` holds exactly.
inline Values random_values(std::int64_t count, unsigned seed, double low = -1, double high = 1,
                            DType type = DType::f32) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> uniform(low, high);
  Values values(static_cast<std::size_t>(count));
  for (auto& value : values) value = round_to(type, uniform(engine));
  return values;
}

// The values as they lie in memory, and back.
inline std::vector<unsigned char> encode(const Values& values, DType type) {
  std::vector<unsigned char> bytes(values.size() * size_of(type));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto single = static_cast<float>(values[i]);
    const std::uint16_t half = test_values::to_bf16(single);
    const void* const value = type == DType::f64   ? static_cast<const void*>(&values[i])
                              : type == DType::f32 ? static_cast<const void*>(&single)
                                                   : &half;
    std::memcpy(&bytes[i * size_of(type)], value, size_of(type));
  }
  return bytes;
}

inline Values decode(const std::vector<unsigned char>& bytes, DType type) {
  Values values(bytes.size() / size_of(type));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const unsigned char* const from = &bytes[i * size_of(type)];
    float single;
    std::uint16_t half;
    if (type == DType::f64) {
      std::memcpy(&values[i], from, sizeof(double));
    } else if (type == DType::f32) {
      std::memcpy(&single, from, sizeof single);
      values[i] = static_cast<double>(single);
    } else {
      std::memcpy(&half, from, sizeof half);
      values[i] = static_cast<double>(test_values::from_bf16(half));
    }
  }
  return values;
}

// An array on a backend, of activations where no other type is given.
class Array {
 public:
  Array(Backend& backend, const Values& values) : Array(backend, values, backend.activation_type()) {}
  Array(Backend& backend, const Values& values, DType type)
      : Array(backend, static_cast<std::int64_t>(values.size()), type) {
    if (!values.empty()) backend.upload(data(), encode(values, type).data(), buffer_.bytes());
  }
  // Full of NaN.
  Array(Backend& backend, std::int64_t count) : Array(backend, count, backend.activation_type()) {}
  Array(Backend& backend, std::int64_t count, DType type)
      : backend_(backend), type_(type), buffer_(backend, static_cast<std::size_t>(count) * size_of(type)) {
    const std::vector<unsigned char> poison(buffer_.bytes(), 0xff);
    if (count > 0) backend.upload(data(), poison.data(), poison.size());
  }
  void* data() const { return buffer_.at(); }
  Values read() const {
    std::vector<unsigned char> bytes(buffer_.bytes());
    backend_.synchronize();
    if (!bytes.empty()) backend_.download(bytes.data(), buffer_.at(), bytes.size());
    return decode(bytes, type_);
  }

 private:
  Backend& backend_;
  DType type_;
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

// In bf16, ranks that exchange what is convolved, or its result, round it once more than one device does.
// Errors of many roundings even out; an array of few values has the error of a few of them.
inline double tolerance(DType activations, std::size_t values) {
  constexpr std::size_t kMany = 1000;
  if (activations != DType::bf16) return activations == DType::f64 ? 1e-12 : 1e-5;
  return values < kMany ? 2.5e-2 : 1e-2;
}

// What a check came to.
struct Findings {
  void note(bool good, const std::string& what) {
    ++compared;
    if (!good && wrong.empty()) wrong = what;
  }

  int compared = 0;
  double largest = 0;  // error
  std::string wrong;   // the first that was; empty: all was right
};

// What a check has on each rank.
struct Setting {
  Communicator& world;  // over this machine's memory
  Communicator& ranks;  // over the backend's
  Backend& backend;
  Backend& reference;  // on this machine in fp64: has the whole sequences, of the first rank
  Findings& findings;

  DType type() const { return backend.activation_type(); }
  // The first rank compares: all of them have the same.
  bool compares() const { return world.rank() == 0; }
};

inline void require_equal(const Setting& s, const Named& actual, const Named& expected,
                          const std::string& what) {
  for (const auto& [name, values] : expected) {
    const double error = relative_error(actual.at(name), values);
    s.findings.largest = std::max(s.findings.largest, error);
    char text[32];
    std::snprintf(text, sizeof text, "%.3g", error);
    s.findings.note(error < tolerance(s.type(), values.size()), what + ": " + name + " is off by " + text);
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
