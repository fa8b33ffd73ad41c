#include "core/backend_choice.h"

#include "core/thread_pool.h"
#include "striped/error.h"

namespace striped {
namespace {

int thread_count(int threads) { return threads > 0 ? threads : usable_threads(); }

BackendChoice choose_cpu(const std::string& precision, int threads) {
  BackendChoice choice;
  choice.threads = thread_count(threads);
  choice.precision = precision == "fp64" ? "fp64" : "fp32";
  if (choice.precision != precision) choice.note = "the CPU backend computes in fp32, not in " + precision;
  choice.backend = make_cpu_backend(choice.precision, choice.threads);
  return choice;
}

BackendChoice choose_cuda(const std::string& precision, int threads, int device) {
  return {make_cuda_backend(precision, device), precision, "", thread_count(threads)};
}

}  // namespace

BackendChoice choose_backend(const std::string& name, const std::string& precision, int threads, int device) {
  if (precision != "fp64" && precision != "fp32" && precision != "bf16" && precision != "fp8")
    throw Error("precision-unknown",
                "the precision \"" + precision + "\" is not known (fp64, fp32, bf16, fp8)");
  if (name == "cpu") return choose_cpu(precision, threads);
  if (name == "cuda") return choose_cuda(precision, threads, device);
  if (name != "auto")
    throw Error("backend-unknown", "the backend \"" + name + "\" is not known (auto, cpu, cuda)");
  if (precision == "fp64") return choose_cpu(precision, threads);
  try {
    return choose_cuda(precision, threads, device);
  } catch (const Error& error) {
    if (error.code() != "no-cuda") throw;
  }
  return choose_cpu(precision, threads);
}

}  // namespace striped
