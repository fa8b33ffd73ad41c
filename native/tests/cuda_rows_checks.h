// Checks of src/cuda/rows.h: conversions and copies, of any length and from any place, bit by bit.
#pragma once

#include "cuda_fixture.h"
#include "rows.h"

namespace cuda_fixture {

inline void* advance(const DeviceArray& array, std::int64_t bytes) {
  return static_cast<unsigned char*>(array.data()) + bytes;
}

inline void check_conversions(ElementType type, std::int64_t length, std::int64_t skipped) {
  const std::int64_t size = type == ElementType::bf16 ? 2 : 4, whole = length + skipped;
  Values activations = normal(whole, 1), sums = normal(whole, 1);
  DeviceArray narrow(activations, type), real(sums, ElementType::f32);
  cuda::add_to_real(length, type, advance(narrow, skipped * size),
                    static_cast<float*>(advance(real, skipped * 4)), nullptr);
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  for (std::int64_t i = skipped; i < whole; ++i)
    sums[i] = static_cast<float>(sums[i]) + static_cast<float>(activations[i]);
  bool good = real.get() == sums && real.guard_intact();

  DeviceArray rounded(static_cast<std::size_t>(whole), type), expected(sums, type);
  cuda::to_activations(length, static_cast<const float*>(advance(real, skipped * 4)), type,
                       advance(rounded, skipped * size), nullptr);
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  const auto out = rounded.raw(), want = expected.raw();
  good = good && std::equal(out.begin() + skipped * size, out.end(), want.begin() + skipped * size);
  count(good, "conversions " + std::string(type == ElementType::bf16 ? "bf16 " : "fp32 ") +
                  std::to_string(length) + " from " + std::to_string(skipped));
}

inline void check_copy(std::int64_t rows, std::int64_t bytes, std::int64_t from_stride,
                       std::int64_t to_stride, std::int64_t skipped) {
  const std::int64_t source = skipped + (rows - 1) * from_stride + bytes,
                     target = skipped + (rows - 1) * to_stride + bytes;
  Values values = normal((source + 3) / 4, 1);
  DeviceArray from(values, ElementType::f32),
      to(static_cast<std::size_t>((target + 3) / 4), ElementType::f32);
  cuda::copy_rows(rows, bytes, advance(from, skipped), from_stride, advance(to, skipped), to_stride, nullptr);
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  const auto given = from.raw(), out = to.raw();
  std::vector<unsigned char> expected(out.size(), 0xff);
  for (std::int64_t row = 0; row < rows; ++row) {
    std::copy_n(given.begin() + skipped + row * from_stride, bytes,
                expected.begin() + skipped + row * to_stride);
  }
  count(out == expected, "copy of " + std::to_string(rows) + " × " + std::to_string(bytes) + " bytes from " +
                             std::to_string(skipped) + ", " + std::to_string(from_stride) + " to " +
                             std::to_string(to_stride) + " apart");
}

inline void check_rows() {
  for (const ElementType type : {ElementType::f32, ElementType::bf16}) {
    check_conversions(type, 1, 0);
    check_conversions(type, 2051, 0);
    check_conversions(type, 4096, 0);
    check_conversions(type, 777, 3);
  }
  check_copy(5, 96, 96, 288, 32);
  check_copy(300, 64, 0, 192, 0);
  check_copy(7, 24, 40, 24, 8);
  check_copy(7, 6, 14, 10, 2);
  check_copy(3, 12, 20, 16, 4);
  check_copy(3, 5, 9, 7, 1);
  check_copy(1, 2000, 0, 0, 0);
}

}  // namespace cuda_fixture
