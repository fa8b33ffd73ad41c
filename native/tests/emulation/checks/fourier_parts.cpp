// The Fourier operators of context parallelism, their kernels on the processor (emulation.h).
#include "fourier_parts_checks.h"

#include "hyena_fourier_parts.h"

namespace {

// Memory of the host, a workspace poisoned for every call.
class Emulated {
 public:
  explicit Emulated(striped::DType type, std::size_t slice_bytes)
      : type_(type == striped::DType::bf16 ? striped::cuda::ElementType::bf16
                                           : striped::cuda::ElementType::f32),
        plans_(slice_bytes) {}

  fourier_parts::Device device(striped::Backend& memory, striped::DType type) {
    using namespace striped;
    return {memory,
            type,
            [this](const FourierPart& part, int piece, const void* x, std::int64_t stride, void* spectrum) {
              cuda::fourier_add(part, piece, type_, x, stride, spectrum, nullptr);
            },
            [this](const FourierPart& part, int piece, const void* spectrum, void* x, std::int64_t stride) {
              cuda::fourier_take(part, piece, type_, spectrum, x, stride, nullptr);
            },
            [this](const FourierPart& part, const HyenaShape& s, const HyenaWeights& w, void* spectrum) {
              cuda::fourier_filter(part, s, w, spectrum, workspace(part, s), plans_, nullptr);
            },
            [this](const FourierPart& part, const HyenaShape& s, const HyenaWeights& w, const void* u,
                   void* g, const HyenaGradients& gradients) {
              cuda::fourier_filter_backward(part, s, w, u, g, gradients, workspace(part, s), plans_, nullptr);
            }};
  }

 private:
  void* workspace(const striped::FourierPart& part, const striped::HyenaShape& shape) {
    workspace_.assign(striped::cuda::fourier_filter_workspace(part, shape, plans_) / 8 + 1, NAN);
    return workspace_.data();
  }
  striped::cuda::ElementType type_;
  striped::cuda::FourierPlans plans_;
  std::vector<double> workspace_;
};

}  // namespace

int main() {
  const unsigned seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  int passed = 0, failed = 0;
  for (const auto type : {striped::DType::f32, striped::DType::bf16}) {
    // All channels at a time, and a few.
    for (const std::size_t slice_bytes : {std::size_t{1} << 30, std::size_t{20'000}}) {
      const auto memory = striped::make_cpu_backend("fp32", 1);
      Emulated emulated(type, slice_bytes);
      fourier_parts::Checks checks(emulated.device(*memory, type), seed);
      fourier_parts::small(checks);
      passed += checks.passed();
      failed += checks.failed();
    }
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
