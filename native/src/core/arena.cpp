#include "core/arena.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace striped {
namespace {

constexpr std::size_t kAlignment = 256;

}  // namespace

Arena::Buffer Arena::add(std::string name, std::size_t bytes) {
  entries_.push_back({std::move(name), (bytes + kAlignment - 1) / kAlignment * kAlignment});
  return static_cast<Buffer>(entries_.size()) - 1;
}

void Arena::use(Buffer buffer, int tick) {
  Entry& entry = entries_[static_cast<std::size_t>(buffer)];
  if (entry.first < 0) entry.first = tick;
  entry.last = tick;
}

void Arena::place() {
  std::vector<std::size_t> order(entries_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return entries_[a].bytes > entries_[b].bytes; });
  std::vector<const Entry*> placed;  // by offset
  size_ = 0;
  for (const std::size_t index : order) {
    Entry& entry = entries_[index];
    if (entry.first < 0) continue;
    std::size_t end = 0, tightest = std::numeric_limits<std::size_t>::max();
    bool found = false;
    for (const Entry* other : placed) {
      if (other->last < entry.first || other->first > entry.last) continue;
      if (other->offset >= end + entry.bytes && other->offset - end < tightest) {
        tightest = other->offset - end;
        entry.offset = end;
        found = true;
      }
      end = std::max(end, other->offset + other->bytes);
    }
    if (!found) entry.offset = end;
    size_ = std::max(size_, entry.offset + entry.bytes);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), &entry,
                                   [](const Entry* a, const Entry* b) { return a->offset < b->offset; }),
                  &entry);
  }
}

}  // namespace striped
