#include "races.h"

#include <algorithm>
#include <cstdio>
#include <unordered_map>
#include <utility>

#include "emulation.h"

extern char __data_start, _end;  // of the linker

namespace emulation::races {
namespace {

struct Step {
  int thread = -1;
  std::uint32_t time = 0;
  const void* code = nullptr;
};
struct Place {
  Step written;
  std::vector<Step> read;
};

constexpr std::uintptr_t kPlaceBytes = 2;

std::vector<Clock> clocks;  // by thread
std::unordered_map<std::uintptr_t, Place> static_places;
std::vector<Place> dynamic_shared_places;
std::string report;

std::uintptr_t in_dynamic_shared(std::uintptr_t address) {
  return address - reinterpret_cast<std::uintptr_t>(dynamic_shared());
}
// Where the program's static variables are.
bool is_static(std::uintptr_t address) {
  return address >= reinterpret_cast<std::uintptr_t>(&__data_start) &&
         address < reinterpret_cast<std::uintptr_t>(&_end);
}

Place& place_at(std::uintptr_t address) {
  const std::uintptr_t offset = in_dynamic_shared(address);
  return offset < kShared ? dynamic_shared_places[offset / kPlaceBytes]
                          : static_places[address / kPlaceBytes];
}

bool is_before(const Step& step, const Clock& now) {
  return step.thread < 0 || step.time <= now[step.thread];
}

void tell(const Step& before, bool wrote, const Step& now, bool writes, std::uintptr_t address) {
  if (!report.empty()) return;
  const std::uintptr_t offset = in_dynamic_shared(address);
  char text[300];
  std::snprintf(
      text, sizeof text,
      "race: thread %d %s what thread %d %s, with nothing between them, at %s%#zx in block (%u, %u, %u); "
      "where: addr2line -Cfie PROGRAM %p %p",
      now.thread, writes ? "writes" : "reads", before.thread, wrote ? "wrote" : "read",
      offset < kShared ? "dynamic shared memory + " : "",
      static_cast<std::size_t>(offset < kShared ? offset : address), block().x, block().y, block().z,
      before.code, now.code);
  report = text;
}

void look_at(Place& place, std::uintptr_t address, const Step& now, bool writes) {
  const Clock& clock = clocks[now.thread];
  if (!is_before(place.written, clock)) tell(place.written, true, now, writes, address);
  if (writes) {
    for (const Step& reader : place.read) {
      if (!is_before(reader, clock)) tell(reader, false, now, true, address);
    }
    place.read.clear();
    place.written = now;
    return;
  }
  // Readers before this one need not be remembered: who comes after this one comes after them.
  if (!place.read.empty() && place.read.back().thread == now.thread && place.read.back().time == now.time)
    return;
  std::erase_if(place.read, [&](const Step& reader) { return is_before(reader, clock); });
  place.read.push_back(now);
}

void join(Clock& into, const Clock& from) {
  into.resize(from.size(), 0);
  for (std::size_t i = 0; i < from.size(); ++i) into[i] = std::max(into[i], from[i]);
}

}  // namespace

void start_block(int threads) {
  clocks.assign(threads, Clock(threads, 0));
  for (int i = 0; i < threads; ++i) clocks[i][i] = 1;
  static_places.clear();
  dynamic_shared_places.assign(kShared / kPlaceBytes, Place{});
}

void release(int thread, Clock& clock) {
  Clock& mine = clocks[thread];
  join(clock, mine);
  mine[thread] += 1;
}

void acquire(int thread, const Clock& clock) { join(clocks[thread], clock); }

void access(const void* where, std::size_t bytes, bool writes, const void* code) {
  const int thread = thread_index();
  const auto address = reinterpret_cast<std::uintptr_t>(where);
  if (thread < 0 || !(in_dynamic_shared(address) < kShared || is_static(address))) return;
  const Step now{thread, clocks[thread][thread], code};
  for (std::uintptr_t at = address & ~(kPlaceBytes - 1); at < address + bytes; at += kPlaceBytes) {
    look_at(place_at(at), at, now, writes);
  }
}

std::string take_report() { return std::exchange(report, {}); }

}  // namespace emulation::races

// What -fsanitize=thread makes the compiler call at every access; kernels are compiled with it, and linked
// with these in place of its library.
extern "C" {
#define STRIPED_ACCESS(bytes)                                                \
  void __tsan_read##bytes(void* at) {                                        \
    emulation::races::access(at, bytes, false, __builtin_return_address(0)); \
  }                                                                          \
  void __tsan_write##bytes(void* at) {                                       \
    emulation::races::access(at, bytes, true, __builtin_return_address(0));  \
  }                                                                          \
  void __tsan_unaligned_read##bytes(void* at) { __tsan_read##bytes(at); }    \
  void __tsan_unaligned_write##bytes(void* at) { __tsan_write##bytes(at); }
STRIPED_ACCESS(1)
STRIPED_ACCESS(2)
STRIPED_ACCESS(4)
STRIPED_ACCESS(8)
STRIPED_ACCESS(16)
void __tsan_read_range(void* at, std::size_t bytes) {
  emulation::races::access(at, bytes, false, __builtin_return_address(0));
}
void __tsan_write_range(void* at, std::size_t bytes) {
  emulation::races::access(at, bytes, true, __builtin_return_address(0));
}
void __tsan_init() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit(void*) {}
char __tsan_atomic8_load(const volatile char* at, int) { return *at; }
}
