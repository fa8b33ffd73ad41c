#include "rows.h"

#include "launch.h"
#include "vector.cuh"

namespace striped::cuda {
namespace {

constexpr int kThreads = 256;

unsigned blocks_of(std::int64_t threads) { return static_cast<unsigned>(ceil_div(threads, kThreads)); }

__device__ std::int64_t thread_number() {
  return static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}

// Eight values a thread, or what is left of them one by one.
template <class T, bool wide, class Work>
__device__ void for_values(std::int64_t count, const Work& work) {
  constexpr int step = 8;
  const std::int64_t first = thread_number() * step;
  if (first >= count) return;
  if (wide && first + step <= count) {
    work.template operator()<step>(first);
  } else {
    for (std::int64_t i = first; i < first + step && i < count; ++i) work.template operator()<1>(i);
  }
}

template <bool wide>
__global__ void narrow_kernel(std::int64_t count, const float* from, bf16* to) {
  for_values<bf16, wide>(count, [&]<int N>(std::int64_t i) {
    float x[N];
    load_real<N>(from + i, x);
    store<N>(to + i, x);
  });
}

template <class T, bool wide>
__global__ void add_kernel(std::int64_t count, const T* from, float* to) {
  for_values<T, wide>(count, [&]<int N>(std::int64_t i) {
    float sum[N], x[N];
    load_real<N>(to + i, sum);
    if constexpr (N * sizeof(T) > 16) {
      load_real<N>(from + i, x);
    } else {
      load<N>(from + i, x);
    }
#pragma unroll
    for (int j = 0; j < N; ++j) sum[j] += x[j];
    store_real<N>(to + i, sum);
  });
}

bool are_wide(const void* one, const void* other) {
  return (reinterpret_cast<std::uintptr_t>(one) | reinterpret_cast<std::uintptr_t>(other)) % 16 == 0;
}

// Strides and run in units.
template <class Unit>
__global__ void copy_kernel(std::int64_t count, std::int64_t run, const Unit* from, std::int64_t from_stride,
                            Unit* to, std::int64_t to_stride) {
  const std::int64_t i = thread_number();
  if (i >= count) return;
  // Divisions of 64 bits cost as much as the copy.
  const std::int64_t row =
      count <= 0xffffffff ? static_cast<unsigned>(i) / static_cast<unsigned>(run) : i / run;
  const std::int64_t column = i - row * run;
  to[row * to_stride + column] = from[row * from_stride + column];
}

template <class Unit>
void launch_copy(std::int64_t rows, std::int64_t bytes, const void* from, std::int64_t from_stride, void* to,
                 std::int64_t to_stride, cudaStream_t stream) {
  constexpr std::int64_t size = sizeof(Unit);
  const std::int64_t run = bytes / size;
  launch<copy_kernel<Unit>>(blocks_of(rows * run), kThreads, 0, stream, rows * run, run,
                            static_cast<const Unit*>(from), from_stride / size, static_cast<Unit*>(to),
                            to_stride / size);
}

}  // namespace

void to_activations(std::int64_t count, const float* real, ElementType type, void* activations,
                    cudaStream_t stream) {
  if (count == 0) return;
  if (type == ElementType::f32) return copy_rows(1, count * 4, real, 0, activations, 0, stream);
  const unsigned blocks = blocks_of(ceil_div(count, 8));
  auto* const to = static_cast<bf16*>(activations);
  are_wide(real, to) ? launch<narrow_kernel<true>>(blocks, kThreads, 0, stream, count, real, to)
                     : launch<narrow_kernel<false>>(blocks, kThreads, 0, stream, count, real, to);
}

void add_to_real(std::int64_t count, ElementType type, const void* activations, float* real,
                 cudaStream_t stream) {
  if (count == 0) return;
  const unsigned blocks = blocks_of(ceil_div(count, 8));
  const auto call = [&]<class T>() {
    const auto* const from = static_cast<const T*>(activations);
    are_wide(from, real) ? launch<add_kernel<T, true>>(blocks, kThreads, 0, stream, count, from, real)
                         : launch<add_kernel<T, false>>(blocks, kThreads, 0, stream, count, from, real);
  };
  type == ElementType::bf16 ? call.template operator()<bf16>() : call.template operator()<float>();
}

void copy_rows(std::int64_t rows, std::int64_t bytes, const void* from, std::int64_t from_stride, void* to,
               std::int64_t to_stride, cudaStream_t stream) {
  if (rows == 0 || bytes == 0) return;
  // The largest unit that everything is a multiple of.
  const auto all = reinterpret_cast<std::uintptr_t>(from) | reinterpret_cast<std::uintptr_t>(to) |
                   static_cast<std::uintptr_t>(bytes | from_stride | to_stride);
  const auto copy = [&]<class Unit>() {
    launch_copy<Unit>(rows, bytes, from, from_stride, to, to_stride, stream);
  };
  if (all % 16 == 0) return copy.template operator()<uint4>();
  if (all % 8 == 0) return copy.template operator()<uint2>();
  if (all % 4 == 0) return copy.template operator()<std::uint32_t>();
  if (all % 2 == 0) return copy.template operator()<std::uint16_t>();
  copy.template operator()<std::uint8_t>();
}

}  // namespace striped::cuda
