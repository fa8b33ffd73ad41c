// Times Hyena-LI on the GPU against the byte floor: forward 4 and forward + backward 11 values of L·D moved
// once. Inputs are random and the cache is evicted before every run. Built by CMake as bench_cuda_modal;
// optional argument: the width (4096).
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <vector>

#include "cuda_check.h"
#include "hyena.h"

using namespace striped;
using striped::cuda::check;
using striped::cuda::ElementType;

namespace {

constexpr int kRepeats = 21;

struct Buffer {
  void* data = nullptr;
  explicit Buffer(std::size_t bytes) { check(cudaMalloc(&data, bytes), "cudaMalloc"); }
  ~Buffer() { cudaFree(data); }
  Buffer(const Buffer&) = delete;
};

template <class T>
__global__ void fill(T* out, std::size_t n, unsigned long long seed) {
  for (std::size_t i = blockIdx.x * static_cast<std::size_t>(blockDim.x) + threadIdx.x; i < n;
       i += static_cast<std::size_t>(gridDim.x) * blockDim.x) {
    unsigned long long x = (i + seed) * 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull, x = (x ^ (x >> 27)) * 0x94d049bb133111ebull, x ^= x >> 31;
    out[i] = static_cast<T>(static_cast<float>(x >> 40) / (1 << 23) - 1.0f);
  }
}
void fill_random(void* data, std::size_t n, ElementType type, unsigned long long seed) {
  if (type == ElementType::bf16) {
    fill<<<2048, 256>>>(static_cast<__nv_bfloat16*>(data), n, seed);
  } else {
    fill<<<2048, 256>>>(static_cast<float*>(data), n, seed);
  }
  check(cudaGetLastError(), "cudaGetLastError");
}

double median_ms(const Buffer& evict, std::size_t evict_bytes, const std::function<void()>& work) {
  cudaEvent_t start, stop;
  check(cudaEventCreate(&start), "cudaEventCreate");
  check(cudaEventCreate(&stop), "cudaEventCreate");
  std::vector<float> times;
  for (int i = -2; i < kRepeats; ++i) {
    check(cudaMemsetAsync(evict.data, i, evict_bytes), "cudaMemsetAsync");
    check(cudaEventRecord(start), "cudaEventRecord");
    work();
    check(cudaEventRecord(stop), "cudaEventRecord");
    check(cudaEventSynchronize(stop), "cudaEventSynchronize");
    float ms = 0;
    check(cudaEventElapsedTime(&ms, start, stop), "cudaEventElapsedTime");
    if (i >= 0) times.push_back(ms);
  }
  check(cudaEventDestroy(start), "cudaEventDestroy");
  check(cudaEventDestroy(stop), "cudaEventDestroy");
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

// Bytes read and written a second by a large copy.
double copy_rate() {
  constexpr std::size_t bytes = std::size_t{2} << 30, evicted = std::size_t{256} << 20;
  Buffer from(bytes), to(bytes), evict(evicted);
  const double ms = median_ms(evict, evicted, [&] {
    check(cudaMemcpyAsync(to.data, from.data, bytes, cudaMemcpyDeviceToDevice), "cudaMemcpyAsync");
  });
  return 2.0 * bytes / ms * 1e3;
}

void upload(const Buffer& buffer, const std::vector<float>& host) {
  check(cudaMemcpy(buffer.data, host.data(), host.size() * 4, cudaMemcpyHostToDevice), "cudaMemcpy");
}

void time_length(std::int64_t length, std::int64_t width, ElementType type, double rate) {
  const HyenaShape shape{HyenaKind::long_implicit, 1, length, width, width, 3, 0, 16, true};
  const std::size_t size = type == ElementType::bf16 ? 2 : 4,
                    values = static_cast<std::size_t>(length * width);
  constexpr std::size_t evict_bytes = std::size_t{256} << 20;
  Buffer z(3 * values * size), y(values * size), dy(values * size), dz(3 * values * size), evict(evict_bytes);
  Buffer workspace(cuda::hyena_workspace(shape, type)), kept(cuda::hyena_kept(shape, type));
  fill_random(z.data, 3 * values, type, 1);
  fill_random(dy.data, values, type, 77);
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> memory(0, std::log(static_cast<float>(length)));
  std::vector<float> taps(9 * width), skip(width), residues(width * 16), log_poles(width * 16);
  for (float& x : taps) x = normal(random);
  for (float& x : skip) x = normal(random);
  for (float& x : residues) x = normal(random);
  for (float& x : log_poles) x = -std::exp(-memory(random));
  Buffer featurizer(36 * width), skips(4 * width), residue(64 * width), log_pole(64 * width);
  upload(featurizer, taps), upload(skips, skip), upload(residue, residues), upload(log_pole, log_poles);
  Buffer d_featurizer(36 * width), d_skip(4 * width), d_residue(64 * width), d_log_pole(64 * width);
  const HyenaWeights weights{featurizer.data, nullptr, nullptr, skips.data, residue.data, log_pole.data};
  const HyenaGradients gradients{d_featurizer.data, nullptr, d_skip.data, d_residue.data, d_log_pole.data};
  const auto forward = [&] {
    cuda::hyena_forward(shape, weights, type, z.data, y.data, kept.data, workspace.data, nullptr);
  };
  const auto backward = [&] {
    cuda::hyena_backward(shape, weights, type, z.data, kept.data, dy.data, dz.data, gradients, workspace.data,
                         nullptr);
  };
  const double forward_ms = median_ms(evict, evict_bytes, forward);
  const double backward_ms = median_ms(evict, evict_bytes, backward);
  const double both_ms = median_ms(evict, evict_bytes, [&] { forward(), backward(); });
  const double unit_ms = static_cast<double>(values * size) / rate * 1e3;
  std::printf(
      "%s L %7lld D %lld: forward %.3f ms (%.2f x floor), backward %.3f (%.2f x), both %.3f (%.2f x)\n",
      type == ElementType::bf16 ? "bf16" : "fp32", static_cast<long long>(length),
      static_cast<long long>(width), forward_ms, forward_ms / (4 * unit_ms), backward_ms,
      backward_ms / (7 * unit_ms), both_ms, both_ms / (11 * unit_ms));
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const std::int64_t width = argc > 1 ? std::atoll(argv[1]) : 4096;
  const double rate = copy_rate();
  std::printf("copy %.3f TB/s\n", rate / 1e12);
  for (const std::int64_t length : {2048, 8192, 32768, 131072}) {
    time_length(length, width, ElementType::bf16, rate);
  }
  time_length(8192, width, ElementType::f32, rate);
  return 0;
}
