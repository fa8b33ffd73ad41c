// Times Hyena-LI on the GPU against the byte floor: forward 4 and forward + backward 11 values of L·D moved
// once; then the same by Fourier transform, and long explicit filters in both forms. Inputs are random and
// the cache is evicted before every run. Built by CMake as bench_cuda_modal; optional argument: the width
// (4096).
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "cuda_check.h"
#include "fourier_plans.h"
#include "hyena.h"
#include "hyena_direct.h"
#include "hyena_fourier.h"

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

// By the kernels that the engine takes (docs/kernels.md), by those on CUDA cores, or by Fourier transform.
enum class Form { chosen, direct, fourier };
constexpr const char* kForms[] = {"", "on CUDA cores, ", "by Fourier transform, "};

struct Passes {
  std::size_t workspace, kept;
  std::function<void(void* kept, void* workspace)> forward, backward;
};

Passes passes_of(Form form, const HyenaShape& s, const HyenaWeights& w, const HyenaGradients& d,
                 ElementType type, const void* z, const void* dy, void* y, void* dz,
                 cuda::FourierPlans& plans) {
  if (form == Form::fourier) {
    return {cuda::fourier_workspace(s, plans), 0,
            [=, &plans](void*, void* work) { cuda::fourier_forward(s, w, type, z, y, work, plans, nullptr); },
            [=, &plans](void*, void* work) {
              cuda::fourier_backward(s, w, type, z, dy, dz, d, work, plans, nullptr);
            }};
  }
  if (form == Form::direct) {
    return {cuda::direct_workspace(s, type), 0,
            [=](void*, void* work) { cuda::direct_forward(s, w, type, {}, s.length, z, y, work, nullptr); },
            [=](void*, void* work) { cuda::direct_backward(s, w, type, z, dy, dz, d, work, nullptr); }};
  }
  return {cuda::hyena_workspace(s, type, plans), cuda::hyena_kept(s, type),
          [=, &plans](void* kept, void* work) {
            cuda::hyena_forward(s, w, type, z, y, kept, work, plans, nullptr);
          },
          [=, &plans](void* kept, void* work) {
            cuda::hyena_backward(s, w, type, z, kept, dy, dz, d, work, plans, nullptr);
          }};
}

HyenaShape modal(std::int64_t length, std::int64_t width, int order) {
  return {HyenaKind::long_implicit, 1, length, width, width, 3, 0, order, true};
}
HyenaShape explicit_filter(std::int64_t length, std::int64_t width, int taps) {
  return {HyenaKind::medium_regularised, 1, length, width, width / 16, 3, taps, 0, true};
}

void time_shape(const HyenaShape& shape, ElementType type, double rate, Form form = Form::chosen) {
  const std::int64_t length = shape.length, width = shape.width;
  const std::size_t size = type == ElementType::bf16 ? 2 : 4,
                    values = static_cast<std::size_t>(length * width);
  constexpr std::size_t evict_bytes = std::size_t{256} << 20;
  Buffer z(3 * values * size), y(values * size), dy(values * size), dz(3 * values * size), evict(evict_bytes);
  fill_random(z.data, 3 * values, type, 1);
  fill_random(dy.data, values, type, 77);
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> memory(0, std::log(static_cast<float>(length)));
  std::vector<float> taps(9 * width), skip(width), residues(shape.groups * shape.order), log_poles(residues),
      filter(shape.groups * shape.taps);
  for (auto* values_of : {&taps, &skip, &residues, &filter}) {
    for (float& x : *values_of) x = normal(random);
  }
  for (float& x : log_poles) x = -std::exp(-memory(random));
  const auto buffer = [](const std::vector<float>& host) {
    auto made = std::make_unique<Buffer>(4 * host.size() + 4);
    upload(*made, host);
    return made;
  };
  const auto w_featurizer = buffer(taps), w_skip = buffer(skip), w_residues = buffer(residues),
             w_log_poles = buffer(log_poles), w_filter = buffer(filter);
  const auto d_featurizer = buffer(taps), d_skip = buffer(skip), d_residues = buffer(residues),
             d_log_poles = buffer(log_poles), d_filter = buffer(filter);
  const HyenaWeights weights{w_featurizer->data, w_filter->data,   nullptr,
                             w_skip->data,       w_residues->data, w_log_poles->data};
  const HyenaGradients gradients{d_featurizer->data, d_filter->data, d_skip->data, d_residues->data,
                                 d_log_poles->data};
  cuda::FourierPlans plans;
  const Passes passes =
      passes_of(form, shape, weights, gradients, type, z.data, dy.data, y.data, dz.data, plans);
  Buffer workspace(passes.workspace), kept(passes.kept);
  const auto forward = [&] { passes.forward(kept.data, workspace.data); };
  const auto backward = [&] { passes.backward(kept.data, workspace.data); };
  const double forward_ms = median_ms(evict, evict_bytes, forward);
  const double backward_ms = median_ms(evict, evict_bytes, backward);
  const double both_ms = median_ms(evict, evict_bytes, [&] { forward(), backward(); });
  const double unit_ms = static_cast<double>(values * size) / rate * 1e3;
  const bool implicit = shape.kind == HyenaKind::long_implicit;
  std::printf(
      "%s L %7lld D %lld %s %d: %sforward %.3f ms (%.2f x floor), backward %.3f (%.2f x), both %.3f (%.2f "
      "x), workspace %.2f GiB\n",
      type == ElementType::bf16 ? "bf16" : "fp32", static_cast<long long>(length),
      static_cast<long long>(width), implicit ? "order" : "taps", implicit ? shape.order : shape.taps,
      kForms[static_cast<int>(form)], forward_ms, forward_ms / (4 * unit_ms), backward_ms,
      backward_ms / (7 * unit_ms), both_ms, both_ms / (11 * unit_ms),
      static_cast<double>(passes.workspace) / (1u << 30));
  std::fflush(stdout);
}

// Where Fourier transforms begin to pay.
void time_fourier(std::int64_t width, double rate) {
  for (const std::int64_t length : {8192, 32768, 131072}) {
    time_shape(modal(length, width, 16), ElementType::bf16, rate, Form::fourier);
    time_shape(modal(length, width, 64), ElementType::bf16, rate, Form::fourier);
  }
  for (const std::int64_t length : {8192, 32768}) {
    for (const int taps : {258, 512, 1024}) {
      time_shape(explicit_filter(length, width, taps), ElementType::bf16, rate, Form::direct);
    }
    time_shape(explicit_filter(length, width, 512), ElementType::bf16, rate, Form::fourier);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::int64_t width = argc > 1 ? std::atoll(argv[1]) : 4096;
  const double rate = copy_rate();
  std::printf("copy %.3f TB/s\n", rate / 1e12);
  for (const std::int64_t length : {2048, 8192, 32768, 131072}) {
    time_shape(modal(length, width, 16), ElementType::bf16, rate);
  }
  time_shape(modal(8192, width, 16), ElementType::f32, rate);
  time_fourier(width, rate);
  return 0;
}
