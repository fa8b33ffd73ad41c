// Hyena-SE and Hyena-MR on the GPU: checked against a plain double-precision form, then timed against the
// byte floor. Built by CMake as bench_cuda_fir; argument `time-only` leaves the check out, `time-only TAPS
// LENGTH` times one shape, as for a profiler.
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "cuda_check.h"
#include "hyena_fir.h"

using namespace striped;
using striped::cuda::check;

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
  std::vector<T> get() const {
    std::vector<T> host(count);
    check(cudaMemcpy(host.data(), data, count * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy");
    return host;
  }
  void poison() { check(cudaMemset(data, 0xff, count * sizeof(T)), "cudaMemset"); }
  void clear() { check(cudaMemset(data, 0, count * sizeof(T)), "cudaMemset"); }
};

__global__ void fill_kernel(__nv_bfloat16* out, std::size_t n, unsigned long long seed) {
  for (std::size_t i = blockIdx.x * static_cast<std::size_t>(blockDim.x) + threadIdx.x; i < n;
       i += static_cast<std::size_t>(gridDim.x) * blockDim.x) {
    unsigned long long x = (i + 1) * 0x9e3779b97f4a7c15ull + seed;
    x ^= x >> 30, x *= 0xbf58476d1ce4e5b9ull, x ^= x >> 27, x *= 0x94d049bb133111ebull, x ^= x >> 31;
    const float a =
        (x & 0xffff) / 65536.0f + ((x >> 16) & 0xffff) / 65536.0f + ((x >> 32) & 0xffff) / 65536.0f;
    out[i] = __float2bfloat16((a - 1.5f) * 2.0f);
  }
}
void fill(Device<__nv_bfloat16>& out) { fill_kernel<<<1024, 256>>>(out.data, out.count, generator()); }

std::vector<float> random_floats(std::size_t n, float scale) {
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> out(n);
  for (float& x : out) x = normal(generator);
  return out;
}

// The operator as its equations say, on the host in double precision.
struct Reference {
  std::vector<double> y, dz, dfilter, dfeaturizer, dskip;
};
Reference reference(const HyenaShape& s, const std::vector<float>& featurizer,
                    const std::vector<float>& filter, const std::vector<float>& decay,
                    const std::vector<float>& skip, const std::vector<__nv_bfloat16>& z,
                    const std::vector<__nv_bfloat16>& dy) {
  const auto B = s.batch, L = s.length, D = s.width;
  Reference r{std::vector<double>(B * L * D), std::vector<double>(B * L * 3 * D),
              std::vector<double>(s.groups * s.taps), std::vector<double>(9 * D), std::vector<double>(D)};
  const auto channels = D / s.groups;
  std::vector<double> x[3], dx[3], u(L), g(L), c(L), du(L), h(s.taps);
  for (int p = 0; p < 3; ++p) x[p].resize(L), dx[p].resize(L);
  for (std::int64_t b = 0; b < B; ++b) {
    for (std::int64_t d = 0; d < D; ++d) {
      const auto at = [&](std::int64_t t, int p) {
        return static_cast<double>(__bfloat162float(z[(b * L + t) * 3 * D + p * D + d]));
      };
      const auto group = d / channels;
      for (int t = 0; t < s.taps; ++t)
        h[t] =
            static_cast<double>(filter[group * s.taps + t]) * (decay.empty() ? 1 : decay[group * s.taps + t]);
      for (int p = 0; p < 3; ++p)
        for (std::int64_t t = 0; t < L; ++t) {
          x[p][t] = 0;
          for (int m = 0; m < 3 && m <= t; ++m) x[p][t] += featurizer[(p * D + d) * 3 + m] * at(t - m, p);
        }
      const double skip_d = skip.empty() ? 0 : skip[d];
      for (std::int64_t t = 0; t < L; ++t) {
        u[t] = x[1][t] * x[2][t];
        g[t] = static_cast<double>(__bfloat162float(dy[(b * L + t) * D + d])) * x[0][t];
        r.dskip[d] += g[t] * u[t];
      }
      for (std::int64_t t = 0; t < L; ++t) {
        c[t] = skip_d * u[t], du[t] = skip_d * g[t];
        for (int m = 0; m < s.taps; ++m) {
          if (m <= t) c[t] += h[m] * u[t - m];
          if (t + m < L) du[t] += h[m] * g[t + m];
          if (m <= t)
            r.dfilter[group * s.taps + m] +=
                g[t] * u[t - m] * (decay.empty() ? 1 : decay[group * s.taps + m]);
        }
        r.y[(b * L + t) * D + d] = x[0][t] * c[t];
      }
      for (std::int64_t t = 0; t < L; ++t) {
        dx[0][t] = static_cast<double>(__bfloat162float(dy[(b * L + t) * D + d])) * c[t];
        dx[1][t] = du[t] * x[2][t], dx[2][t] = du[t] * x[1][t];
      }
      for (int p = 0; p < 3; ++p)
        for (std::int64_t t = 0; t < L; ++t) {
          double sum = 0;
          for (int m = 0; m < 3; ++m) {
            if (t + m < L) sum += featurizer[(p * D + d) * 3 + m] * dx[p][t + m];
            if (m <= t) r.dfeaturizer[(p * D + d) * 3 + m] += dx[p][t] * at(t - m, p);
          }
          r.dz[(b * L + t) * 3 * D + p * D + d] = sum;
        }
    }
  }
  return r;
}

double number(float x) { return x; }
double number(__nv_bfloat16 x) { return __bfloat162float(x); }
template <class T>
double error(const std::vector<T>& got, const std::vector<double>& want) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double d = number(got[i]) - want[i];
    if (!std::isfinite(d)) return INFINITY;
    difference += d * d, norm += want[i] * want[i];
  }
  return std::sqrt(difference / norm);
}

struct Problem {
  HyenaShape shape;
  Device<__nv_bfloat16> z, y, dy, dz;
  Device<float> featurizer, filter, decay, skip, dfeaturizer, dfilter, dskip;
  Device<unsigned char> workspace;
  std::vector<float> featurizer_host, filter_host, decay_host, skip_host;

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
        workspace(cuda::fir_workspace(s)),
        featurizer_host(random_floats(9 * s.width, 0.5f)),
        filter_host(random_floats(filter.count, 1.0f / std::sqrt(static_cast<float>(s.taps)))),
        decay_host(filter.count),
        skip_host(random_floats(s.width, 1.0f)) {
    for (std::size_t i = 0; i < decay_host.size(); ++i)
      decay_host[i] = std::exp(-2.0f * (i % s.taps) / s.taps);
    featurizer.put(featurizer_host), filter.put(filter_host), decay.put(decay_host), skip.put(skip_host);
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
  void forward() { cuda::fir_forward(shape, weights(), z.data, y.data, 0); }
  void backward() {
    cuda::fir_backward(shape, weights(), z.data, dy.data, dz.data, gradients(), workspace.data, 0);
  }
};

int failures = 0;

void verify(HyenaShape shape) {
  Problem p(shape);
  p.y.poison(), p.dz.poison(), p.workspace.poison();
  p.dfeaturizer.clear(), p.dfilter.clear(), p.dskip.clear();
  p.forward();
  p.backward();
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  const bool mr = shape.kind == HyenaKind::medium_regularised;
  const Reference r =
      reference(shape, p.featurizer_host, p.filter_host, mr ? p.decay_host : std::vector<float>{},
                shape.has_skip ? p.skip_host : std::vector<float>{}, p.z.get(), p.dy.get());
  const double errors[5] = {error(p.y.get(), r.y), error(p.dz.get(), r.dz), error(p.dfilter.get(), r.dfilter),
                            error(p.dfeaturizer.get(), r.dfeaturizer),
                            shape.has_skip ? error(p.dskip.get(), r.dskip) : 0};
  bool good = true;
  for (double e : errors) good = good && e <= 1e-2;
  failures += !good;
  std::printf(
      "%-4s B%lld L%-5lld D%-4lld groups %-3lld taps %-3d  y %.1e dz %.1e dh %.1e df %.1e dd %.1e  %s\n",
      mr ? "MR" : "SE", (long long)shape.batch, (long long)shape.length, (long long)shape.width,
      (long long)shape.groups, shape.taps, errors[0], errors[1], errors[2], errors[3], errors[4],
      good ? "ok" : "WRONG");
}

template <class F>
double median_ms(F&& run, int repeats) {
  cudaEvent_t start, stop;
  check(cudaEventCreate(&start), "cudaEventCreate"), check(cudaEventCreate(&stop), "cudaEventCreate");
  std::vector<float> times;
  for (int i = 0; i < 3; ++i) run();
  for (int i = 0; i < repeats; ++i) {
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

void time_shape(int taps, std::int64_t length, double copy) {
  Problem p({taps > 17 ? HyenaKind::medium_regularised : HyenaKind::short_explicit, 1, length, 4096, 256, 3,
             taps, 0, taps > 17});
  const int repeats = length > 50000 ? 15 : 40;
  const double f = median_ms([&] { p.forward(); }, repeats), b = median_ms([&] { p.backward(); }, repeats);
  const double floor = 2.0 * length * 4096 / copy / 1e6;
  std::printf(
      "taps %-3d L %-6lld forward %.3f ms (%.2fx) backward %.3f ms (%.2fx) both %.3f ms (%.2fx of the "
      "floor %.3f)\n",
      taps, (long long)length, f, f / (4 * floor), b, b / (7 * floor), f + b, (f + b) / (11 * floor),
      11 * floor);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || std::string(argv[1]) != "time-only") {
    for (int taps : {1, 2, 4, 7, 17, 31, 65, 100, 128, 129, 200, 257}) {
      for (std::int64_t length : {1, 5, 33, 300, 1027}) {
        verify({taps > 17 ? HyenaKind::medium_regularised : HyenaKind::short_explicit, length == 33 ? 3 : 1,
                length, 128, length == 300 ? 4 : 8, 3, taps, 0, length != 5});
      }
    }
    verify({HyenaKind::medium_regularised, 2, 2500, 192, 12, 3, 128, 0, true});
  }
  std::printf("%d wrong\n", failures);
  const double copy = measure_copy();  // GB/s, read + write
  std::printf("copy %.3f TB/s\n", copy / 1e3);
  if (argc > 3) {
    time_shape(std::atoi(argv[2]), std::atoll(argv[3]), copy);
    return failures != 0;
  }
  for (int taps : {7, 128, 256}) {
    for (std::int64_t length : {2048, 8192, 32768, 131072}) time_shape(taps, length, copy);
  }
  return failures != 0;
}
