// Times every CPU operator at one shape: milliseconds, GFLOP/s and GB/s (bytes that must move, not those that
// do).
//   cpu_operators [--width 192] [--length 1024] [--batch 4] [--threads 0] [--json]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "striped/backend.h"
#include "striped/error.h"

namespace {

struct Options {
  std::int64_t width = 192, length = 1024, batch = 4;
  int threads = 0;
  bool json = false;
};

// What an operator costs at least.
struct Cost {
  double flops, values;
};

class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options), backend_(striped::make_cpu_backend("fp32", options.threads)) {
    if (options_.json) return;
    std::printf("%s; width %ld, length %ld, batch %ld, fp32\n", backend_->device_name().c_str(),
                static_cast<long>(options.width), static_cast<long>(options.length),
                static_cast<long>(options.batch));
    std::printf("%-34s %10s %10s %10s\n", "operator", "ms", "GFLOP/s", "GB/s");
  }
  ~Bench() {
    for (void* p : held_) backend_->release(p);
  }

  striped::Backend& backend() { return *backend_; }

  float* values(std::int64_t count, float low = -1, float high = 1) {
    std::vector<float> host(static_cast<std::size_t>(count));
    std::uint32_t state = 12345;
    for (auto& value : host) {
      state = state * 1664525u + 1013904223u;
      value = low + (high - low) * static_cast<float>(state >> 8) / 16777216.0f;
    }
    auto* p = static_cast<float*>(scratch(host.size() * sizeof(float)));
    backend_->upload(p, host.data(), host.size() * sizeof(float));
    return p;
  }

  void* scratch(std::size_t bytes) {
    held_.push_back(backend_->allocate(bytes));
    return held_.back();
  }

  // The median of repetitions that last at least a third of a second.
  void time(const std::string& name, Cost cost, const std::function<void()>& run) {
    using Clock = std::chrono::steady_clock;
    run();
    std::vector<double> times;
    for (double total = 0; total < 0.33 || times.size() < 5;) {
      const auto start = Clock::now();
      run();
      backend_->synchronize();
      times.push_back(std::chrono::duration<double>(Clock::now() - start).count());
      total += times.back();
    }
    std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
    const double seconds = times[times.size() / 2];
    const double gflops = cost.flops / seconds / 1e9, gbytes = cost.values * 4 / seconds / 1e9;
    if (options_.json) {
      std::printf("{\"operator\":\"%s\",\"ms\":%.6f,\"gflops\":%.3f,\"gbytes\":%.3f}\n", name.c_str(),
                  seconds * 1e3, gflops, gbytes);
    } else {
      std::printf("%-34s %10.3f %10.1f %10.1f\n", name.c_str(), seconds * 1e3, gflops, gbytes);
    }
  }

 private:
  Options options_;
  std::unique_ptr<striped::Backend> backend_;
  std::vector<void*> held_;
};

void bench_dense(Bench& bench, const Options& o, const std::string& name, std::int64_t in, std::int64_t out) {
  auto& backend = bench.backend();
  const std::int64_t rows = o.batch * o.length;
  const striped::DenseShape s{rows, in, out};
  float *x = bench.values(rows * in), *w = bench.values(out * in), *y = bench.values(rows * out);
  float *dx = bench.values(rows * in), *dw = bench.values(out * in);
  const Cost cost{2.0 * rows * in * out, static_cast<double>(rows) * (in + out) + in * out};
  bench.time(name + " forward", cost, [&] { backend.dense(s, x, w, nullptr, y); });
  bench.time(name + " input gradient", cost, [&] { backend.dense_input_gradient(s, y, w, dx, false); });
  bench.time(name + " weight gradient", cost,
             [&] { backend.dense_weight_gradient(s, y, x, dw, nullptr, false); });
}

void bench_hyena(Bench& bench, const Options& o, const std::string& name, striped::HyenaShape s) {
  auto& backend = bench.backend();
  s.batch = o.batch;
  s.length = o.length;
  s.width = o.width;
  const std::int64_t count = s.batch * s.length * s.width;
  const bool implicit = s.kind == striped::HyenaKind::long_implicit;
  const std::int64_t weights = s.groups * (implicit ? s.order : s.taps);
  float *featurizer = bench.values(9 * s.width), *filter = bench.values(weights, -0.1f, 0.1f);
  float *poles = bench.values(weights, -1, -0.001f), *skip = bench.values(s.width);
  float *z = bench.values(3 * count), *y = bench.values(count), *dy = bench.values(count),
        *dz = bench.values(3 * count);
  float* dw[4] = {bench.values(9 * s.width), bench.values(weights), bench.values(s.width),
                  bench.values(weights)};
  void* workspace = bench.scratch(backend.hyena_workspace(s));
  const striped::HyenaWeights w{featurizer, filter, nullptr, skip, filter, poles};
  const striped::HyenaGradients g{dw[0], dw[1], dw[2], dw[1], dw[3]};
  // Operations a value: convolution (2 a tap; a recurrence has 4 a mode), featurizer (3 streams of 3 taps),
  // gates.
  const double conv = implicit ? 4.0 * s.order : 2.0 * s.taps, rest = 22;
  const double back = implicit ? 14.0 * s.order : 6.0 * s.taps;
  bench.time(name + " forward", {count * (conv + rest), 4.0 * count},
             [&] { backend.hyena(s, w, z, y, nullptr, workspace); });
  bench.time(name + " backward", {count * (back + 3 * rest), 7.0 * count},
             [&] { backend.hyena_backward(s, w, z, nullptr, dy, dz, g, workspace); });
}

void bench_attention(Bench& bench, const Options& o) {
  auto& backend = bench.backend();
  const int dim = 32, heads = static_cast<int>(std::max<std::int64_t>(1, o.width / dim));
  const striped::AttentionShape s{o.batch, o.length, heads, heads, dim, 0, 10000, 1};
  const std::int64_t count = o.batch * o.length * heads * dim;
  float *qkv = bench.values(3 * count), *y = bench.values(count), *dy = bench.values(count);
  float *dqkv = bench.values(3 * count), *statistics = bench.values(o.batch * o.length * heads);
  void* workspace = bench.scratch(backend.attention_workspace(s));
  const double product = static_cast<double>(count) * o.length;  // of one half-empty L×L product
  bench.time("attention forward", {2 * product, 4.0 * count},
             [&] { backend.attention(s, qkv, y, statistics, workspace); });
  bench.time("attention backward", {5 * product, 8.0 * count},
             [&] { backend.attention_backward(s, qkv, y, statistics, dy, dqkv, workspace); });
}

void bench_elementwise(Bench& bench, const Options& o) {
  auto& backend = bench.backend();
  const std::int64_t rows = o.batch * o.length, width = o.width, count = rows * width, vocab = 256;
  float *x = bench.values(count), *branch = bench.values(count), *w = bench.values(width),
        *sum = bench.values(count);
  float *y = bench.values(count), *rms = bench.values(rows), *dw = bench.values(width);
  bench.time("rms norm + add forward", {6.0 * count, 4.0 * count},
             [&] { backend.rms_norm(rows, width, 1e-6, x, branch, w, sum, y, rms); });
  bench.time("rms norm backward", {10.0 * count, 4.0 * count},
             [&] { backend.rms_norm_backward(rows, width, sum, w, rms, y, x, dw); });
  bench.time("add", {1.0 * count, 3.0 * count}, [&] { backend.add(count, x, y); });
  const std::int64_t inner = width * 8 / 3 / 16 * 16;
  float *gu = bench.values(2 * rows * inner), *act = bench.values(rows * inner);
  for (auto [name, kind] :
       {std::pair{"swiglu", striped::Activation::silu}, {"geglu", striped::Activation::gelu}}) {
    const Cost forward{25.0 * rows * inner, 3.0 * rows * inner},
        backward{30.0 * rows * inner, 5.0 * rows * inner};
    const auto activation = kind;
    bench.time(std::string(name) + " forward", forward,
               [&] { backend.gated(rows, inner, activation, gu, act); });
    float* dgu = bench.values(2 * rows * inner);
    bench.time(std::string(name) + " backward", backward,
               [&] { backend.gated_backward(rows, inner, activation, gu, act, dgu); });
  }
  std::vector<std::int32_t> host(rows);
  for (std::int64_t r = 0; r < rows; ++r) host[r] = static_cast<std::int32_t>((r * 2654435761u >> 7) % vocab);
  auto* tokens = static_cast<std::int32_t*>(bench.scratch(rows * sizeof(std::int32_t)));
  backend.upload(tokens, host.data(), rows * sizeof(std::int32_t));
  float *table = bench.values(vocab * width), *dtable = bench.values(vocab * width);
  bench.time("embedding forward", {0, 2.0 * count},
             [&] { backend.embedding(rows, width, tokens, table, y); });
  bench.time("embedding backward", {1.0 * count, 2.0 * count},
             [&] { backend.embedding_gradient(rows, width, vocab, tokens, y, dtable); });
  float *logits = bench.values(rows * vocab), *weights = bench.values(rows, 0.5f, 1.5f),
        *loss = bench.values(1);
  bench.time("cross-entropy + gradient", {20.0 * rows * vocab, 2.0 * rows * vocab}, [&] {
    backend.cross_entropy(rows, vocab, logits, tokens, weights, static_cast<float>(rows), true, loss);
  });
}

void bench_optimiser(Bench& bench) {
  auto& backend = bench.backend();
  const std::int64_t count = 1 << 21;
  float *g = bench.values(count), *p = bench.values(count), *m = bench.values(count),
        *v = bench.values(count, 0, 1);
  auto* norm = static_cast<double*>(bench.scratch(sizeof(double)));
  backend.zero(norm, sizeof(double));
  bench.time("gradient norm, 2M parameters", {2.0 * count, 1.0 * count},
             [&] { backend.squared_norm(count, g, norm); });
  const striped::OptimizerStep step{1e-3f, 0.1f, 0.05f, 1.0f};
  const striped::AdamWSettings settings{0.9f, 0.95f, 1e-8f, 0.1f, 1.0f};
  bench.time("adamw, 2M parameters", {15.0 * count, 7.0 * count},
             [&] { backend.adamw(count, settings, &step, norm, g, p, m, v, nullptr); });
}

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--json") {
      o.json = true;
      continue;
    }
    const long value = i + 1 < argc ? std::atol(argv[++i]) : -1;
    if (name == "--width" && value > 0) {
      o.width = value;
    } else if (name == "--length" && value > 0) {
      o.length = value;
    } else if (name == "--batch" && value > 0) {
      o.batch = value;
    } else if (name == "--threads" && value >= 0) {
      o.threads = static_cast<int>(value);
    } else {
      throw striped::Error("usage", "usage: " + std::string(argv[0]) +
                                        " [--width N] [--length N] [--batch N] [--threads N] [--json]");
    }
  }
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Options o = parse(argc, argv);
    Bench bench(o);
    using striped::HyenaKind;
    const std::int64_t groups = std::max<std::int64_t>(1, o.width / 16);
    bench_dense(bench, o, "dense D to 3D", o.width, 3 * o.width);
    bench_dense(bench, o, "dense D to D", o.width, o.width);
    bench_hyena(bench, o, "SE, 7 taps", {HyenaKind::short_explicit, 0, 0, 0, groups, 3, 7, 0, false});
    bench_hyena(bench, o, "MR, 128 taps", {HyenaKind::medium_regularised, 0, 0, 0, groups, 3, 128, 0, true});
    bench_hyena(bench, o, "LI, 16 modes", {HyenaKind::long_implicit, 0, 0, 0, o.width, 3, 0, 16, true});
    bench_attention(bench, o);
    bench_elementwise(bench, o);
    bench_optimiser(bench);
  } catch (const striped::Error& error) {
    std::fprintf(stderr, "error: %s [%s]\n", error.what(), error.code().c_str());
    return 2;
  }
  return 0;
}
