#include "fourier_plans.h"

#include <algorithm>
#include <string>

#include "library_loader.h"
#include "striped/error.h"

namespace striped::cuda {
namespace {

std::unique_ptr<cufft::Functions> load() {
  // The numbers are those of CUDA 13 and 12.
  const Library library(
      {"libcufft.so.12", "libcufft.so.11"},
      "Hyena filters by Fourier transform (LI of many exponentials, long explicit filters)");
  auto functions = std::make_unique<cufft::Functions>();
  library.bind(functions->create, "cufftCreate");
  library.bind(functions->set_auto_allocation, "cufftSetAutoAllocation");
  library.bind(functions->make_plan, "cufftMakePlanMany64");
  library.bind(functions->set_stream, "cufftSetStream");
  library.bind(functions->set_workspace, "cufftSetWorkArea");
  library.bind(functions->execute, "cufftExecC2C");
  library.bind(functions->destroy, "cufftDestroy");
  return functions;
}

void check_transform(int status, const char* what, Transforms size) {
  if (status == cufft::kSuccess) return;
  const std::string sizes =
      std::to_string(size.count) + " transforms of length " + std::to_string(size.length);
  if (status == cufft::kNoMemory) {
    throw Error("out-of-memory", "The GPU has no room for cuFFT's plan of " + sizes +
                                     "; use a smaller micro-batch or sequence, or `recompute blocks`.");
  }
  throw Error("cuda-error", std::string("cuFFT failed in ") + what + " (status " + std::to_string(status) +
                                ") for " + sizes + "; the run can be resumed from its last checkpoint.");
}

}  // namespace

FourierPlans::FourierPlans(std::size_t slice_bytes) : slice_bytes_(slice_bytes) {}

FourierPlans::~FourierPlans() {
  for (const auto& [size, plan] : plans_) library_->destroy(plan.handle);
}

std::size_t FourierPlans::workspace(Transforms size) { return size.length == 1 ? 0 : plan(size).workspace; }

void FourierPlans::forward(Transforms size, float2* data, void* workspace, cudaStream_t stream) {
  execute(size, data, workspace, stream, cufft::kForward);
}
void FourierPlans::inverse(Transforms size, float2* data, void* workspace, cudaStream_t stream) {
  execute(size, data, workspace, stream, cufft::kInverse);
}

const FourierPlans::Plan& FourierPlans::plan(Transforms size) {
  const auto found = plans_.find({size.length, size.count});
  if (found != plans_.end()) return found->second;
  if (!library_) library_ = load();
  Plan plan{};
  check_transform(library_->create(&plan.handle), "cufftCreate", size);
  long long length = size.length;
  int status = library_->set_auto_allocation(plan.handle, 0);
  if (status == cufft::kSuccess) {
    status = library_->make_plan(plan.handle, 1, &length, nullptr, 1, length, nullptr, 1, length,
                                 cufft::kComplexToComplex, size.count, &plan.workspace);
  }
  if (status != cufft::kSuccess) library_->destroy(plan.handle);
  check_transform(status, "cufftMakePlanMany64", size);
  return plans_.emplace(std::pair(size.length, size.count), plan).first->second;
}

void FourierPlans::execute(Transforms size, float2* data, void* workspace, cudaStream_t stream,
                           int direction) {
  if (size.length == 1) return;
  const cufft::Handle handle = plan(size).handle;
  check_transform(library_->set_stream(handle, stream), "cufftSetStream", size);
  check_transform(library_->set_workspace(handle, workspace), "cufftSetWorkArea", size);
  check_transform(library_->execute(handle, data, data, direction), "cufftExecC2C", size);
}

std::int64_t fourier_length(std::int64_t least) {
  for (std::int64_t length = std::max<std::int64_t>(least, 1);; ++length) {
    std::int64_t rest = length;
    for (const int factor : {2, 3, 5, 7}) {
      while (rest % factor == 0) rest /= factor;
    }
    if (rest == 1) return length;
  }
}

}  // namespace striped::cuda
