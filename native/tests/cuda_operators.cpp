// Every operator of the CUDA backend but Hyena's against the CPU backend in fp64: odd sizes, fresh random
// inputs, poisoned outputs, and twice for the same bits. A plain program, since GPU machines may lack a test
// framework.
//
//   test_cuda_operators [fp32|bf16|fp8 ...]     prints every failure, then 'N passed, N failed'
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "cuda_suite.h"
#include "striped/backend.h"
#include "striped/error.h"

namespace {

using namespace device_test;

class Suite : public DeviceSuite {
 public:
  explicit Suite(const std::string& precision) : DeviceSuite(precision) {}

  void run();

 private:
  std::int32_t* tokens(Backend& backend, const std::vector<std::int32_t>& list) {
    auto* memory = static_cast<std::int32_t*>(backend.allocate(list.size() * 4 + 4));
    backend.upload(memory, list.data(), list.size() * 4);
    return memory;
  }

  void dense(std::int64_t rows, std::int64_t in, std::int64_t out, bool bias);
  void embedding(std::int64_t rows, std::int64_t width, std::int64_t vocab, std::int64_t used);
  void rms_norm(std::int64_t rows, std::int64_t width);
  void gated(std::int64_t rows, std::int64_t inner);
  void cross_entropy(std::int64_t rows, std::int64_t vocab);
  void attention(const striped::AttentionShape&);
  void optimizer(std::int64_t count, std::int64_t offset);
  void elementwise(std::int64_t count);
  void recording();
  void changed_input();
  void told_magnitude();
};

void Suite::dense(std::int64_t rows, std::int64_t in, std::int64_t out, bool with_bias) {
  const double limit = precision_ == "fp8" ? 6e-2 : limit_;
  const striped::DenseShape shape{rows, in, out, 3, true};
  Pair x = activations(uniform(rows * in)), w = activations(uniform(out * in)), bias = reals(uniform(out));
  Pair y = activations(rows * out), dy = activations(uniform(rows * out)), dx = activations(rows * in);
  Pair sum = activations(uniform(rows * in)), dw = reals(uniform(out * in)), db = reals(uniform(out));
  Pair written = reals(uniform(out * in));
  const std::string name = "dense " + sizes({rows, in, out});
  check(
      name, limit, {{"y", &y}},
      [&] {
        cpu_->dense(shape, x.reference, w.reference, with_bias ? bias.reference : nullptr, y.reference);
      },
      [&] { gpu_->dense(shape, x.device, w.device, with_bias ? bias.device : nullptr, y.device); });
  check(
      name, limit, {{"dx", &dx}, {"dx added", &sum}},
      [&] {
        cpu_->dense_input_gradient(shape, dy.reference, w.reference, dx.reference, false);
        cpu_->dense_input_gradient(shape, dy.reference, w.reference, sum.reference, true);
      },
      [&] {
        gpu_->dense_input_gradient(shape, dy.device, w.device, dx.device, false);
        gpu_->dense_input_gradient(shape, dy.device, w.device, sum.device, true);
      });
  check(
      name, precision_ == "fp8" ? limit : 1e-5, {{"dw", &dw}, {"dw written", &written}, {"dbias", &db}},
      [&] {
        cpu_->dense_weight_gradient(shape, dy.reference, x.reference, dw.reference,
                                    with_bias ? db.reference : nullptr, true);
        cpu_->dense_weight_gradient(shape, dy.reference, x.reference, written.reference, nullptr, false);
      },
      [&] {
        gpu_->dense_weight_gradient(shape, dy.device, x.device, dw.device, with_bias ? db.device : nullptr,
                                    true);
        gpu_->dense_weight_gradient(shape, dy.device, x.device, written.device, nullptr, false);
      });
}

void Suite::embedding(std::int64_t rows, std::int64_t width, std::int64_t vocab, std::int64_t used) {
  std::vector<std::int32_t> list(static_cast<std::size_t>(rows));
  for (auto& token : list) token = static_cast<std::int32_t>(generator() % used * (vocab / used));
  std::int32_t *on_cpu = tokens(*cpu_, list), *on_gpu = tokens(*gpu_, list);
  Pair table = activations(uniform(vocab * width)), x = activations(rows * width);
  Pair dx = activations(uniform(rows * width)), dtable = reals(uniform(vocab * width));
  check(
      "embedding " + sizes({rows, width, vocab, used}), 1e-5, {{"x", &x}, {"dtable", &dtable}},
      [&] {
        cpu_->embedding(rows, width, on_cpu, table.reference, x.reference);
        cpu_->embedding_gradient(rows, width, vocab, on_cpu, dx.reference, dtable.reference);
      },
      [&] {
        gpu_->embedding(rows, width, on_gpu, table.device, x.device);
        gpu_->embedding_gradient(rows, width, vocab, on_gpu, dx.device, dtable.device);
      });
  cpu_->release(on_cpu);
  gpu_->release(on_gpu);
}

void Suite::rms_norm(std::int64_t rows, std::int64_t width) {
  Pair x = activations(uniform(rows * width)), branch = activations(uniform(rows * width)),
       w = reals(uniform(width)), replaced = activations(rows * width);
  Pair sum = activations(rows * width), y = activations(rows * width), alone = activations(rows * width);
  Pair rms = reals(rows), dy = activations(uniform(rows * width)), dx = activations(uniform(rows * width));
  Pair dw = reals(uniform(width));
  const auto run = [&](Backend& b, auto get) {
    b.rms_norm(rows, width, 1e-6, get(x), nullptr, get(w), nullptr, get(alone), get(rms));
    b.copy(get(replaced), get(branch), static_cast<std::size_t>(rows * width) * size_of(b.activation_type()));
    b.rms_norm(rows, width, 1e-6, get(x), get(replaced), get(w), get(replaced), get(y), get(rms));
    b.rms_norm(rows, width, 1e-6, get(x), get(branch), get(w), get(sum), get(y), get(rms));
    b.rms_norm_backward(rows, width, get(sum), get(w), get(rms), get(dy), get(dx), get(dw));
  };
  check(
      "rms_norm " + sizes({rows, width}), limit_,
      {{"y alone", &alone},
       {"sum", &sum},
       {"sum in place", &replaced},
       {"y", &y},
       {"rms", &rms},
       {"dx", &dx},
       {"dw", &dw}},
      [&] { run(*cpu_, [](Pair& p) -> void* { return p.reference; }); },
      [&] { run(*gpu_, [](Pair& p) { return p.device; }); });
}

void Suite::gated(std::int64_t rows, std::int64_t inner) {
  for (const auto activation :
       {striped::Activation::silu, striped::Activation::gelu, striped::Activation::identity}) {
    Pair gu = activations(uniform(rows * 2 * inner, -4, 4)), y = activations(rows * inner);
    Pair dy = activations(uniform(rows * inner)), dgu = activations(rows * 2 * inner);
    const std::string name = "gated " + sizes({rows, inner, static_cast<int>(activation)});
    check(
        name, limit_, {{"y", &y}, {"dgu", &dgu}},
        [&] {
          cpu_->gated(rows, inner, activation, gu.reference, y.reference);
          cpu_->gated_backward(rows, inner, activation, gu.reference, dy.reference, dgu.reference);
        },
        [&] {
          gpu_->gated(rows, inner, activation, gu.device, y.device);
          gpu_->gated_backward(rows, inner, activation, gu.device, dy.device, dgu.device);
        });
    check(
        name, limit_, {{"dgu in place", &gu}},
        [&] { cpu_->gated_backward(rows, inner, activation, gu.reference, dy.reference, gu.reference); },
        [&] { gpu_->gated_backward(rows, inner, activation, gu.device, dy.device, gu.device); });
  }
}

void Suite::cross_entropy(std::int64_t rows, std::int64_t vocab) {
  std::vector<std::int32_t> list(static_cast<std::size_t>(rows));
  for (auto& token : list) token = static_cast<std::int32_t>(generator() % vocab);
  std::vector<float> weights(list.size());
  float total = 0;
  for (std::size_t i = 0; i < weights.size(); ++i)
    total += weights[i] = i % 5 == 2 ? 0.0f : i % 3 ? 1.0f : 0.1f;
  std::int32_t *on_cpu = tokens(*cpu_, list), *on_gpu = tokens(*gpu_, list);
  auto* weights_on_gpu = static_cast<float*>(gpu_->allocate(weights.size() * 4));
  gpu_->upload(weights_on_gpu, weights.data(), weights.size() * 4);
  Pair logits = activations(uniform(rows * vocab, -6, 6)), loss = reals(uniform(1));
  const std::string name = "cross_entropy " + sizes({rows, vocab});
  check(
      name, 1e-5, {{"loss", &loss}},
      [&] {
        cpu_->cross_entropy(rows, vocab, logits.reference, on_cpu, weights.data(), total, false,
                            loss.reference);
      },
      [&] {
        gpu_->cross_entropy(rows, vocab, logits.device, on_gpu, weights_on_gpu, total, false,
                            static_cast<float*>(loss.device));
      });
  Pair again = reals(uniform(1));
  check(
      name, limit_, {{"gradient", &logits}, {"loss with gradient", &again}},
      [&] {
        cpu_->cross_entropy(rows, vocab, logits.reference, on_cpu, weights.data(), total, true,
                            again.reference);
      },
      [&] {
        gpu_->cross_entropy(rows, vocab, logits.device, on_gpu, weights_on_gpu, total, true,
                            static_cast<float*>(again.device));
      });
  cpu_->release(on_cpu);
  gpu_->release(on_gpu);
  gpu_->release(weights_on_gpu);
}

void Suite::attention(const striped::AttentionShape& s) {
  const std::int64_t rows = s.batch * s.length, packed = (s.heads + 2 * s.kv_heads) * s.head_dim;
  Pair qkv = activations(uniform(rows * packed, -2, 2)), y = activations(rows * s.heads * s.head_dim);
  Pair statistics = reals(s.batch * s.heads * s.length),
       dy = activations(uniform(rows * s.heads * s.head_dim));
  Pair dqkv = activations(rows * packed);
  void* cpu_workspace = cpu_->allocate(cpu_->attention_workspace(s) + 8);
  void* gpu_workspace = gpu_->allocate(gpu_->attention_workspace(s) + 8);
  check(
      "attention " + sizes({s.batch, s.length, s.heads, s.kv_heads, s.head_dim, s.window}) +
          (s.rope_base != 0 ? " rope" : ""),
      limit_, {{"y", &y}, {"statistics", &statistics}, {"dqkv", &dqkv}},
      [&] {
        cpu_->attention(s, qkv.reference, y.reference, statistics.reference, cpu_workspace);
        cpu_->attention_backward(s, qkv.reference, y.reference, statistics.reference, dy.reference,
                                 dqkv.reference, cpu_workspace);
      },
      [&] {
        gpu_->attention(s, qkv.device, y.device, statistics.device, gpu_workspace);
        gpu_->attention_backward(s, qkv.device, y.device, statistics.device, dy.device, dqkv.device,
                                 gpu_workspace);
      });
  cpu_->release(cpu_workspace);
  gpu_->release(gpu_workspace);
}

void Suite::optimizer(std::int64_t count, std::int64_t offset) {
  Pair g = reals(uniform(count)), p = reals(uniform(count)), m = reals(uniform(count)),
       v = reals(uniform(count, 0, 1));
  Pair compute = activations(uniform(count));
  const striped::AdamWSettings settings{0.9f, 0.95f, 1e-8f, 0.1f, 1.0f};
  const striped::OptimizerStep step{3e-3f, 0.19f, 0.0975f, 0.25f};
  double norm_on_cpu = 0.5;
  auto* norm = static_cast<double*>(gpu_->allocate(8));
  auto* step_on_gpu = static_cast<striped::OptimizerStep*>(gpu_->allocate(sizeof step));
  gpu_->upload(step_on_gpu, &step, sizeof step);
  const std::int64_t n = count - offset;
  check(
      "adamw " + sizes({count, offset}), 1e-5, {{"parameters", &p}, {"moment1", &m}, {"moment2", &v}},
      [&] {
        cpu_->squared_norm(n, g.reference + offset, &norm_on_cpu);
        cpu_->adamw(n, settings, &step, &norm_on_cpu, g.reference + offset, p.reference + offset,
                    m.reference + offset, v.reference + offset, compute.reference + offset);
      },
      [&] {
        const double start = 0.5;
        gpu_->upload(norm, &start, 8);
        const auto at = [&](Pair& pair) { return static_cast<float*>(pair.device) + offset; };
        gpu_->squared_norm(n, at(g), norm);
        gpu_->adamw(n, settings, step_on_gpu, norm, at(g), at(p), at(m), at(v),
                    static_cast<char*>(compute.device) + offset * striped::size_of(type_));
      });
  double norm_on_gpu = 0;
  gpu_->download(&norm_on_gpu, norm, 8);
  const double error = std::abs(norm_on_gpu / norm_on_cpu - 1);
  expect(precision_ + " squared_norm " + sizes({count, offset}), error <= 1e-6, error, 1e-6);
  expect(precision_ + " adamw compute copy", compute.error() <= (type_ == DType::bf16 ? 4e-3 : 1e-5),
         compute.error(), 4e-3);
  gpu_->release(norm);
  gpu_->release(step_on_gpu);
}

void Suite::elementwise(std::int64_t count) {
  Pair x = activations(uniform(count)), y = activations(uniform(count));
  check(
      "add " + sizes({count}), limit_, {{"x", &x}}, [&] { cpu_->add(count, x.reference, y.reference); },
      [&] { gpu_->add(count, x.device, y.device); });
  Pair a = reals(uniform(count)), b = reals(uniform(count));
  check(
      "small arrays " + sizes({count}), 1e-5, {{"product", &a}, {"exponential", &b}},
      [&] {
        cpu_->multiply(count, a.reference, y.reference);
        cpu_->negative_exponential(count, a.reference, b.reference);
      },
      [&] {
        Pair factor = reals(std::vector<double>(y.reference, y.reference + count));
        gpu_->multiply(count, a.device, factor.device);
        gpu_->negative_exponential(count, a.device, b.device);
        gpu_->synchronize();
      });
}

// A recorded sequence, replayed, gives the bits of the calls themselves.
void Suite::recording() {
  const std::int64_t rows = 96, width = 128;
  const striped::DenseShape shape{rows, width, width, 0, true};
  const striped::AttentionShape attention{1, rows, 2, 2, 64, 0, 10000, 1};
  Pair x = activations(uniform(rows * width)), w = activations(uniform(width * width)),
       y = activations(rows * width);
  Pair wide = activations(uniform(width * 3 * width)), qkv = activations(rows * 3 * width),
       out = activations(rows * width);
  Pair statistics = reals(2 * rows), dqkv = activations(rows * 3 * width);
  void* workspace = gpu_->allocate(gpu_->attention_workspace(attention));
  const auto step = [&] {
    gpu_->dense(shape, x.device, w.device, nullptr, y.device);
    gpu_->dense({rows, width, 3 * width, 1, true}, y.device, wide.device, nullptr, qkv.device);
    gpu_->attention(attention, qkv.device, out.device, statistics.device, workspace);
    gpu_->attention_backward(attention, qkv.device, out.device, statistics.device, y.device, dqkv.device,
                             workspace);
  };
  step();
  const std::vector<char> direct = dqkv.bits();
  dqkv.reset_device();
  if (!gpu_->begin_recording()) return expect("recording", false, 0, 0);
  step();
  gpu_->end_recording();
  gpu_->replay();
  expect(precision_ + " a replayed step gives the same bits", dqkv.bits() == direct, 0, 1);
  gpu_->release(workspace);
}

// What was measured for FP8 in a forward pass must not outlive the values.
void Suite::changed_input() {
  const striped::DenseShape shape{64, 128, 96, 7, true};
  Pair x = activations(uniform(64 * 128, -0.01, 0.01)), w = activations(uniform(96 * 128));
  Pair dy = activations(uniform(64 * 96)), y = activations(64 * 96), dw = reals(uniform(96 * 128));
  gpu_->dense(shape, x.device, w.device, nullptr, y.device);
  std::vector<double> larger = uniform(64 * 128, -50, 50);
  Pair other = activations(larger);
  std::memcpy(x.reference, other.reference, larger.size() * sizeof(double));
  const std::vector<char> bits = other.bits();
  gpu_->upload(x.device, bits.data(), bits.size());
  check(
      "dense with another input", precision_ == "fp8" ? 6e-2 : 1e-5, {{"dw", &dw}},
      [&] { cpu_->dense_weight_gradient(shape, dy.reference, x.reference, dw.reference, nullptr, true); },
      [&] { gpu_->dense_weight_gradient(shape, dy.device, x.device, dw.device, nullptr, true); });
}

// A dense layer that takes an array right after it was written has its largest magnitude told by the writer,
// and measures it elsewhere: the same bits.
void Suite::told_magnitude() {
  const std::int64_t rows = 272, width = 352, inner = 176;
  Pair x = activations(uniform(rows * width)), w = activations(uniform(width * width));
  Pair norm = reals(uniform(width, 0.5, 1.5)), rms = reals(rows), d_norm = reals(uniform(width));
  Pair normed = activations(rows * width), gradient = activations(uniform(rows * width, -0.01, 0.01));
  Pair gated = activations(rows * inner), d_gated = activations(uniform(rows * inner));
  Pair out = activations(rows * width), dw = reals(uniform(width * width));
  const striped::DenseShape square{rows, width, width, 1, true}, up{rows, inner, width, 2, true};
  const auto same = [&](const std::string& name, Pair& result, const auto& write, const auto& take) {
    const auto bits = [&](bool right_after) {
      for (Pair* each : {&x, &normed, &gradient, &gated, &out, &dw, &d_norm}) each->reset_device();
      gpu_->rms_norm(rows, width, 1e-6, x.device, nullptr, norm.device, nullptr, out.device, rms.device);
      write();
      if (!right_after) gpu_->synchronize();
      take();
      return result.bits();
    };
    expect(precision_ + " told magnitude of " + name, bits(true) == bits(false), 0, 1);
  };
  same(
      "rms_norm", out,
      [&] {
        gpu_->rms_norm(rows, width, 1e-6, x.device, nullptr, norm.device, nullptr, normed.device, rms.device);
      },
      [&] { gpu_->dense(square, normed.device, w.device, nullptr, out.device); });
  same(
      "rms_norm_backward", dw,
      [&] {
        gpu_->rms_norm_backward(rows, width, x.device, norm.device, rms.device, x.device, gradient.device,
                                d_norm.device);
      },
      [&] { gpu_->dense_weight_gradient(square, gradient.device, x.device, dw.device, nullptr, true); });
  same(
      "gated", out, [&] { gpu_->gated(rows, inner, striped::Activation::silu, x.device, gated.device); },
      [&] { gpu_->dense(up, gated.device, w.device, nullptr, out.device); });
  same(
      "gated_backward", out,
      [&] {
        gpu_->gated_backward(rows, inner, striped::Activation::silu, x.device, d_gated.device,
                             gradient.device);
      },
      [&] { gpu_->dense_input_gradient(square, gradient.device, w.device, out.device, false); });
}

void Suite::run() {
  dense(37, 19, 5, true);
  dense(64, 128, 96, false);
  dense(256, 384, 512, true);
  dense(1024, 512, 48, false);
  if (precision_ != "fp8") {
    embedding(1, 8, 4, 4);
    embedding(1000, 24, 5, 4);
    embedding(3001, 136, 512, 4);
    embedding(2048, 64, 70000, 70000);
    embedding(4099, 13, 300, 1);
    for (const std::int64_t width : {1, 13, 64, 320, 1920, 4096}) rms_norm(67, width);
    rms_norm(5, 8192);
    rms_norm(3, 12288);
    // More rows than blocks run at a time.
    rms_norm(4500, 4096);
    rms_norm(40000, 64);
    rms_norm(3001, 1013);
    rms_norm(700, 12288);
    gated(33, 40);
    gated(17, 13);
    for (const std::int64_t vocab : {4, 5, 130, 512, 1000, 1021, 32768}) cross_entropy(41, vocab);
    elementwise(4099);
    optimizer(10007, 0);
    optimizer(10007, 3);
    optimizer(3, 0);
  }
  attention({2, 100, 2, 2, 16, 0, 0, 1});
  attention({1, 257, 4, 2, 64, 0, 10000, 1});
  attention({2, 200, 6, 2, 128, 0, 1e6, 16});
  attention({1, 300, 4, 1, 64, 50, 10000, 1});
  attention({1, 130, 2, 1, 20, 7, 10000, 1});
  attention({1, 70, 2, 2, 256, 0, 10000, 1});
  attention({1, 1, 1, 1, 64, 0, 10000, 1});
  attention({1, 1500, 4, 2, 128, 0, 10000, 1});
  attention({2, 1000, 4, 4, 64, 0, 10000, 1});
  // In parts whose statistics begin anywhere.
  attention({1, 1501, 4, 2, 128, 0, 10000, 1});
  attention({2, 1501, 2, 1, 64, 0, 10000, 1});
  changed_input();
  told_magnitude();
  recording();
}

}  // namespace

int main(int count, char** arguments) {
  // So small that the backward pass of the longest attentions takes heads, or sequences, one by one.
  setenv("STRIPED_ATTENTION_WORKSPACE", "12", 0);
  std::vector<std::string> precisions(arguments + 1, arguments + count);
  if (precisions.empty()) precisions = {"fp32", "bf16", "fp8"};
  if (!run_suites(precisions, [](const std::string& precision) {
        Suite suite(precision);
        suite.run();
        suite.report();
      }))
    return kSkipped;
  try {
    striped::make_cuda_backend("fp64", 0);
    expect("fp64 is refused", false, 0, 0);
  } catch (const striped::Error&) {
    expect("fp64 is refused", true, 0, 1);
  }
  return exit_code();
}
