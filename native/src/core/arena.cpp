#include "core/arena.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

namespace striped {
namespace {

constexpr std::size_t kAlignment = 256;

using Entry = Arena::Entry;
using Precedes = std::function<bool(const Entry&, const Entry&)>;

int lifetime(const Entry& entry) { return entry.last - entry.first; }

bool larger(const Entry& a, const Entry& b) { return a.bytes > b.bytes; }

bool longer(const Entry& a, const Entry& b) { return lifetime(a) > lifetime(b); }

// The largest first, which is nearly always best. Where it leaves gaps: of the same size those that are
// needed longest first; those in any case; or first what is needed when half of the ticks are over. That is
// mostly what the forward pass keeps for the backward pass, where the first to come is the last to go, so
// that in the order of its lifetimes it leaves no gap.
std::vector<Precedes> orders(const std::vector<Entry>& entries) {
  int end = 0;
  for (const Entry& entry : entries) end = std::max(end, entry.last);
  const auto kept = [half = end / 2](const Entry& e) { return e.first <= half && half <= e.last; };
  return {
      larger,
      [](const Entry& a, const Entry& b) { return a.bytes != b.bytes ? larger(a, b) : longer(a, b); },
      longer,
      [kept](const Entry& a, const Entry& b) {
        return kept(a) != kept(b) ? kept(a) : kept(a) ? longer(a, b) : larger(a, b);
      },
  };
}

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

std::size_t Arena::most_at_once() const {
  std::map<int, std::ptrdiff_t> changes;
  for (const Entry& entry : entries_) {
    if (entry.first < 0) continue;
    changes[entry.first] += static_cast<std::ptrdiff_t>(entry.bytes);
    changes[entry.last + 1] -= static_cast<std::ptrdiff_t>(entry.bytes);
  }
  std::ptrdiff_t now = 0, most = 0;
  for (const auto& [tick, change] : changes) most = std::max(most, now += change);
  return static_cast<std::size_t>(most);
}

std::size_t Arena::place_in(const std::vector<std::size_t>& order) {
  std::vector<const Entry*> placed;  // by offset
  std::size_t size = 0;
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
    size = std::max(size, entry.offset + entry.bytes);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), &entry,
                                   [](const Entry* a, const Entry* b) { return a->offset < b->offset; }),
                  &entry);
  }
  return size;
}

void Arena::place() {
  const std::size_t least = most_at_once();
  size_ = std::numeric_limits<std::size_t>::max();
  std::vector<std::size_t> best;
  for (const Precedes& precedes : orders(entries_)) {
    std::vector<std::size_t> order(entries_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return precedes(entries_[a], entries_[b]); });
    if (const std::size_t size = place_in(order); size < size_) {
      size_ = size;
      best = std::move(order);
    }
    if (size_ == least) return;
  }
  place_in(best);
}

}  // namespace striped
