// Discrete Fourier transforms of complex fp32 numbers on the device, by cuFFT.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "cufft_api.h"

namespace striped::cuda {

// `count` transforms of `length` values each, one behind the other.
struct Transforms {
  std::int64_t length, count;
};

// A plan for each size that was asked for, kept for later calls: making one takes milliseconds and may not
// happen while a step is recorded, transforming allocates nothing and may. Not for several threads at once.
class FourierPlans {
 public:
  // `slice_bytes`: about what callers should transform at a time, which work on slices of larger arrays.
  explicit FourierPlans(std::size_t slice_bytes = std::size_t{1} << 30);
  ~FourierPlans();
  FourierPlans(const FourierPlans&) = delete;

  std::size_t slice_bytes() const { return slice_bytes_; }
  // Bytes of workspace that the calls below need; makes the plan. The first one loads cuFFT: throws Error
  // "no-cuda" where there is none.
  std::size_t workspace(Transforms);
  // In place: x_m = Σ_n x_n exp(∓2πi·n·m / length), neither of them scaled.
  void forward(Transforms, float2* data, void* workspace, cudaStream_t);
  void inverse(Transforms, float2* data, void* workspace, cudaStream_t);

 private:
  struct Plan {
    cufft::Handle handle;
    std::size_t workspace;
  };
  const Plan& plan(Transforms);
  void execute(Transforms, float2* data, void* workspace, cudaStream_t, int direction);

  std::size_t slice_bytes_;
  std::unique_ptr<cufft::Functions> library_;
  std::map<std::pair<std::int64_t, std::int64_t>, Plan> plans_;
};

// A length from `least` on that cuFFT is fast and exact at: no prime factor above 7.
std::int64_t fourier_length(std::int64_t least);

}  // namespace striped::cuda
