#include "emulation.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "races.h"

namespace emulation {
namespace {

constexpr std::size_t kStack = 256 * 1024;

struct Fiber {
  ucontext_t start;
  jmp_buf here;  // once it has started: a jump is much cheaper than a change of context
  bool started;
  bool done = false;  // with its kernel, and ready for the next one
  uint3 place;
  int index;
  std::vector<std::function<void()>> group;
  std::deque<std::vector<std::function<void()>>> groups;
};

struct Warp {
  void* lanes[kWarp];
  WarpWork work;
  std::vector<Fiber*> met;
};

struct Named {
  int arrived = 0;
  std::vector<Fiber*> waiting;
  races::Clock clock;
};

struct TransactionCopy {
  std::uint32_t bytes;
  std::function<void()> run;
  races::Clock asked;  // comes after what the asking thread had done, whoever runs it
};

struct Transaction {
  std::uint32_t arrivals, pending, phase = 0;
  std::int64_t bytes = 0;
  std::vector<TransactionCopy> copies;
  std::vector<Fiber*> waiting;
  races::Clock clock;
};

struct Machine {
  bool eager;
  std::mt19937 random;
  dim3 blocks, threads;
  uint3 block;
  std::vector<void*> stacks;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Warp> warps;
  std::map<int, Named> barriers;
  std::map<std::uint32_t, Transaction> transactions;
  std::deque<Fiber*> ready;
  Fiber* current = nullptr;
  jmp_buf scheduler;
  int alive = 0;
  const std::function<void()>* kernel = nullptr;
  std::exception_ptr failure;
  std::uint8_t* shared = nullptr;

  Machine() {
    const char* order = std::getenv("STRIPED_EMULATED_ORDER");
    eager = order == nullptr;
    if (!eager) random.seed(static_cast<unsigned>(std::atoi(order)));
  }
} machine;

[[noreturn]] void fail(const std::string& what) { throw std::logic_error("emulation: " + what); }

void* map_memory(std::size_t bytes, int flags) {
  void* const memory =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  if (memory == MAP_FAILED) fail("no memory");
  return memory;
}

void wake(std::vector<Fiber*>& fibers) {
  for (Fiber* fiber : fibers) machine.ready.push_back(fiber);
  fibers.clear();
}

// Until somebody puts this fiber among the ready ones again.
void sleep_here() {
  if (_setjmp(machine.current->here) == 0) _longjmp(machine.scheduler, 1);
}

void run_until_it_sleeps(Fiber& fiber) {
  machine.current = &fiber;
  if (_setjmp(machine.scheduler) == 0) {
    if (fiber.started) _longjmp(fiber.here, 1);
    fiber.started = true;
    setcontext(&fiber.start);
  }
  machine.current = nullptr;
}

[[noreturn]] void fiber_main() {
  for (;;) {
    try {
      (*machine.kernel)();
      wait_groups(0);
    } catch (...) {
      if (!machine.failure) machine.failure = std::current_exception();
    }
    machine.alive -= 1;
    machine.current->done = true;
    sleep_here();
  }
}

// Of its own for a fiber that is new, or that a failure left in the midst of its kernel.
void make_context(Fiber& fiber, void* stack) {
  fiber.started = false;
  getcontext(&fiber.start);
  fiber.start.uc_stack.ss_sp = stack;
  fiber.start.uc_stack.ss_size = kStack;
  fiber.start.uc_link = nullptr;
  makecontext(&fiber.start, fiber_main, 0);
}

Fiber* next_ready() {
  auto& ready = machine.ready;
  if (!machine.eager) std::swap(ready.front(), ready[machine.random() % ready.size()]);
  Fiber* fiber = ready.front();
  ready.pop_front();
  return fiber;
}

void make_fibers(int count) {
  while (static_cast<int>(machine.fibers.size()) < count) {
    machine.fibers.push_back(std::make_unique<Fiber>());
    machine.stacks.push_back(map_memory(kStack, 0));
  }
  const dim3& t = machine.threads;
  for (int i = 0; i < count; ++i) {
    Fiber& fiber = *machine.fibers[i];
    const auto at = static_cast<unsigned>(i);
    fiber.place = {at % t.x, at / t.x % t.y, at / t.x / t.y};
    fiber.index = i;
    fiber.group.clear();
    fiber.groups.clear();
    if (!std::exchange(fiber.done, false)) make_context(fiber, machine.stacks[i]);
    machine.ready.push_back(&fiber);
  }
}

void run_block() {
  const int count = static_cast<int>(machine.threads.x * machine.threads.y * machine.threads.z);
  machine.ready.clear();
  machine.barriers.clear();
  machine.transactions.clear();
  machine.warps.assign((count + kWarp - 1) / kWarp, Warp{});
  machine.alive = count;
  std::memset(machine.shared, 0xff, kShared);
  make_fibers(count);
  races::start_block(count);
  while (machine.alive > 0) {
    if (machine.failure) std::rethrow_exception(std::exchange(machine.failure, nullptr));
    if (machine.ready.empty()) fail("the block's threads wait for one another for ever");
    run_until_it_sleeps(*next_ready());
  }
  if (machine.failure) std::rethrow_exception(std::exchange(machine.failure, nullptr));
  if (const std::string race = races::take_report(); !race.empty()) fail(race);
}

Transaction& transaction_at(std::uint32_t address) {
  const auto found = machine.transactions.find(address);
  if (found == machine.transactions.end()) fail("barrier used before it was made");
  return found->second;
}

void complete_if_done(Transaction& t) {
  if (t.pending > 0 || t.bytes != 0) return;
  t.phase += 1;
  t.pending = t.arrivals;
  wake(t.waiting);
}

void run_copies(Transaction& t) {
  auto copies = std::move(t.copies);
  t.copies.clear();
  for (const TransactionCopy& copy : copies) {
    races::acquire(thread_index(), copy.asked);
    copy.run();
    t.bytes -= copy.bytes;
    races::release(thread_index(), t.clock);
  }
  complete_if_done(t);
}

}  // namespace

void run(dim3 blocks, dim3 threads, std::size_t shared, const std::function<void()>& kernel) {
  if (shared > kShared) fail("more shared memory than a block can have");
  if (machine.shared == nullptr) {
    machine.shared = static_cast<std::uint8_t*>(map_memory(kShared, MAP_32BIT));  // addresses have 32 bits
  }
  machine.blocks = blocks;
  machine.threads = threads;
  machine.kernel = &kernel;
  for (unsigned z = 0; z < blocks.z; ++z) {
    for (unsigned y = 0; y < blocks.y; ++y) {
      for (unsigned x = 0; x < blocks.x; ++x) {
        machine.block = {x, y, z};
        run_block();
      }
    }
  }
}

const uint3& thread() { return machine.current->place; }
const uint3& block() { return machine.block; }
const dim3& threads() { return machine.threads; }
const dim3& blocks() { return machine.blocks; }
int thread_index() { return machine.current == nullptr ? -1 : machine.current->index; }
std::uint8_t* dynamic_shared() { return machine.shared; }

void meet_warp(WarpWork work, void* mine) {
  Fiber* const self = machine.current;
  Warp& warp = machine.warps[self->index / kWarp];
  if (!warp.met.empty() && warp.work != work) fail("threads of a warp are at different instructions");
  warp.work = work;
  warp.lanes[self->index % kWarp] = mine;
  warp.met.push_back(self);
  if (static_cast<int>(warp.met.size()) < kWarp) return sleep_here();
  work(warp.lanes);
  warp.met.pop_back();
  wake(warp.met);
}

void sync_warp() {
  meet_warp(
      [](void* const(&)[kWarp]) {
        races::Clock clock;
        const int first = machine.current->index / kWarp * kWarp;
        for (int i = first; i < first + kWarp; ++i) races::release(i, clock);
        for (int i = first; i < first + kWarp; ++i) races::acquire(i, clock);
      },
      nullptr);
}

void barrier(int index, int count) {
  Named& barrier = machine.barriers[index];
  Fiber* const self = machine.current;
  races::release(self->index, barrier.clock);
  barrier.arrived += 1;
  barrier.waiting.push_back(self);
  if (barrier.arrived < (count == 0 ? machine.alive : count)) return sleep_here();
  for (Fiber* fiber : barrier.waiting) races::acquire(fiber->index, barrier.clock);
  barrier.clock.clear();
  barrier.arrived = 0;
  barrier.waiting.pop_back();
  wake(barrier.waiting);
}

void defer(std::function<void()> copy) {
  if (machine.eager) return copy();
  machine.current->group.push_back(std::move(copy));
}
void commit() {
  machine.current->groups.push_back(std::move(machine.current->group));
  machine.current->group.clear();
}
void wait_groups(int pending) {
  auto& groups = machine.current->groups;
  while (static_cast<int>(groups.size()) > pending) {
    for (auto& copy : groups.front()) copy();
    groups.pop_front();
  }
}

void transaction_init(std::uint32_t address, std::uint32_t arrivals) {
  Transaction& t = machine.transactions[address];
  t = Transaction{};
  t.arrivals = t.pending = arrivals;
}
void transaction_expect(std::uint32_t address, std::uint32_t bytes) {
  Transaction& t = transaction_at(address);
  races::release(thread_index(), t.clock);
  t.bytes += bytes;
  t.pending -= 1;
  complete_if_done(t);
}
void transaction_copy(std::uint32_t address, std::uint32_t bytes, std::function<void()> copy) {
  Transaction& t = transaction_at(address);
  t.copies.push_back({bytes, std::move(copy), {}});
  races::release(thread_index(), t.copies.back().asked);
  if (machine.eager) run_copies(t);
}
void transaction_wait(std::uint32_t address, std::uint32_t parity) {
  Transaction& t = transaction_at(address);
  while (t.phase % 2 == parity) {
    const std::uint32_t phase = t.phase;
    run_copies(t);
    if (t.phase != phase) continue;
    t.waiting.push_back(machine.current);
    sleep_here();
  }
  races::acquire(thread_index(), t.clock);
}

}  // namespace emulation
