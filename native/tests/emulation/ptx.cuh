// Takes the place of src/cuda/ptx.cuh: the same functions on the processor.
#pragma once

#include "emulation.h"
#include "races.h"

namespace striped::cuda::ptx {

namespace detail {

inline float value(std::uint32_t pair, int half) {
  return __uint_as_float(half == 0 ? pair << 16 : pair & 0xffff0000u);
}
inline std::uint16_t half(std::uint32_t pair, int which) {
  return static_cast<std::uint16_t>(pair >> (16 * which));
}
template <class T>
T& at(std::uint32_t address) {
  return *reinterpret_cast<T*>(static_cast<std::uintptr_t>(address));
}
// Says that `bytes` at `address` are read or written, and where they are.
[[gnu::noinline]] inline void* touch(std::uint32_t address, std::size_t bytes, bool writes) {
  void* const place = &at<char>(address);
  ::emulation::races::access(place, bytes, writes, __builtin_return_address(0));
  return place;
}

// Element-wise on pairs, each result rounded once.
template <class F>
std::uint32_t pairwise(const F& f) {
  const auto rounded = [](double x) {
    // To odd in fp32 first, so that the second rounding is the only one that counts.
    float narrow = static_cast<float>(x);
    if (static_cast<double>(narrow) != x && std::isfinite(narrow)) {
      if (std::fabs(static_cast<double>(narrow)) > std::fabs(x)) narrow = std::nextafterf(narrow, 0.0f);
      narrow = __uint_as_float(__float_as_uint(narrow) | 1);
    }
    return narrow;
  };
  const __nv_bfloat162 pair = __floats2bfloat162_rn(rounded(f(0)), rounded(f(1)));
  return ::emulation::bits<std::uint32_t>(pair);
}

}  // namespace detail

inline std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(pointer));
}
inline std::uint8_t* dynamic_shared() { return ::emulation::dynamic_shared(); }

inline std::uint32_t kept(std::uint32_t x) { return x; }

inline void rarely() {}

inline std::uint32_t load_shared(std::uint32_t address) {
  std::uint32_t value;
  std::memcpy(&value, detail::touch(address, sizeof value, false), sizeof value);
  return value;
}
inline std::uint32_t load_shared_anew(std::uint32_t address) { return load_shared(address); }
inline void load_shared_anew(std::uint32_t (&v)[4], std::uint32_t address) {
  std::memcpy(v, detail::touch(address, sizeof v, false), sizeof v);
}
inline void load_shared(std::uint32_t (&v)[4], std::uint32_t address) {
  std::memcpy(v, detail::touch(address, sizeof v, false), sizeof v);
}
inline void store_shared(std::uint32_t address, std::uint32_t value) {
  std::memcpy(detail::touch(address, sizeof value, true), &value, sizeof value);
}
inline void store_shared(std::uint32_t address, const std::uint32_t (&v)[4]) {
  std::memcpy(detail::touch(address, sizeof v, true), v, sizeof v);
}

inline void barrier_sync(int index, int threads) { ::emulation::barrier(index, threads); }

inline void copy_async(std::uint32_t shared, const void* global, bool valid) {
  ::emulation::defer([=] {
    void* const to = detail::touch(shared, 16, true);
    if (valid) {
      std::memcpy(to, global, 16);
    } else {
      std::memset(to, 0, 16);
    }
  });
}
inline void copy_async_commit() { ::emulation::commit(); }
template <int pending>
void copy_async_wait() {
  ::emulation::wait_groups(pending);
}

template <class T>
T* advanced(T* from, int count, int bytes) {
  return reinterpret_cast<T*>(reinterpret_cast<std::intptr_t>(from) + std::int64_t{count} * bytes);
}
inline std::uint32_t load_constant(const void* global) {
  std::uint32_t value;
  std::memcpy(&value, global, sizeof value);
  return value;
}
inline void store_global(void* global, std::uint32_t value) { std::memcpy(global, &value, sizeof value); }

inline std::uint32_t swizzle128(std::uint32_t address) { return address ^ ((address >> 3) & 0x70u); }

inline std::uint32_t pack_bf16(float low, float high) {
  return ::emulation::bits<std::uint32_t>(__floats2bfloat162_rn(low, high));
}
inline std::uint32_t pack_bf16(float2 pair) { return pack_bf16(pair.x, pair.y); }
inline float2 unpack_bf16(std::uint32_t pair) { return {detail::value(pair, 0), detail::value(pair, 1)}; }
inline std::uint32_t split_bf16(float x) {
  const float first = __bfloat162float(__float2bfloat16_rn(x));
  return pack_bf16(first, x - first);
}
inline std::uint32_t multiply_bf16(std::uint32_t a, std::uint32_t b) {
  return detail::pairwise(
      [&](int h) { return static_cast<double>(detail::value(a, h)) * detail::value(b, h); });
}
inline std::uint32_t add_bf16(std::uint32_t a, std::uint32_t b) {
  return detail::pairwise(
      [&](int h) { return static_cast<double>(detail::value(a, h)) + detail::value(b, h); });
}
inline std::uint32_t fma_bf16(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  return detail::pairwise([&](int h) {
    return static_cast<double>(detail::value(a, h)) * detail::value(b, h) + detail::value(c, h);
  });
}
inline std::uint32_t between_bf16(std::uint32_t a, std::uint32_t b) { return __byte_perm(a, b, 0x5432); }

namespace detail {

// D[16×8] += A[16×K] · B[K×8]; K = 8·steps. Registers as the instruction distributes them over lanes.
template <int steps>
void multiply_accumulate(float (&d)[4], const std::uint32_t (&a)[2 * steps],
                         const std::uint32_t (&b)[steps]) {
  struct Mine {
    float* d;
    const std::uint32_t *a, *b;
  } mine{d, a, b};
  ::emulation::meet_warp(
      [](void* const(&lanes)[::emulation::kWarp]) {
        float left[16][8 * steps], right[8 * steps][8];
        for (int lane = 0; lane < ::emulation::kWarp; ++lane) {
          const Mine& m = *static_cast<Mine*>(lanes[lane]);
          const int g = lane / 4, q = lane % 4;
          for (int h = 0; h < 2; ++h) {
            for (int s = 0; s < steps; ++s) {
              right[8 * s + 2 * q + h][g] = value(m.b[s], h);
              left[g][8 * s + 2 * q + h] = value(m.a[2 * s], h);
              left[g + 8][8 * s + 2 * q + h] = value(m.a[2 * s + 1], h);
            }
          }
        }
        for (int lane = 0; lane < ::emulation::kWarp; ++lane) {
          float* out = static_cast<Mine*>(lanes[lane])->d;
          for (int e = 0; e < 4; ++e) {
            const int row = lane / 4 + e / 2 * 8, column = lane % 4 * 2 + e % 2;
            double sum = out[e];
            for (int k = 0; k < 8 * steps; ++k) sum += static_cast<double>(left[row][k]) * right[k][column];
            out[e] = static_cast<float>(sum);
          }
        }
      },
      &mine);
}

struct MatrixMove {
  std::uint32_t* registers;
  std::uint32_t address;
};
// f(register of lane l, matrix m: lane, m, row address, column of the pair)
template <class F>
void move_matrices(void* const (&lanes)[::emulation::kWarp], const F& f) {
  for (int m = 0; m < 4; ++m) {
    for (int row = 0; row < 8; ++row) {
      const std::uint32_t address = static_cast<MatrixMove*>(lanes[m * 8 + row])->address;
      if (address % 16 != 0) throw std::logic_error("matrix row not aligned to 16 bytes");
      for (int column = 0; column < 8; ++column) f(m, row, column, at<std::uint16_t>(address + 2 * column));
    }
  }
}
inline void set_half(std::uint32_t& pair, int which, std::uint16_t value) {
  pair = which == 0 ? (pair & 0xffff0000u) | value : (pair & 0xffffu) | (std::uint32_t{value} << 16);
}
template <bool transposed, bool store>
void matrices(std::uint32_t* registers, std::uint32_t address) {
  MatrixMove mine{registers, address};
  ::emulation::meet_warp(
      [](void* const(&lanes)[::emulation::kWarp]) {
        move_matrices(lanes, [&](int m, int row, int column, std::uint16_t& memory) {
          const int r = transposed ? column : row, c = transposed ? row : column;
          std::uint32_t& pair = static_cast<MatrixMove*>(lanes[r * 4 + c / 2])->registers[m];
          if (store) {
            memory = half(pair, c % 2);
          } else {
            set_half(pair, c % 2, memory);
          }
        });
      },
      &mine);
}

}  // namespace detail

inline void mma_16x8x16(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  const std::uint32_t b[2] = {b0, b1};
  detail::multiply_accumulate<2>(d, a, b);
}
inline void mma_16x8x8(float (&d)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t b0) {
  const std::uint32_t a[2] = {a0, a1}, b[1] = {b0};
  detail::multiply_accumulate<1>(d, a, b);
}

inline void product_16x8x16(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  std::fill(d, d + 4, 0.0f);
  mma_16x8x16(d, a, b0, b1);
}
inline void product_16x8x8(float (&d)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t b0) {
  std::fill(d, d + 4, 0.0f);
  mma_16x8x8(d, a0, a1, b0);
}

inline void load_matrix(std::uint32_t (&r)[4], std::uint32_t address) {
  detail::matrices<false, false>(r, address);
}
inline void load_matrix_transposed(std::uint32_t (&r)[4], std::uint32_t address) {
  detail::matrices<true, false>(r, address);
}
inline void store_matrix_transposed(std::uint32_t address, const std::uint32_t (&r)[4]) {
  detail::matrices<true, true>(const_cast<std::uint32_t*>(r), address);
}
inline std::uint32_t transpose_matrix(std::uint32_t r) {
  struct Mine {
    std::uint32_t in, out;
  } mine{r, 0};
  ::emulation::meet_warp(
      [](void* const(&lanes)[::emulation::kWarp]) {
        for (int row = 0; row < 8; ++row) {
          for (int column = 0; column < 8; ++column) {
            const std::uint16_t x =
                detail::half(static_cast<Mine*>(lanes[row * 4 + column / 2])->in, column % 2);
            detail::set_half(static_cast<Mine*>(lanes[column * 4 + row / 2])->out, row % 2, x);
          }
        }
      },
      &mine);
  return mine.out;
}

inline void barrier_init(std::uint32_t barrier, std::uint32_t arrivals) {
  ::emulation::transaction_init(barrier, arrivals);
}
inline void barrier_init_fence() {}
inline void barrier_expect(std::uint32_t barrier, std::uint32_t bytes) {
  ::emulation::transaction_expect(barrier, bytes);
}
inline void barrier_arrive(std::uint32_t barrier) { ::emulation::transaction_expect(barrier, 0); }
inline void barrier_wait(std::uint32_t barrier, std::uint32_t parity) {
  ::emulation::transaction_wait(barrier, parity);
}

// What tensor_map.h's function makes here.
struct EmulatedMap {
  std::uint8_t* data;
  std::int64_t batch, rows, columns;
  int box_rows, box_columns;
};
namespace detail {

// Both directions of a box's copy; rows of 128 bytes, swizzled.
template <bool in>
void copy_box(const EmulatedMap& map, std::uint32_t shared, int column, int row, int batch) {
  for (int r = 0; r < map.box_rows; ++r) {
    for (int c = 0; c < map.box_columns; ++c) {
      const std::int64_t to_row = row + r, to_column = column + c;
      const bool inside = to_row >= 0 && to_row < map.rows && to_column >= 0 && to_column < map.columns &&
                          batch >= 0 && batch < map.batch;
      auto& here =
          at<std::uint16_t>(swizzle128(shared + static_cast<std::uint32_t>(r * map.box_columns * 2 + c * 2)));
      auto* there =
          reinterpret_cast<std::uint16_t*>(map.data) + (batch * map.rows + to_row) * map.columns + to_column;
      if (in) {
        here = inside ? *there : 0;
      } else if (inside) {
        *there = here;
      }
    }
  }
}
inline EmulatedMap map_of(const CUtensorMap* map) {
  EmulatedMap out;
  std::memcpy(&out, map, sizeof out);
  return out;
}

}  // namespace detail

inline void copy_in(std::uint32_t shared, const CUtensorMap* map, std::uint32_t barrier, int column, int row,
                    int batch) {
  const EmulatedMap m = detail::map_of(map);
  ::emulation::transaction_copy(barrier, static_cast<std::uint32_t>(m.box_rows * m.box_columns * 2),
                                [=] { detail::copy_box<true>(m, shared, column, row, batch); });
}
inline void copy_out(const CUtensorMap* map, std::uint32_t shared, int column, int row, int batch) {
  const EmulatedMap m = detail::map_of(map);
  ::emulation::defer([=] { detail::copy_box<false>(m, shared, column, row, batch); });
}
inline void copy_out_commit() { ::emulation::commit(); }
inline void copy_out_wait_read() { ::emulation::wait_groups(0); }
inline void copy_out_wait() { ::emulation::wait_groups(0); }
inline void copy_engine_fence() {}
inline void let_next_kernel_start() {}
inline void wait_for_kernel_before() {}

}  // namespace striped::cuda::ptx
