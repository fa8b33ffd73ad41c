#include "races.h"

#include <algorithm>
#include <cstdio>
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
struct History {
  Step written;
  std::vector<Step> read;
  std::size_t most_read = 0;  // so many, and they are gone through
};
// Its halves have one history until one of them is accessed alone.
struct Word {
  std::uint64_t block = 0;  // what is remembered of an earlier block is void
  bool split = false;
  History halves[2];
};

constexpr std::uintptr_t kHalf = 2, kWord = 2 * kHalf;  // bytes
constexpr std::size_t kFewReaders = 16;

std::uint64_t current_block = 0;
std::vector<Clock> clocks;  // by thread
std::vector<Word> static_words, dynamic_shared_words;
std::string report;

std::uintptr_t in_dynamic_shared(std::uintptr_t address) {
  return address - reinterpret_cast<std::uintptr_t>(dynamic_shared());
}
// Of the program's static variables.
std::uintptr_t in_static(std::uintptr_t address) {
  return address - reinterpret_cast<std::uintptr_t>(&__data_start);
}
std::uintptr_t static_bytes() { return in_static(reinterpret_cast<std::uintptr_t>(&_end)); }

// Null where no memory is that threads of a block share.
Word* word_at(std::uintptr_t address) {
  Word* word = nullptr;
  if (const std::uintptr_t dynamic = in_dynamic_shared(address); dynamic < kShared) {
    word = &dynamic_shared_words[dynamic / kWord];
  } else if (const std::uintptr_t fixed = in_static(address); fixed < static_bytes()) {
    word = &static_words[fixed / kWord];
  } else {
    return nullptr;
  }
  if (word->block != current_block) {
    word->block = current_block;
    word->split = false;
    word->halves[0].written = {};
    word->halves[0].read.clear();
    word->halves[0].most_read = kFewReaders;
  }
  return word;
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

// Leaves of each thread the last reading. Those before `now` need not be remembered: who comes after it comes
// after them.
void forget(std::vector<Step>& read, const Clock& now) {
  static std::vector<std::uint32_t> last;
  last.assign(now.size(), 0);
  for (const Step& reader : read) last[reader.thread] = std::max(last[reader.thread], reader.time);
  std::erase_if(read, [&](const Step& reader) {
    if (is_before(reader, now) || reader.time < last[reader.thread]) return true;
    last[reader.thread] = reader.time + 1;  // of several at the same time, one
    return false;
  });
}

void look_at(History& history, std::uintptr_t address, const Step& now, bool writes) {
  const Clock& clock = clocks[now.thread];
  if (!is_before(history.written, clock)) tell(history.written, true, now, writes, address);
  if (writes) {
    for (const Step& reader : history.read) {
      if (!is_before(reader, clock)) tell(reader, false, now, true, address);
    }
    history.read.clear();
    history.written = now;
    return;
  }
  if (!history.read.empty() && history.read.back().thread == now.thread &&
      history.read.back().time == now.time)
    return;
  if (history.read.size() >= history.most_read) {
    forget(history.read, clock);
    history.most_read = std::max(kFewReaders, 2 * history.read.size());
  }
  history.read.push_back(now);
}

void join(Clock& into, const Clock& from) {
  into.resize(from.size(), 0);
  for (std::size_t i = 0; i < from.size(); ++i) into[i] = std::max(into[i], from[i]);
}

}  // namespace

void start_block(int threads) {
  clocks.assign(threads, Clock(threads, 0));
  for (int i = 0; i < threads; ++i) clocks[i][i] = 1;
  static_words.resize(static_bytes() / kWord + 1);
  dynamic_shared_words.resize(kShared / kWord);
  current_block += 1;
}

void release(int thread, Clock& clock) {
  Clock& mine = clocks[thread];
  join(clock, mine);
  mine[thread] += 1;
}

void acquire(int thread, const Clock& clock) { join(clocks[thread], clock); }

void access(const void* where, std::size_t bytes, bool writes, const void* code) {
  const int thread = thread_index();
  if (thread < 0) return;
  const Step now{thread, clocks[thread][thread], code};
  const auto address = reinterpret_cast<std::uintptr_t>(where), end = address + bytes;
  for (std::uintptr_t at = address & ~(kWord - 1); at < end; at += kWord) {
    Word* const word = word_at(at);
    if (word == nullptr) return;
    const std::uintptr_t middle = at + kHalf;
    const bool first = address < middle, second = middle < end;
    if (!word->split && !(first && second)) {
      word->split = true;
      word->halves[1] = word->halves[0];
    }
    if (first) look_at(word->halves[0], at, now, writes);
    if (second && word->split) look_at(word->halves[1], middle, now, writes);
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
