// Cuts one buffer into aligned parts; over no buffer, it tells how large one must be.
#pragma once

#include <cstddef>
#include <cstdint>

#include "striped/backend.h"

namespace striped::parallel {

class Carver {
 public:
  explicit Carver(void* base = nullptr) : base_(static_cast<std::byte*>(base)) {}

  void* take(std::int64_t values, DType type) {
    return take_bytes(static_cast<std::size_t>(values) * size_of(type));
  }
  void* take_bytes(std::size_t bytes) {
    constexpr std::size_t unit = 256;
    void* const part = base_ == nullptr ? nullptr : base_ + used_;
    used_ += (bytes + unit - 1) / unit * unit;
    return part;
  }
  std::size_t used() const { return used_; }

 private:
  std::byte* base_;
  std::size_t used_ = 0;
};

}  // namespace striped::parallel
