// That the emulation finds races where there are some, and none where there are none: small kernels with and
// without what orders their accesses. Exit code 1 when it does not.
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include "ptx.cuh"

namespace {

constexpr int kThreads = 128, kTeam = 64;
namespace ptx = striped::cuda::ptx;

int failed = 0;

// Whether the block's threads race.
bool races(const std::function<void(int*)>& kernel) {
  try {
    emulation::run(dim3(1), dim3(kThreads), kThreads * sizeof(int),
                   [&] { kernel(reinterpret_cast<int*>(ptx::dynamic_shared())); });
  } catch (const std::logic_error& e) {
    if (std::string(e.what()).find("race:") != std::string::npos) return true;
    throw;
  }
  return false;
}

void expect(bool race, const char* what, const std::function<void(int*)>& kernel) {
  if (races(kernel) == race) return;
  std::printf("FAIL %s: a race was %s\n", what, race ? "missed" : "seen");
  failed += 1;
}

int thread() { return static_cast<int>(threadIdx.x); }

// Writes, then reads what the thread `distance` further wrote.
template <class Between>
std::function<void(int*)> exchange(int distance, const Between& between) {
  return [=](int* shared) {
    shared[thread()] = thread();
    between();
    static volatile int read[kThreads];
    read[thread()] = shared[(thread() + distance) % kThreads];
  };
}

void check_barriers() {
  const auto team_barrier = [] { ptx::barrier_sync(1 + thread() / kTeam, kTeam); };
  expect(false, "all wait", exchange(1, [] { __syncthreads(); }));
  expect(true, "nobody waits", exchange(1, [] {}));
  expect(true, "a team waits, another team's value", exchange(kTeam, team_barrier));
  expect(false, "a team waits, the team's value", [=](int* shared) {
    shared[thread()] = 1;
    team_barrier();
    const int other = shared[thread() ^ 32];
    team_barrier();
    shared[thread()] = other;
  });
  expect(true, "a warp's barrier, another warp's value", exchange(32, [] { __syncwarp(); }));
  expect(true, "a shuffle orders nothing", exchange(1, [] { __shfl_sync(~0u, 1, 0); }));
  expect(false, "a warp's barrier, the warp's value", [](int* shared) {
    shared[thread()] = 1;
    __syncwarp();
    const int other = shared[thread() ^ 1];
    __syncwarp();
    shared[thread()] = other;
  });
}

// One team produces, the other consumes; `again`: the producers write anew without waiting for the consumers.
std::function<void(int*)> produce(bool again) {
  return [=](int* shared) {
    if (thread() < kTeam) {
      shared[thread()] = 1;
      ptx::barrier_sync(3, kThreads);
      if (again) shared[thread()] = 2;
    } else {
      ptx::barrier_sync(3, kThreads);
      shared[thread()] = shared[thread() - kTeam];
    }
  };
}

// Every fourth thread copies 16 bytes, the next one reads of them.
std::function<void(int*)> copy(bool waits) {
  return [=](int* shared) {
    static const int source[4] = {};
    if (thread() % 4 == 0) ptx::copy_async(ptx::shared_address(shared + thread()), source, true);
    ptx::copy_async_commit();
    if (waits) ptx::copy_async_wait<0>();
    __syncthreads();
    if (thread() % 4 == 1) ptx::load_shared(ptx::shared_address(shared + thread()));
  };
}

void check_sizes() {
  const auto halves = [](int* shared) { return reinterpret_cast<short*>(shared); };
  expect(false, "each its half of a word", [=](int* shared) { halves(shared)[thread()] = 1; });
  expect(true, "a half, then the word", [=](int* shared) {
    if (thread() == 0) halves(shared)[1] = 1;
    if (thread() == 1) shared[0] = 1;
  });
  expect(true, "a word, then its second half", [=](int* shared) {
    if (thread() == 0) shared[0] = 1;
    if (thread() == 1) halves(shared)[1] = 1;
  });
}

// All read a value again and again, then one writes it.
std::function<void(int*)> many_readers(bool waits) {
  return [=](int* shared) {
    static volatile int read[kThreads];
    for (int i = 0; i < 10; ++i) {
      read[thread()] = *static_cast<volatile int*>(shared);
      __syncwarp();
    }
    if (waits) __syncthreads();
    if (thread() == 40) shared[0] = 1;
  };
}

}  // namespace

int main() {
  check_barriers();
  check_sizes();
  expect(false, "many readers waited for", many_readers(true));
  expect(true, "many readers not waited for", many_readers(false));
  expect(false, "consumers wait for producers", produce(false));
  expect(true, "producers do not wait for consumers", produce(true));
  expect(false, "a copy waited for", copy(true));
  // Copies are late only where the order is random.
  if (std::getenv("STRIPED_EMULATED_ORDER") != nullptr) expect(true, "a copy not waited for", copy(false));
  std::printf("%d failed\n", failed);
  return failed == 0 ? 0 : 1;
}
