// The Fourier operators of context parallelism on CUDA, through the backend: fourier_parts_checks.h says how.
// Argument: a seed, to see a failure again. Exit code 1 when anything fails, 77 without a GPU.
#include "fourier_parts_checks.h"

#include <memory>

#include "striped/error.h"

namespace {

constexpr int kSkipped = 77;  // what ctest and the test suite take for "skipped"

fourier_parts::Device device_of(striped::Backend& gpu) {
  striped::ShardOperators& shards = *gpu.shards();
  return {gpu,
          gpu.activation_type(),
          [&](auto&&... arguments) { shards.fourier_add(arguments...); },
          [&](auto&&... arguments) { shards.fourier_take(arguments...); },
          [&](auto&&... arguments) { shards.fourier_filter(arguments...); },
          [&](auto&&... arguments) { shards.fourier_filter_backward(arguments...); }};
}

}  // namespace

int main(int count, char** arguments) {
  const unsigned seed = count > 1 ? static_cast<unsigned>(std::stoul(arguments[1])) : std::random_device{}();
  std::printf("seed %u\n", seed);
  int passed = 0, failed = 0;
  for (const char* precision : {"fp32", "bf16"}) {
    try {
      const auto gpu = striped::make_cuda_backend(precision, 0);
      fourier_parts::Checks checks(device_of(*gpu), seed);
      fourier_parts::small(checks);
      // A length that is prime, and one that takes transforms of several passes.
      checks.run({2, 4099, 96, 16, 2, 2}, 6, 5000, 0, true, true);
      checks.run({1, 16384, 64, 16, 3, 1}, 4, 0, 16, true, false);
      passed += checks.passed();
      failed += checks.failed();
    } catch (const striped::Error& error) {
      if (error.code() == "no-cuda") {
        std::printf("SKIPPED: %s\n", error.what());
        return kSkipped;
      }
      ++failed;
      std::printf("FAILED %s: %s [%s]\n", precision, error.what(), error.code().c_str());
    }
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
