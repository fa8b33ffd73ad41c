// The CPU as a striped::Backend: memory, and every operator handed to its template for float or double.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#endif

#include "gemm.h"
#include "operators.h"
#include "shard_operators.h"
#include "striped/error.h"

namespace striped {
namespace cpu {
namespace {

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) != 0) continue;
    const auto colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "CPU";
}

// Bytes of memory the machine has; 0 where unknown.
std::size_t physical_memory() {
#if defined(_SC_PHYS_PAGES)
  const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  if (pages > 0 && size > 0) return static_cast<std::size_t>(pages) * static_cast<std::size_t>(size);
#endif
  return 0;
}

// Bytes of memory this process holds; 0 where unknown.
std::size_t resident_memory() {
#if defined(__linux__)
  std::size_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
#else
  return 0;
#endif
}

// Bytes that this process may take where that is less than the machine has, else 0.
std::size_t memory_limit() {
#if defined(RLIMIT_AS)
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
      limit.rlim_cur < physical_memory())
    return static_cast<std::size_t>(limit.rlim_cur);
#endif
  return 0;
}

// Whether the system gives so many pieces of address space more. One large piece is refused sooner.
bool can_map(int pieces, std::size_t bytes) {
  bool all = true;
#if defined(MAP_ANONYMOUS)
  std::vector<void*> places;
  for (; all && bytes != 0 && pieces > 0; --pieces) {
    void* const place = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    all = place != MAP_FAILED;
    if (all) places.push_back(place);
  }
  for (void* place : places) munmap(place, bytes);
#endif
  return all;
}

std::string size_text(std::size_t bytes) {
  char text[32];
  const bool small = bytes < 1'000'000'000;
  std::snprintf(text, sizeof text, small ? "%.0f MB" : "%.1f GB",
                static_cast<double>(bytes) / (small ? 1e6 : 1e9));
  return text;
}

[[noreturn]] void out_of_memory(std::size_t bytes, const std::string& mend) {
  const std::size_t limit = memory_limit();
  const std::string room = limit > 0 ? " in a process that may take " + size_text(limit) + " (ulimit -v); "
                                     : " on a machine of " + size_text(physical_memory()) + "; ";
  throw Error("out-of-memory", "not enough memory: " + size_text(bytes) + " more are needed" + room + mend);
}

constexpr const char* kSmaller = "lower the micro-batch, the sequence or the width";

template <class T>
class CpuBackend final : public Backend {
 public:
  CpuBackend(int threads, std::string stands_in_for)
      : context_(threads), stands_in_for_(std::move(stands_in_for)) {
    configure_gemm();
  }

  std::string name() const override { return "cpu"; }
  std::string device_name() const override {
    const int threads = context_.pool.threads();
    std::string text =
        processor_name() + ", " + std::to_string(threads) + (threads == 1 ? " thread" : " threads");
    if (!stands_in_for_.empty()) text += ", fp32 in place of " + stands_in_for_;
    return text;
  }
  DType activation_type() const override { return sizeof(T) == 8 ? DType::f64 : DType::f32; }
  double peak_flops() const override { return 0; }

  void* allocate(std::size_t bytes) override {
    const std::size_t size = (bytes + 255) / 256 * 256;
    const std::size_t memory = physical_memory();
    if (memory != 0 && size > memory) out_of_memory(bytes, kSmaller);
    void* pointer = std::aligned_alloc(256, size == 0 ? 256 : size);
    if (!pointer) out_of_memory(bytes, kSmaller);
    if (const int threads = context_.pool.threads(); !multiplied_ && !can_map(threads, gemm_memory())) {
      std::free(pointer);
      out_of_memory(static_cast<std::size_t>(threads) * gemm_memory(),
                    "ask for fewer --threads, each of which takes its share, or " + std::string(kSmaller));
    }
#if !defined(NDEBUG)
    std::memset(pointer, 0xff, size);  // NaN in every floating-point type
#endif
    return pointer;
  }
  void release(void* pointer) override { std::free(pointer); }
  void upload(void* device, const void* host, std::size_t bytes) override {
    if (bytes != 0) std::memcpy(device, host, bytes);
  }
  void download(void* host, const void* device, std::size_t bytes) override {
    if (bytes != 0) std::memcpy(host, device, bytes);
  }
  void zero(void* device, std::size_t bytes) override { std::memset(device, 0, bytes); }
  void synchronize() override {}
  void copy(void* to, const void* from, std::size_t bytes) override {
    context_.pool.split(static_cast<std::int64_t>(bytes), 4096, [&](std::int64_t begin, std::int64_t end) {
      std::memcpy(static_cast<char*>(to) + begin, static_cast<const char*>(from) + begin,
                  static_cast<std::size_t>(end - begin));
    });
  }
  DeviceMemory device_memory() const override { return {resident_memory(), physical_memory()}; }
  std::size_t cache_bytes() const override {
#if defined(_SC_LEVEL3_CACHE_SIZE)
    const long bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (bytes > 0) return static_cast<std::size_t>(bytes);
#endif
    return 0;
  }

  void dense(const DenseShape& s, const void* x, const void* w, const void* bias, void* y) override {
    multiplied_ = true;
    cpu::dense<T>(context_, s, in<T>(x), in<T>(w), in<T>(bias), out<T>(y));
  }
  void dense_input_gradient(const DenseShape& s, const void* dy, const void* w, void* dx,
                            bool accumulate) override {
    cpu::dense_input_gradient<T>(context_, s, in<T>(dy), in<T>(w), out<T>(dx), accumulate);
  }
  void dense_weight_gradient(const DenseShape& s, const void* dy, const void* x, void* dw, void* dbias,
                             bool accumulate) override {
    cpu::dense_weight_gradient<T>(context_, s, in<T>(dy), in<T>(x), out<T>(dw), out<T>(dbias), accumulate);
  }

  void embedding(std::int64_t rows, std::int64_t width, const std::int32_t* tokens, const void* table,
                 void* x) override {
    cpu::embedding<T>(context_, rows, width, tokens, in<T>(table), out<T>(x));
  }
  void embedding_gradient(std::int64_t rows, std::int64_t width, std::int64_t, const std::int32_t* tokens,
                          const void* dx, void* dtable) override {
    cpu::embedding_gradient<T>(context_, rows, width, tokens, in<T>(dx), out<T>(dtable));
  }

  void rms_norm(std::int64_t rows, std::int64_t width, double eps, const void* x, const void* branch,
                const void* w, void* sum, void* y, void* reciprocal_rms) override {
    cpu::rms_norm<T>(context_, rows, width, static_cast<T>(eps), in<T>(x), in<T>(branch), in<T>(w),
                     out<T>(sum), out<T>(y), out<T>(reciprocal_rms));
  }
  void rms_norm_backward(std::int64_t rows, std::int64_t width, const void* sum, const void* w,
                         const void* reciprocal_rms, const void* dy, void* dx, void* dw) override {
    cpu::rms_norm_backward<T>(context_, rows, width, in<T>(sum), in<T>(w), in<T>(reciprocal_rms), in<T>(dy),
                              out<T>(dx), out<T>(dw));
  }
  void add(std::int64_t count, void* x, const void* y) override {
    cpu::add<T>(context_, count, out<T>(x), in<T>(y));
  }

  std::size_t hyena_kept(const HyenaShape&) const override { return 0; }
  std::size_t hyena_workspace(const HyenaShape& s) const override {
    return cpu::hyena_workspace<T>(context_, s, false);
  }
  void hyena(const HyenaShape& s, const HyenaWeights& w, const void* z, void* y, void*,
             void* workspace) override {
    cpu::hyena<T>(context_, s, w, in<T>(z), out<T>(y), out<T>(workspace));
  }
  void hyena_backward(const HyenaShape& s, const HyenaWeights& w, const void* z, const void*, const void* dy,
                      void* dz, const HyenaGradients& gradients, void* workspace) override {
    cpu::hyena_backward<T>(context_, s, w, in<T>(z), in<T>(dy), out<T>(dz), gradients, out<T>(workspace));
  }

  std::size_t attention_workspace(const AttentionShape& s) const override {
    return cpu::attention_workspace<T>(context_, s);
  }
  void attention(const AttentionShape& s, const void* qkv, void* y, void* statistics,
                 void* workspace) override {
    cpu::attention<T>(context_, s, in<T>(qkv), out<T>(y), out<T>(statistics), out<T>(workspace));
  }
  void attention_backward(const AttentionShape& s, const void* qkv, const void* y, const void* statistics,
                          const void* dy, void* dqkv, void* workspace) override {
    cpu::attention_backward<T>(context_, s, in<T>(qkv), in<T>(y), in<T>(statistics), in<T>(dy), out<T>(dqkv),
                               out<T>(workspace));
  }

  void gated(std::int64_t rows, std::int64_t inner, Activation activation, const void* gu, void* y) override {
    cpu::gated<T>(context_, rows, inner, activation, in<T>(gu), out<T>(y));
  }
  void gated_backward(std::int64_t rows, std::int64_t inner, Activation activation, const void* gu,
                      const void* dy, void* dgu) override {
    cpu::gated_backward<T>(context_, rows, inner, activation, in<T>(gu), in<T>(dy), out<T>(dgu));
  }

  void cross_entropy(std::int64_t rows, std::int64_t vocab, void* logits, const std::int32_t* targets,
                     const float* weights, float total_weight, bool gradient, void* loss_sum) override {
    cpu::cross_entropy<T>(context_, rows, vocab, out<T>(logits), targets, weights, total_weight, gradient,
                          out<T>(loss_sum));
  }

  void squared_norm(std::int64_t count, const void* gradients, double* squared_norm) override {
    cpu::squared_norm<T>(context_, count, in<T>(gradients), squared_norm);
  }
  void adamw(std::int64_t count, const AdamWSettings& settings, const OptimizerStep* step,
             const double* squared_norm, const void* gradients, void* parameters, void* moment1,
             void* moment2, void* compute) override {
    cpu::adamw<T>(context_, count, settings, *step, *squared_norm, in<T>(gradients), out<T>(parameters),
                  out<T>(moment1), out<T>(moment2), out<T>(compute));
  }

  void negative_exponential(std::int64_t count, const void* x, void* y) override {
    for (std::int64_t i = 0; i < count; ++i) out<T>(y)[i] = -std::exp(in<T>(x)[i]);
  }
  void multiply(std::int64_t count, void* x, const void* y) override {
    for (std::int64_t i = 0; i < count; ++i) out<T>(x)[i] *= in<T>(y)[i];
  }

  ShardOperators* shards() override { return &shards_; }

 private:
  Context context_;
  CpuShardOperators<T> shards_{context_};
  std::string stands_in_for_;
  bool multiplied_ = false;  // products have what gemm_memory() tells
};

}  // namespace
}  // namespace cpu

std::unique_ptr<Backend> make_cpu_backend(const std::string& precision, int threads) {
  if (precision == "fp64") return std::make_unique<cpu::CpuBackend<double>>(threads, "");
  if (precision == "fp32") return std::make_unique<cpu::CpuBackend<float>>(threads, "");
  if (precision == "bf16" || precision == "fp8") {
    return std::make_unique<cpu::CpuBackend<float>>(threads, precision);
  }
  throw Error("unknown-precision",
              "precision \"" + precision + "\" is unknown to the CPU backend; use fp64, fp32, bf16 or fp8");
}

}  // namespace striped
