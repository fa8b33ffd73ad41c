// The inner Hyena operators on CUDA against their equations in double precision: every output and gradient,
// fresh random inputs, poisoned outputs and workspace, guards behind every array, and the same bits from a
// second run. Built by CMake as test_cuda_hyena, and as test_hyena_emulated for the processor (emulation/).
// Arguments: `short` (sequences up to 5,555 tokens, for the sanitizer, under which the longest take hours),
// `small` (for the emulation), `one` (of each kind, for racecheck, which is slower still) or `all`; then a
// seed, to see a failure again. Or `memory`, precision, batch, length, width, order: prints the bytes that an
// LI keeps and needs as workspace. Exit code 1 when anything fails, 77 without a GPU.
#include "cuda_fixture.h"
#include "fourier_plans.h"

using namespace cuda_fixture;

namespace {

// A case's arrays on the device, and the kernels' calls on them.
class Trial {
 public:
  // Rounds `in` to the arrays' types.
  Trial(const Case& test, Inputs& in, const Results& expected)
      : shape_(test.shape),
        type_(test.type),
        in_(test, in),
        out_(test, in),
        plans_(test.slice_bytes),
        y_(in.dy.size(), type_),
        dz_(in.z.size(), type_),
        workspace_(cuda::hyena_workspace(shape_, type_, plans_) / 4 + 1, kReal),
        kept_(cuda::hyena_kept(shape_, type_) / 4, kReal) {
    outputs_ = {{"y", &y_, &expected.y, 0}, {"dz", &dz_, &expected.dz, 0}, out_.of_featurizer(expected)};
    for (const Output& output : out_.of_filter(expected)) outputs_.push_back(output);
  }

  const std::vector<Output>& outputs() const { return outputs_; }
  bool guards_intact() const { return workspace_.guard_intact() && kept_.guard_intact(); }

  // Both passes; the outputs' bytes.
  Bytes call() {
    for (auto& output : outputs_) output.start();
    workspace_.poison();
    kept_.poison();
    cuda::hyena_forward(shape_, in_.weights(), type_, in_.z.data(), y_.data(), kept_.data(),
                        workspace_.data(), plans_, nullptr);
    workspace_.poison();
    cuda::hyena_backward(shape_, in_.weights(), type_, in_.z.data(), kept_.data(), in_.dy.data(), dz_.data(),
                         out_.gradients(), workspace_.data(), plans_, nullptr);
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    return bytes_of(outputs_);
  }

 private:
  HyenaShape shape_;
  ElementType type_;
  InputArrays in_;
  GradientArrays out_;
  cuda::FourierPlans plans_;
  DeviceArray y_, dz_, workspace_, kept_;
  std::vector<Output> outputs_;
};

void run(const Case& test) {
  const HyenaShape& s = test.shape;
  Inputs in = random_inputs(test);
  Results expected;
  Trial trial(test, in, expected);
  expected = hyena_reference::reference(s, in);
  const bool same = trial.call() == trial.call();
  judge(test, "", trial.outputs(), same, trial.guards_intact());
}

Case sliced(Case test, std::size_t slice_bytes) {
  test.slice_bytes = slice_bytes;
  return test;
}

// What runs by Fourier transform: lengths that transforms are padded at, several groups a slice with fewer in
// the last, and groups cut by slices.
void by_fourier(ElementType type) {
  run(fir(type, 2, 777, 40, 8, 700, 4));
  run(sliced(fir(type, 1, 1031, 48, 3, 700, 3, true, true), 300'000));
  run(sliced(fir(type, 1, 600, 64, 64, 530, 3, true), 200'000));
  run(modal(type, 1, 777, 64, 1, 33));
  run(modal(type, 3, 131, 24, 3, 64, 8));
  run(sliced(modal(type, 2, 700, 64, 32, 40, 3, false), 300'000));
}

void all(ElementType type, bool is_short) {
  for (const int taps : {1, 2, 4, 7, 31, 128, 129, 130, 200, 257, 258, 400}) {
    run(fir(type, 1, 517, width_for(taps), 16, taps, 3, taps % 2 == 0, taps > 100));
    run(fir(type, 3, 300, 48, taps % 2 == 0 ? 1 : 3, taps, 3, taps % 2 == 1, taps > 30));
  }
  for (const int size : {3, 5, 8, 15, 24, 80}) {
    const int width = size * std::max(10, 2 * (96 / size + 1));
    for (const int taps : {8, 60, 128, 129, 256, 257})
      run(fir(type, 2, 701, width, size, taps, 3, taps % 2 == 1, taps > 60));
  }
  run(fir(type, 1, 3001, 1050, 15, 128, 3, true, true));
  run(fir(type, 1, 1300, 4230, 1, 100, 2, true));
  run(fir(type, 1, 1, 4096, 16, 7));
  run(fir(type, 2, 37, 128, 64, 128, 3, true, true));
  run(fir(type, 1, 1000, 24, 3, 7, 1));
  run(fir(type, 1, 130, 40, 8, 12, 8, true));
  run(fir(type, 2, 1500, 264, 1, 7, 3, true, true));
  run(fir(type, 1, 3001, 1032, 4, 5, 2, true));
  run(fir(type, 1, 4097, 1024, 64, 7, 3, true));
  run(fir(type, 1, 5000, 128, 16, 128, 3, true, true));
  run(modal(type, 1, 1, 64, 1, 16));
  run(modal(type, 1, 255, 64, 1, 16, 3, false));
  run(modal(type, 3, 777, 96, 1, 16));
  run(modal(type, 1, 1031, 1024, 16, 1));
  run(modal(type, 2, 700, 1024, 64, 5));
  run(modal(type, 1, 600, 33, 3, 16));
  run(modal(type, 2, 300, 64, 1, 32, 4));
  run(modal(type, 1, 2048, 256, 32, 16));
  run(modal(type, 1, 5555, 128, 1, 16));
  by_fourier(type);
  if (is_short) return;
  run(fir(type, 1, 20000, 64, 16, 3000, 3, true, true));
  run(modal(type, 1, 100003, 32, 1, 48));
  run(modal(type, 2, 16384, 64, 1, 16));
  run(modal(type, 1, 1 << 18, 32, 1, 16));
}

// Every kernel, over the boundaries of tiles and strips, in a size that the emulation does in seconds.
void small() {
  const ElementType bf16 = ElementType::bf16;
  for (const int taps : {1, 7, 31, 65, 128, 129, 130, 257, 258}) {
    run(fir(bf16, 1, taps == 1 ? 300 : 517, width_for(taps), 16, taps, 3, taps % 2 == 0, taps > 100));
  }
  run(fir(bf16, 2, 37, 128, 64, 128, 3, true, true));
  run(fir(bf16, 1, 300, 48, 1, 200, 3, true));
  run(fir(bf16, 2, 333, 120, 15, 128, 3, true, true));
  run(fir(bf16, 1, 1100, 36, 18, 12, 1, true));
  run(fir(bf16, 3, 77, 40, 5, 200));
  run(fir(bf16, 2, 333, 264, 1, 7, 3, true, true));
  run(fir(ElementType::f32, 1, 150, 136, 4, 5, 2, true));
  run(fir(ElementType::f32, 1, 130, 40, 8, 12, 8, true));
  run(modal(bf16, 1, 255, 64, 1, 16, 3, false));
  run(modal(bf16, 2, 200, 256, 32, 5));
  run(modal(bf16, 1, 2600, 64, 1, 16));
  run(modal(bf16, 1, 2048, 64, 8, 16));
  run(modal(bf16, 1, 300, 33, 3, 16));
  run(modal(ElementType::f32, 2, 300, 64, 1, 32, 4));
  by_fourier(ElementType::f32);
  run(sliced(modal(bf16, 1, 300, 64, 8, 40), 100'000));
}

// What an LI of a filter a channel, or an MR, takes, as the engine's memory table counts it.
int print_memory(const std::vector<std::string>& arguments) {
  const ElementType type = arguments.at(0) == "bf16" ? ElementType::bf16 : ElementType::f32;
  const auto number = [&](std::size_t i) { return std::stoll(arguments.at(i)); };
  const int count = static_cast<int>(number(arguments.size() - 1));
  const Case test = arguments.size() == 5
                        ? modal(type, number(1), number(2), number(3), 1, count)
                        : fir(type, number(1), number(2), number(3), number(4), count, 3, true, true);
  cuda::FourierPlans plans;
  std::printf("%zu %zu\n", cuda::hyena_kept(test.shape, type),
              cuda::hyena_workspace(test.shape, type, plans));
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count > 1 && std::string(arguments[1]) == "memory")
    return print_memory({arguments + 2, arguments + count});
  return run_tests(count, arguments, [](const std::string& size) {
    if (size == "small") return small();
    if (size == "one") {
      for (const int taps : {7, 128, 200}) {
        run(fir(ElementType::bf16, 1, 300, width_for(taps), 16, taps, 3, true, true));
        run(fir(ElementType::bf16, 1, 600, 40, 1, taps, 3, true, true));
      }
      return run(modal(ElementType::bf16, 1, 700, 32, 1, 16));
    }
    for (const ElementType type : {ElementType::f32, ElementType::bf16}) all(type, size == "short");
    if (size != "short") run(modal(ElementType::bf16, 1, 1 << 20, 64, 1, 16));
    run(modal(ElementType::bf16, 1, 3000, 4096, 1, 16));
  });
}
