// Memory planned before it is used: buffers with lifetimes get places in one allocation, and the same table
// says what is needed.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace striped {

class Arena {
 public:
  using Buffer = int;

  // A buffer that no tick has used yet takes no space.
  Buffer add(std::string name, std::size_t bytes);
  // Notes that the buffer is needed at this tick (ticks never decrease).
  void use(Buffer buffer, int tick);
  // Gives every used buffer a place: one after the other into the tightest gap that is free over its
  // lifetime, in that of a few orders which needs least.
  void place();

  std::size_t size() const { return size_; }
  std::size_t offset(Buffer buffer) const { return entries_[static_cast<std::size_t>(buffer)].offset; }

  struct Entry {
    std::string name;
    std::size_t bytes;
    int first = -1, last = -1;  // ticks; -1: never used
    std::size_t offset = 0;
  };
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  // The most that is needed at any tick, which no placement is below.
  std::size_t most_at_once() const;
  // Places the entries in this order; how much they take.
  std::size_t place_in(const std::vector<std::size_t>& order);

  std::vector<Entry> entries_;
  std::size_t size_ = 0;
};

}  // namespace striped
