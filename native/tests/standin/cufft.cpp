// A stand-in for cuFFT over this machine's memory, built as libcufft.so.12: the functions that the engine
// uses, in double precision on the processor. It holds the engine to its word: transforms need a workspace of
// the size that was told, whose contents they destroy.
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "cpu/fourier.h"
#include "cuda_runtime.h"

namespace {

constexpr int kSuccess = 0, kInvalidPlan = 1, kInvalidValue = 4, kInvalidSize = 8;
constexpr int kComplexToComplex = 0x29, kForward = -1, kInverse = 1;

struct Plan {
  bool alive = true, automatic = true;
  std::int64_t length = 0, count = 0;
  std::size_t bytes = 0;
  void* workspace = nullptr;
};
std::vector<Plan> plans;

Plan* find(int handle) {
  const auto at = static_cast<std::size_t>(handle);
  return at < plans.size() && plans[at].alive ? &plans[at] : nullptr;
}

}  // namespace

extern "C" {

int cufftCreate(int* handle) {
  *handle = static_cast<int>(plans.size());
  plans.emplace_back();
  return kSuccess;
}
int cufftDestroy(int handle) {
  Plan* const plan = find(handle);
  if (plan == nullptr) return kInvalidPlan;
  plan->alive = false;
  return kSuccess;
}
int cufftSetAutoAllocation(int handle, int automatic) {
  Plan* const plan = find(handle);
  if (plan == nullptr) return kInvalidPlan;
  plan->automatic = automatic != 0;
  return kSuccess;
}
int cufftMakePlanMany64(int handle, int rank, long long* lengths, long long* input_embedding, long long,
                        long long, long long* output_embedding, long long, long long, int type,
                        long long batch, std::size_t* workspace) {
  Plan* const plan = find(handle);
  if (plan == nullptr || plan->length != 0) return kInvalidPlan;
  if (rank != 1 || type != kComplexToComplex || input_embedding != nullptr || output_embedding != nullptr)
    return kInvalidValue;
  if (lengths[0] < 1 || batch < 1) return kInvalidSize;
  plan->length = lengths[0];
  plan->count = batch;
  // As cuFFT has it for most lengths that take more than one pass.
  plan->bytes = static_cast<std::size_t>(plan->length * plan->count) * sizeof(float2);
  *workspace = plan->bytes;
  return kSuccess;
}
int cufftSetStream(int handle, cudaStream_t) { return find(handle) == nullptr ? kInvalidPlan : kSuccess; }
int cufftSetWorkArea(int handle, void* workspace) {
  Plan* const plan = find(handle);
  if (plan == nullptr) return kInvalidPlan;
  plan->workspace = workspace;
  return kSuccess;
}
int cufftExecC2C(int handle, float2* input, float2* output, int direction) {
  const Plan* const plan = find(handle);
  if (plan == nullptr || plan->length == 0) return kInvalidPlan;
  if (plan->automatic || plan->workspace == nullptr || (direction != kForward && direction != kInverse))
    return kInvalidValue;
  const auto length = static_cast<std::size_t>(plan->length);
  const striped::cpu::Fourier fourier(plan->length);
  std::vector<striped::cpu::Complex> values(length);
  for (std::int64_t i = 0; i < plan->count; ++i) {
    const float2* const from = input + i * plan->length;
    float2* const to = output + i * plan->length;
    for (std::size_t k = 0; k < length; ++k) values[k] = {from[k].x, from[k].y};
    direction == kForward ? fourier.forward(values.data()) : fourier.inverse(values.data());
    const double scale = direction == kForward ? 1 : static_cast<double>(length);
    for (std::size_t k = 0; k < length; ++k)
      to[k] = {static_cast<float>(values[k].real() * scale), static_cast<float>(values[k].imag() * scale)};
  }
  std::memset(plan->workspace, 0xff, plan->bytes);
  return kSuccess;
}
}
