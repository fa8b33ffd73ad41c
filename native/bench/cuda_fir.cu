// Hyena-SE and Hyena-MR on the GPU, timed against the byte floor: on tensor cores, and short filters in
// groups of one channel on CUDA cores. Built by CMake as bench_cuda_fir; arguments TAPS LENGTH [CHANNELS OF A
// GROUP [WIDTH [BATCH [fp32]]]] time that shape alone, as for a profiler.
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "cuda_check.h"
#include "fourier_plans.h"
#include "hyena.h"

using namespace striped;
using striped::cuda::check;
using striped::cuda::ElementType;

namespace {

std::mt19937_64 generator{std::random_device{}()};

template <class T>
struct Device {
  T* data = nullptr;
  std::size_t count;
  explicit Device(std::size_t n) : count(n) { check(cudaMalloc(&data, n * sizeof(T)), "cudaMalloc"); }
  ~Device() { cudaFree(data); }
  Device(const Device&) = delete;
  void put(const std::vector<T>& host) {
    check(cudaMemcpy(data, host.data(), count * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
  }
};

template <class T>
__global__ void fill_kernel(T* out, std::size_t n, unsigned long long seed) {
  for (std::size_t i = blockIdx.x * static_cast<std::size_t>(blockDim.x) + threadIdx.x; i < n;
       i += static_cast<std::size_t>(gridDim.x) * blockDim.x) {
    unsigned long long x = (i + 1) * 0x9e3779b97f4a7c15ull + seed;
    x ^= x >> 30, x *= 0xbf58476d1ce4e5b9ull, x ^= x >> 27, x *= 0x94d049bb133111ebull, x ^= x >> 31;
    const float a =
        (x & 0xffff) / 65536.0f + ((x >> 16) & 0xffff) / 65536.0f + ((x >> 32) & 0xffff) / 65536.0f;
    out[i] = T((a - 1.5f) * 2.0f);
  }
}
template <class T>
void fill(Device<T>& out) {
  fill_kernel<<<1024, 256>>>(out.data, out.count, generator());
}

std::vector<float> random_floats(std::size_t n, float scale) {
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> out(n);
  for (float& x : out) x = normal(generator);
  return out;
}

template <class T>
struct Problem {
  static constexpr ElementType kType = sizeof(T) == 2 ? ElementType::bf16 : ElementType::f32;
  HyenaShape shape;
  cuda::FourierPlans plans;
  Device<T> z, y, dy, dz;
  Device<float> featurizer, filter, decay, skip, dfeaturizer, dfilter, dskip;
  Device<unsigned char> workspace;

  explicit Problem(const HyenaShape& s)
      : shape(s),
        z(s.batch * s.length * s.width * 3),
        y(s.batch * s.length * s.width),
        dy(y.count),
        dz(z.count),
        featurizer(9 * s.width),
        filter(s.groups * s.taps),
        decay(filter.count),
        skip(s.width),
        dfeaturizer(featurizer.count),
        dfilter(filter.count),
        dskip(skip.count),
        workspace(cuda::hyena_workspace(s, kType, plans)) {
    std::vector<float> factors(decay.count);
    for (std::size_t i = 0; i < factors.size(); ++i) factors[i] = std::exp(-2.0f * (i % s.taps) / s.taps);
    decay.put(factors);
    featurizer.put(random_floats(featurizer.count, 0.5f));
    filter.put(random_floats(filter.count, 1.0f / std::sqrt(static_cast<float>(s.taps))));
    skip.put(random_floats(skip.count, 1.0f));
    fill(z), fill(dy);
  }
  HyenaWeights weights() const {
    return {featurizer.data,
            filter.data,
            shape.kind == HyenaKind::medium_regularised ? decay.data : nullptr,
            shape.has_skip ? skip.data : nullptr,
            nullptr,
            nullptr};
  }
  HyenaGradients gradients() const {
    return {dfeaturizer.data, dfilter.data, shape.has_skip ? dskip.data : nullptr, nullptr, nullptr};
  }
  void forward() {
    cuda::hyena_forward(shape, weights(), kType, z.data, y.data, nullptr, workspace.data, plans, 0);
  }
  void backward() {
    cuda::hyena_backward(shape, weights(), kType, z.data, nullptr, dy.data, dz.data, gradients(),
                         workspace.data, plans, 0);
  }
};

// Each run behind a write that evicts the L2 cache, while which the host gets ahead: launches are not part of
// it.
template <class F>
double median_ms(F&& run, int repeats) {
  constexpr std::size_t more_than_cache = 256u << 20;
  static Device<unsigned char> evicting(more_than_cache);
  cudaEvent_t start, stop;
  check(cudaEventCreate(&start), "cudaEventCreate"), check(cudaEventCreate(&stop), "cudaEventCreate");
  std::vector<float> times;
  for (int i = 0; i < 3; ++i) run();
  for (int i = 0; i < repeats; ++i) {
    check(cudaMemsetAsync(evicting.data, i, more_than_cache), "cudaMemsetAsync");
    check(cudaEventRecord(start), "cudaEventRecord");
    run();
    check(cudaEventRecord(stop), "cudaEventRecord");
    check(cudaEventSynchronize(stop), "cudaEventSynchronize");
    float ms;
    check(cudaEventElapsedTime(&ms, start, stop), "cudaEventElapsedTime");
    times.push_back(ms);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

double measure_copy() {
  const std::size_t bytes = 2ull << 30;
  Device<unsigned char> a(bytes), b(bytes);
  return 2.0 * bytes /
         median_ms([&] { cudaMemcpyAsync(b.data, a.data, bytes, cudaMemcpyDeviceToDevice); }, 20) / 1e6;
}

struct Sizes {
  int taps;
  std::int64_t length, group_size = 16, width = 4096, batch = 1;
};

template <class T>
void time_sizes(const Sizes& sizes, double copy) {
  const auto [taps, length, group_size, width, batch] = sizes;
  Problem<T> p({taps > 17 ? HyenaKind::medium_regularised : HyenaKind::short_explicit, batch, length, width,
                width / group_size, 3, taps, 0, taps > 17});
  const int repeats = batch * length > 50000 ? 15 : 40;
  const double f = median_ms([&] { p.forward(); }, repeats), b = median_ms([&] { p.backward(); }, repeats);
  const double floor = 1.0 * sizeof(T) * batch * length * width / copy / 1e6;
  std::printf(
      "%s taps %-3d groups of %-2lld L %-6lld D %-4lld B %-2lld forward %.3f ms (%.2fx) backward %.3f ms "
      "(%.2fx) both %.3f ms (%.2fx of the floor %.3f)\n",
      sizeof(T) == 2 ? "bf16" : "fp32", taps, (long long)group_size, (long long)length, (long long)width,
      (long long)batch, f, f / (4 * floor), b, b / (7 * floor), f + b, (f + b) / (11 * floor), 11 * floor);
}

}  // namespace

int main(int argc, char** argv) {
  const double copy = measure_copy();  // GB/s, read + write
  std::printf("copy %.3f TB/s\n", copy / 1e3);
  if (argc > 2) {
    Sizes sizes{std::atoi(argv[1]), std::atoll(argv[2])};
    std::int64_t* const more[] = {&sizes.group_size, &sizes.width, &sizes.batch};
    for (int i = 3; i < std::min(argc, 6); ++i) *more[i - 3] = std::atoll(argv[i]);
    argc > 6 ? time_sizes<float>(sizes, copy) : time_sizes<__nv_bfloat16>(sizes, copy);
    return 0;
  }
  const auto time_lengths = [&](int taps, std::int64_t group_size) {
    for (std::int64_t length : {2048, 8192, 32768, 131072})
      time_sizes<__nv_bfloat16>({taps, length, group_size}, copy);
  };
  for (int taps : {7, 128, 256}) time_lengths(taps, 16);
  time_lengths(7, 1);
  return 0;
}
