// Times of the CUDA operators beside their floor: the bytes each must move at the device's copy rate, or its
// arithmetic at the tensor cores' peak. Inputs are random, larger than the L2 cache; the median of many runs.
//
//   bench_cuda_operators [tokens] [width] [inner]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "striped/backend.h"
#include "striped/error.h"

namespace {

using striped::Backend;

constexpr double kCopyRate = 4.275e12;  // bytes a second read plus written, measured on an H200
constexpr int kRuns = 15, kBatch = 4;

class Bench {
 public:
  explicit Bench(const std::string& precision)
      : backend_(striped::make_cuda_backend(precision, 0)), name_(precision) {
    std::mt19937 generator(1);
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (std::uint16_t& value : noise_) {
      const float single = uniform(generator);
      std::uint32_t bits;
      std::memcpy(&bits, &single, 4);
      value = static_cast<std::uint16_t>(bits >> 16);
    }
  }
  ~Bench() {
    for (void* pointer : memory_) backend_->release(pointer);
  }

  // bf16 values in (-1, 1); read as fp32 they are in the same range.
  void* random(std::int64_t bytes) {
    void* pointer = backend_->allocate(static_cast<std::size_t>(bytes));
    memory_.push_back(pointer);
    const auto chunk = static_cast<std::int64_t>(noise_.size() * 2);
    for (std::int64_t at = 0; at < bytes; at += chunk) {
      backend_->upload(static_cast<char*>(pointer) + at, noise_.data(),
                       static_cast<std::size_t>(std::min(chunk, bytes - at)));
    }
    return pointer;
  }
  std::int32_t* tokens(std::int64_t count, int vocab, int used) {
    std::vector<std::int32_t> list(static_cast<std::size_t>(count));
    std::mt19937 generator(2);
    for (auto& token : list) token = static_cast<std::int32_t>(generator() % used * (vocab / used));
    void* pointer = random(count * 4);
    backend_->upload(pointer, list.data(), list.size() * 4);
    return static_cast<std::int32_t*>(pointer);
  }
  void forget() {
    for (void* pointer : memory_) backend_->release(pointer);
    memory_.clear();
  }

  template <class Call>
  void time(const std::string& what, double bytes, double flops, const Call& call) {
    call();
    backend_->synchronize();
    std::vector<double> times;
    for (int run = 0; run < kRuns; ++run) {
      const auto start = std::chrono::steady_clock::now();
      for (int i = 0; i < kBatch; ++i) call();
      backend_->synchronize();
      const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
      times.push_back(elapsed.count() / kBatch);
    }
    std::nth_element(times.begin(), times.begin() + kRuns / 2, times.end());
    const double seconds = times[kRuns / 2];
    const double floor = std::max(bytes / kCopyRate, flops / backend_->peak_flops());
    std::printf("%-5s %-44s %9.4f ms  floor %8.4f  x%5.2f  %6.2f TB/s  %7.1f TFLOP/s\n", name_.c_str(),
                what.c_str(), seconds * 1e3, floor * 1e3, seconds / floor, bytes / seconds * 1e-12,
                flops / seconds * 1e-12);
    std::fflush(stdout);
  }

  Backend& backend() { return *backend_; }

 private:
  std::unique_ptr<Backend> backend_;
  std::string name_;
  std::vector<void*> memory_;
  std::vector<std::uint16_t> noise_ = std::vector<std::uint16_t>(std::size_t{1} << 22);
};

void memory_bound(Bench& bench, std::int64_t rows, std::int64_t width, std::int64_t inner) {
  Backend& b = bench.backend();
  const std::int64_t size = rows * width * 2, wide = rows * inner * 2;
  void *x = bench.random(size), *y = bench.random(size), *z = bench.random(size), *s = bench.random(size);
  void *w = bench.random(width * 4), *rms = bench.random(rows * 4), *dw = bench.random(width * 4);
  bench.time("rms_norm + residual", 4.0 * size, 0,
             [&] { b.rms_norm(rows, width, 1e-6, x, y, w, s, z, rms); });
  bench.time("rms_norm backward", 4.0 * size, 0,
             [&] { b.rms_norm_backward(rows, width, s, w, rms, y, z, dw); });
  bench.time("add", 3.0 * size, 0, [&] { b.add(rows * width, x, y); });
  std::int32_t *few = bench.tokens(rows, 512, 4), *many = bench.tokens(rows, 512, 512);
  void *table = bench.random(512 * width * 2), *dtable = bench.random(512 * width * 4);
  bench.time("embedding, 4 of 512 tokens", size, 0, [&] { b.embedding(rows, width, few, table, x); });
  bench.time("embedding gradient, 4 of 512 tokens", size, 0,
             [&] { b.embedding_gradient(rows, width, 512, few, x, dtable); });
  bench.time("embedding gradient, 512 tokens", size, 0,
             [&] { b.embedding_gradient(rows, width, 512, many, x, dtable); });
  void *gu = bench.random(2 * wide), *h = bench.random(wide);
  const auto silu = striped::Activation::silu;
  bench.time("gated", 3.0 * wide, 0, [&] { b.gated(rows, inner, silu, gu, h); });
  bench.time("gated backward", 5.0 * wide, 0, [&] { b.gated_backward(rows, inner, silu, gu, h, gu); });
  bench.forget();
}

void losses(Bench& bench, std::int64_t rows) {
  Backend& b = bench.backend();
  for (const std::int64_t vocab : {512, 1024, 65536}) {
    const std::int64_t count = vocab > 4096 ? rows / 8 : rows;
    void *logits = bench.random(count * vocab * 2), *loss = bench.random(4);
    std::int32_t* targets = bench.tokens(count, static_cast<int>(vocab), 4);
    std::vector<float> ones(static_cast<std::size_t>(count), 1.0f);
    auto* weights = static_cast<float*>(bench.random(count * 4));
    b.upload(weights, ones.data(), ones.size() * 4);
    bench.time("cross_entropy " + std::to_string(count) + " x " + std::to_string(vocab), 4.0 * count * vocab,
               0, [&] { b.cross_entropy(count, vocab, logits, targets, weights, 1, true, loss); });
    bench.forget();
  }
}

void optimizer(Bench& bench, std::int64_t count) {
  Backend& b = bench.backend();
  void *g = bench.random(count * 4), *p = bench.random(count * 4), *m = bench.random(count * 4);
  void *v = bench.random(count * 4), *compute = bench.random(count * 2);
  auto* norm = static_cast<double*>(bench.random(8));
  const striped::OptimizerStep step{1e-4f, 0.1f, 0.05f, 1.0f};
  auto* on_device = static_cast<striped::OptimizerStep*>(bench.random(sizeof step));
  b.upload(on_device, &step, sizeof step);
  bench.time("squared_norm", 4.0 * count, 0, [&] { b.squared_norm(count, g, norm); });
  bench.time("adamw", 30.0 * count, 0,
             [&] { b.adamw(count, {0.9f, 0.95f, 1e-8f, 0.1f, 1.0f}, on_device, norm, g, p, m, v, compute); });
  bench.forget();
}

void dense(Bench& bench, std::int64_t rows, std::int64_t in, std::int64_t out) {
  Backend& b = bench.backend();
  const striped::DenseShape shape{rows, in, out, 0, true};
  void *x = bench.random(rows * in * 2), *w = bench.random(out * in * 2), *y = bench.random(rows * out * 2);
  void *dx = bench.random(rows * in * 2), *dw = bench.random(out * in * 4);
  const double flops = 2.0 * static_cast<double>(rows) * static_cast<double>(in) * static_cast<double>(out);
  const std::string name = std::to_string(rows) + " x " + std::to_string(in) + " -> " + std::to_string(out);
  bench.time("dense " + name, 0, flops, [&] { b.dense(shape, x, w, nullptr, y); });
  bench.time("  input gradient", 0, flops, [&] { b.dense_input_gradient(shape, y, w, dx, false); });
  bench.time("  weight gradient", 0, flops,
             [&] { b.dense_weight_gradient(shape, y, x, dw, nullptr, false); });
  bench.time("  forward and both gradients", 0, 3 * flops, [&] {
    b.dense(shape, x, w, nullptr, y);
    b.dense_weight_gradient(shape, y, x, dw, nullptr, false);
    b.dense_input_gradient(shape, y, w, dx, false);
  });
  bench.forget();
}

void attention(Bench& bench, striped::AttentionShape s) {
  Backend& b = bench.backend();
  const std::int64_t rows = s.batch * s.length, packed = (s.heads + 2 * s.kv_heads) * s.head_dim;
  void *qkv = bench.random(rows * packed * 2), *dqkv = bench.random(rows * packed * 2);
  void *y = bench.random(rows * s.heads * s.head_dim * 2),
       *dy = bench.random(rows * s.heads * s.head_dim * 2);
  void* statistics = bench.random(rows * s.heads * 4);
  const std::size_t bytes = b.attention_workspace(s);
  void* workspace = bench.random(static_cast<std::int64_t>(bytes) + 256);
  const double flops = 2.0 * static_cast<double>(s.length) * static_cast<double>(rows) * s.heads * s.head_dim;
  const std::string name = std::to_string(s.length) + " tokens, " + std::to_string(s.kv_heads) +
                           " kv heads, " + std::to_string(bytes >> 20) + " MiB";
  bench.time("attention " + name, 0, flops, [&] { b.attention(s, qkv, y, statistics, workspace); });
  bench.time("  backward", 0, 2.5 * flops,
             [&] { b.attention_backward(s, qkv, y, statistics, dy, dqkv, workspace); });
  bench.forget();
}

}  // namespace

int main(int count, char** arguments) {
  const auto argument = [&](int index, std::int64_t otherwise) {
    return count > index ? std::strtoll(arguments[index], nullptr, 10) : otherwise;
  };
  const std::int64_t rows = argument(1, 32768), width = argument(2, 4096), inner = argument(3, 11008);
  try {
    Bench bf16("bf16");
    memory_bound(bf16, rows, width, inner);
    losses(bf16, rows);
    optimizer(bf16, 200'000'000);
    const std::int64_t tokens = std::min<std::int64_t>(rows, 8192);
    Bench fp8("fp8");
    for (Bench* bench : {&bf16, &fp8}) {
      dense(*bench, tokens, width, 3 * width);
      dense(*bench, tokens, width, inner);
      dense(*bench, tokens, inner, width);
    }
    const int heads = static_cast<int>(width / 128);
    for (const std::int64_t length : {tokens, rows})
      attention(bf16, {1, length, heads, heads, 128, 0, 1e6, 1});
    attention(bf16, {1, tokens, heads, std::max(1, heads / 4), 128, 0, 1e6, 1});
    attention(bf16, {1, rows, heads, heads, 128, 1024, 1e6, 1});
  } catch (const striped::Error& error) {
    std::printf("%s [%s]\n", error.what(), error.code().c_str());
    return 1;
  }
  return 0;
}
