// A flat array over a stretch of the parameter table's offsets: all of it, or one part of every range.
#pragma once

#include "core/device_buffer.h"
#include "core/parameters.h"

namespace striped {

class Flat {
 public:
  struct Extent {
    std::int64_t first = 0, count = 0;  // offsets that it covers
    bool in_parts = false;
    std::size_t element = 0;  // bytes; 0: there is no such array
    Place part;
    std::int64_t elements() const { return in_parts ? count / part.count : count; }
    std::size_t bytes() const { return static_cast<std::size_t>(elements()) * element; }
  };

  Flat() = default;
  Flat(Backend& backend, const Extent& extent) : extent_(extent), buffer_(backend, extent.bytes()) {
    buffer_.zero();
  }

  bool exists() const { return buffer_.bytes() > 0; }
  bool in_parts() const { return extent_.in_parts; }
  std::size_t bytes() const { return buffer_.bytes(); }
  std::size_t element() const { return extent_.element; }
  void zero() { buffer_.zero(); }

  // At an offset of the table; only where the array is whole.
  void* at(std::int64_t offset) const { return place(offset - extent_.first); }
  // This rank's part of a range, range.count / parts elements.
  void* own(const ParameterRange& range) const {
    const std::int64_t offset = range.offset - extent_.first;
    return place(extent_.in_parts ? offset / extent_.part.count
                                  : offset + extent_.part.index * (range.count / extent_.part.count));
  }
  void* begin() const { return buffer_.at(); }

 private:
  void* place(std::int64_t element) const {
    return buffer_.at(static_cast<std::size_t>(element) * extent_.element);
  }

  Extent extent_;
  DeviceBuffer buffer_;
};

}  // namespace striped
