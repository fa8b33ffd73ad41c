// Runs CUDA kernels on the processor, so that their logic is tested where there is no GPU: a thread of a
// kernel is a fiber, blocks run one after the other, and what needs a whole warp (products, matrix moves,
// shuffles) is done when its 32 fibers have met. Included before every source; ptx.cuh and launch.h beside it
// take the place of the engine's.
//
// Nothing says in which order fibers run or when an asynchronous copy happens. Here fibers run in order and
// copies happen at once; with STRIPED_EMULATED_ORDER=SEED fibers run in a random order and copies happen as
// late as allowed. In both, races between a block's threads are errors (races.h).
#pragma once

#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>

#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __shared__
#define __shared__ static  // one block at a time
#define __CUDA_ARCH__ 900

namespace emulation {

constexpr int kWarp = 32;
constexpr std::size_t kShared = 228 * 1024;  // bytes that a block can have

// One block after the other; `kernel` runs in every thread.
void run(dim3 blocks, dim3 threads, std::size_t shared, const std::function<void()>& kernel);

const uint3& thread();
const uint3& block();
const dim3& threads();
const dim3& blocks();
int thread_index();  // of the running thread in its block; -1 where none runs
std::uint8_t* dynamic_shared();

// Meets the warp's other threads; the last one calls `work` with what each brought. All must call with the
// same `work`.
using WarpWork = void (*)(void* const (&lanes)[kWarp]);
void meet_warp(WarpWork work, void* mine);
void sync_warp();
void barrier(int index, int count);  // count 0: all threads of the block

// Asynchronous work of this thread, in groups.
void defer(std::function<void()> copy);
void commit();
void wait_groups(int pending);

// Barriers in shared memory that copies complete on.
void transaction_init(std::uint32_t address, std::uint32_t arrivals);
void transaction_expect(std::uint32_t address, std::uint32_t bytes);
void transaction_copy(std::uint32_t address, std::uint32_t bytes, std::function<void()> copy);
void transaction_wait(std::uint32_t address, std::uint32_t parity);

template <class T>
T shuffle(T value, int source) {
  struct Mine {
    T value, result;
    int source;
  } mine{value, value, source};
  meet_warp(
      [](void* const(&lanes)[kWarp]) {
        for (void* lane : lanes) {
          Mine& m = *static_cast<Mine*>(lane);
          m.result = static_cast<Mine*>(lanes[m.source & 31])->value;
        }
      },
      &mine);
  return mine.result;
}

template <class To, class From>
To bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

}  // namespace emulation

#define threadIdx (::emulation::thread())
#define blockIdx (::emulation::block())
#define blockDim (::emulation::threads())
#define gridDim (::emulation::blocks())

inline int min(int a, int b) { return std::min(a, b); }
inline int max(int a, int b) { return std::max(a, b); }
inline void __syncthreads() { emulation::barrier(0, 0); }
inline void __syncwarp() { emulation::sync_warp(); }
template <class T>
T __shfl_sync(unsigned, T value, int lane) {
  return emulation::shuffle(value, lane);
}
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return emulation::shuffle(value, emulation::thread_index() % emulation::kWarp ^ mask);
}
inline void sincospi(double x, double* sine, double* cosine) {
  const double turn = std::remainder(x, 2.0) * 3.14159265358979323846;
  *sine = std::sin(turn);
  *cosine = std::cos(turn);
}
inline float __uint_as_float(std::uint32_t x) { return emulation::bits<float>(x); }
inline std::uint32_t __float_as_uint(float x) { return emulation::bits<std::uint32_t>(x); }
inline std::uint32_t __byte_perm(std::uint32_t a, std::uint32_t b, std::uint32_t selector) {
  const std::uint64_t both = (static_cast<std::uint64_t>(b) << 32) | a;
  std::uint32_t result = 0;
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t byte = static_cast<std::uint32_t>(both >> ((selector >> (4 * i) & 7) * 8)) & 0xff;
    result |= byte << (8 * i);
  }
  return result;
}
