// The inner Hyena operators on CUDA against their equations in double precision: every output and gradient,
// fresh random inputs, poisoned outputs and workspace, guards behind every array, and the same bits from a
// second run. Built by CMake as test_cuda_hyena, and as test_hyena_emulated for the processor (emulation/).
// Arguments: `short` (sequences up to 5,555 tokens, for the sanitizer, under which the longest take hours),
// `small` (for the emulation), `one` (an LI, for racecheck, which is slower still) or `all`; then a seed, to
// see a failure again. Or `memory`, precision, batch, length, width, order: prints the bytes that an LI keeps
// and needs as workspace. Exit code 1 when anything fails, 77 without a GPU.
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "cuda_check.h"
#include "hyena.h"

using namespace striped;
using striped::cuda::check;
using striped::cuda::ElementType;

namespace {

constexpr int kSkipped = 77;  // what ctest and the test suite take for "skipped"

using Values = std::vector<double>;
std::mt19937_64 generator;

Values normal(std::int64_t count, double scale) {
  std::normal_distribution<float> distribution(0, static_cast<float>(scale));
  Values values(static_cast<std::size_t>(count));
  for (double& x : values) x = distribution(generator);
  return values;
}

// An array on the device in fp32 or bf16, with a guard behind it.
class DeviceArray {
 public:
  DeviceArray(std::size_t count, ElementType type)
      : count_(count), size_(type == ElementType::bf16 ? 2 : 4), bytes_(count * size_ + kGuard) {
    check(cudaMalloc(&data_, bytes_), "cudaMalloc");
    poison();
  }
  DeviceArray(Values& values, ElementType type) : DeviceArray(values.size(), type) { put(values); }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;

  void* data() const { return data_; }
  void poison() { check(cudaMemset(data_, 0xff, bytes_), "cudaMemset"); }
  // Rounds `values` to the array's type.
  void put(Values& values) {
    std::vector<char> host(count_ * size_);
    for (std::size_t i = 0; i < count_; ++i) {
      if (size_ == 2) {
        const __nv_bfloat16 x = __float2bfloat16(static_cast<float>(values[i]));
        std::memcpy(&host[i * 2], &x, 2);
        values[i] = __bfloat162float(x);
      } else {
        const float x = static_cast<float>(values[i]);
        std::memcpy(&host[i * 4], &x, 4);
        values[i] = x;
      }
    }
    check(cudaMemcpy(data_, host.data(), host.size(), cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  std::vector<unsigned char> raw() const {
    std::vector<unsigned char> host(bytes_);
    check(cudaMemcpy(host.data(), data_, bytes_, cudaMemcpyDeviceToHost), "cudaMemcpy");
    return host;
  }
  Values get() const {
    const auto host = raw();
    Values values(count_);
    for (std::size_t i = 0; i < count_; ++i) {
      if (size_ == 2) {
        __nv_bfloat16 x;
        std::memcpy(&x, &host[i * 2], 2);
        values[i] = __bfloat162float(x);
      } else {
        float x;
        std::memcpy(&x, &host[i * 4], 4);
        values[i] = x;
      }
    }
    return values;
  }
  bool guard_intact() const {
    const auto host = raw();
    return std::all_of(host.end() - kGuard, host.end(), [](unsigned char c) { return c == 0xff; });
  }

 private:
  static constexpr std::size_t kGuard = 1024;
  std::size_t count_, size_, bytes_;
  void* data_ = nullptr;
};

struct Inputs {
  Values z, dy, featurizer, filter, decay, skip, residues, log_poles;
};
struct Results {
  Values y, dz, featurizer, filter, skip, residues, log_poles;
  double filter_terms =
      0;  // Σ over channels and taps of the square of what a channel adds to its group's gradient
};

// One channel of one sequence; sums its share of the weight gradients into its own rows.
struct Channel {
  const HyenaShape& s;
  const Inputs& in;
  Results& out;
  std::int64_t b, c, group;
  Values x[3], d[3], u, g, y, du;

  Channel(const HyenaShape& shape, const Inputs& inputs, Results& results, std::int64_t batch,
          std::int64_t channel)
      : s(shape),
        in(inputs),
        out(results),
        b(batch),
        c(channel),
        group(channel / (shape.width / shape.groups)) {}

  std::int64_t z_at(std::int64_t t, int part) const { return ((b * s.length + t) * 3 + part) * s.width + c; }
  double tap(int part, int i) const { return in.featurizer[(part * s.width + c) * s.featurizer_taps + i]; }

  // y += h ∗ u, du += h ⋆ g, lags[j] = Σ_t g_t·u_{t-j}
  void convolve(const Values& h, Values& lags) {
    for (std::int64_t j = 0; j < static_cast<std::int64_t>(h.size()); ++j) {
      double lag = 0;
      for (std::int64_t t = j; t < s.length; ++t) {
        y[t] += h[j] * u[t - j];
        du[t - j] += h[j] * g[t];
        lag += g[t] * u[t - j];
      }
      lags[j] = lag;
    }
  }
  void explicit_filter(Values& d_filter) {
    const std::int64_t reach = std::min<std::int64_t>(s.taps, s.length);
    Values h(reach), lags(reach);
    for (std::int64_t t = 0; t < reach; ++t) {
      h[t] = in.filter[group * s.taps + t] * (in.decay.empty() ? 1 : in.decay[group * s.taps + t]);
    }
    convolve(h, lags);
    for (std::int64_t t = 0; t < reach; ++t) {
      d_filter[t] = lags[t] * (in.decay.empty() ? 1 : in.decay[group * s.taps + t]);
    }
  }
  // Filter written out; quadratic in the length.
  void implicit_filter(Values& d_residues, Values& d_log_poles) {
    Values h(s.length), lags(s.length);
    const double *r = &in.residues[group * s.order], *p = &in.log_poles[group * s.order];
    for (int n = 0; n < s.order; ++n) {
      for (std::int64_t t = 0; t < s.length; ++t) h[t] += r[n] * std::exp(p[n] * t);
    }
    convolve(h, lags);
    for (int n = 0; n < s.order; ++n) {
      for (std::int64_t t = 0; t < s.length; ++t) {
        d_residues[n] += lags[t] * std::exp(p[n] * t);
        d_log_poles[n] += r[n] * t * lags[t] * std::exp(p[n] * t);
      }
    }
  }
  // The same by recurrences, for sequences too long for that.
  void recurrent_filter(Values& d_residues, Values& d_log_poles) {
    for (int n = 0; n < s.order; ++n) {
      const double r = in.residues[group * s.order + n], pole = std::exp(in.log_poles[group * s.order + n]);
      double state = 0, moment = 0, adjoint = 0;
      for (std::int64_t t = 0; t < s.length; ++t) {
        moment = pole * (moment + state);
        state = pole * state + u[t];
        y[t] += r * state;
        d_residues[n] += g[t] * state;
        d_log_poles[n] += r * g[t] * moment;
      }
      for (std::int64_t t = s.length - 1; t >= 0; --t) {
        adjoint = pole * adjoint + g[t];
        du[t] += r * adjoint;
      }
    }
  }

  void run(Values& d_filter, Values& d_residues, Values& d_log_poles) {
    const std::int64_t L = s.length;
    for (int part = 0; part < 3; ++part) {
      x[part].assign(L, 0);
      for (std::int64_t t = 0; t < L; ++t) {
        for (int i = 0; i < s.featurizer_taps && i <= t; ++i)
          x[part][t] += tap(part, i) * in.z[z_at(t - i, part)];
      }
    }
    u.resize(L), g.resize(L), y.assign(L, 0), du.assign(L, 0);
    for (std::int64_t t = 0; t < L; ++t) {
      u[t] = x[1][t] * x[2][t];
      g[t] = in.dy[(b * L + t) * s.width + c] * x[0][t];
    }
    if (s.kind != HyenaKind::long_implicit) {
      explicit_filter(d_filter);
    } else if (L <= 2048) {
      implicit_filter(d_residues, d_log_poles);
    } else {
      recurrent_filter(d_residues, d_log_poles);
    }
    double d_skip = 0;
    for (auto& part : d) part.resize(L);
    for (std::int64_t t = 0; t < L; ++t) {
      const double dy = in.dy[(b * L + t) * s.width + c];
      if (s.has_skip) {
        y[t] += in.skip[c] * u[t];
        du[t] += in.skip[c] * g[t];
        d_skip += g[t] * u[t];
      }
      out.y[(b * L + t) * s.width + c] = x[0][t] * y[t];
      d[0][t] = dy * y[t], d[1][t] = du[t] * x[2][t], d[2][t] = du[t] * x[1][t];
    }
    if (s.has_skip) out.skip[c] += d_skip;
    for (int part = 0; part < 3; ++part) {
      for (std::int64_t t = 0; t < L; ++t) {
        double dz = 0;
        for (int i = 0; i < s.featurizer_taps; ++i) {
          if (t + i < L) dz += tap(part, i) * d[part][t + i];
          if (t >= i) {
            out.featurizer[(part * s.width + c) * s.featurizer_taps + i] +=
                d[part][t] * in.z[z_at(t - i, part)];
          }
        }
        out.dz[z_at(t, part)] = dz;
      }
    }
  }
};

Results reference(const HyenaShape& s, const Inputs& in) {
  Results out;
  out.y.resize(s.batch * s.length * s.width);
  out.dz.resize(3 * out.y.size());
  out.featurizer.assign(in.featurizer.size(), 0);
  out.skip.assign(in.skip.size(), 0);
  const std::int64_t size = s.width / s.groups;
  std::vector<Values> filters(s.width, Values(s.taps)), residues(s.width, Values(s.order)),
      log_poles(s.width, Values(s.order));
  std::atomic<std::int64_t> next{0};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); ++i) {
    threads.emplace_back([&] {
      for (std::int64_t c; (c = next++) < s.width;) {
        for (std::int64_t b = 0; b < s.batch; ++b) {
          Values filter(s.taps), residue(s.order), log_pole(s.order);
          Channel(s, in, out, b, c).run(filter, residue, log_pole);
          for (int t = 0; t < s.taps; ++t) filters[c][t] += filter[t];
          for (int n = 0; n < s.order; ++n) residues[c][n] += residue[n], log_poles[c][n] += log_pole[n];
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  const auto gather = [&](const std::vector<Values>& channels, Values& to, std::int64_t inner) {
    to.assign(s.groups * inner, 0);
    for (std::int64_t c = 0; c < s.width; ++c) {
      for (std::int64_t i = 0; i < inner; ++i) to[c / size * inner + i] += channels[c][i];
    }
  };
  gather(filters, out.filter, s.taps);
  for (const Values& channel : filters) {
    for (const double x : channel) out.filter_terms += x * x;
  }
  gather(residues, out.residues, s.order);
  gather(log_poles, out.log_poles, s.order);
  return out;
}

struct Case {
  HyenaShape shape;
  ElementType type;
  bool decay;
};

Inputs random_inputs(const Case& test) {
  const HyenaShape& s = test.shape;
  Inputs in;
  in.z = normal(3 * s.batch * s.length * s.width, 1);
  in.dy = normal(s.batch * s.length * s.width, 1);
  in.featurizer = normal(3 * s.width * s.featurizer_taps, 0.6);
  if (s.has_skip) in.skip = normal(s.width, 1);
  if (s.kind == HyenaKind::long_implicit) {
    in.residues = normal(s.groups * s.order, 0.3);
    std::uniform_real_distribution<double> memory(std::log(0.5), std::log(2.0 * s.length));
    in.log_poles.resize(s.groups * s.order);
    for (double& p : in.log_poles) p = static_cast<float>(-std::exp(-memory(generator)));
  } else {
    in.filter = normal(s.groups * s.taps, 1 / std::sqrt(s.taps));
    if (test.decay) {
      in.decay.resize(in.filter.size());
      for (std::size_t i = 0; i < in.decay.size(); ++i) {
        in.decay[i] = static_cast<float>(std::exp(-3.0 * (i % s.taps) / s.taps));
      }
    }
  }
  return in;
}

// Relative to |expected|; or to the root of `terms`, where given.
double error(const Values& out, const Values& expected, double base, double terms) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    difference += (out[i] - base - expected[i]) * (out[i] - base - expected[i]);
    size += expected[i] * expected[i];
  }
  if (terms != 0) size = terms;
  return size == 0 ? std::sqrt(difference) : std::sqrt(difference / size);
}

constexpr std::size_t kFewNumbers = 100;

int passed = 0, failed = 0;

void run(const Case& test) {
  const HyenaShape& s = test.shape;
  const bool implicit = s.kind == HyenaKind::long_implicit;
  Inputs in = random_inputs(test);
  const ElementType real = ElementType::f32;
  constexpr double base = 0.25;  // what gradients hold before the call
  DeviceArray z(in.z, test.type), dy(in.dy, test.type), featurizer(in.featurizer, real),
      filter(in.filter, real), decay(in.decay, real), skip(in.skip, real), residues(in.residues, real),
      log_poles(in.log_poles, real);
  DeviceArray y(in.dy.size(), test.type), dz(in.z.size(), test.type);
  DeviceArray workspace(cuda::hyena_workspace(s, test.type) / 4 + 1, real),
      kept(cuda::hyena_kept(s, test.type) / 4, real);
  const HyenaWeights weights{featurizer.data(),
                             filter.data(),
                             in.decay.empty() ? nullptr : decay.data(),
                             s.has_skip ? skip.data() : nullptr,
                             residues.data(),
                             log_poles.data()};
  DeviceArray d_featurizer(in.featurizer.size(), real), d_filter(in.filter.size(), real),
      d_skip(in.skip.size(), real), d_residues(in.residues.size(), real),
      d_log_poles(in.log_poles.size(), real);
  struct Output {
    const char* name;
    DeviceArray* array;
    std::size_t count;
    double base;
  };
  std::vector<Output> outputs{{"y", &y, in.dy.size(), 0},
                              {"dz", &dz, in.z.size(), 0},
                              {"featurizer", &d_featurizer, in.featurizer.size(), base}};
  if (implicit) {
    outputs.push_back({"residues", &d_residues, in.residues.size(), base});
    outputs.push_back({"log_poles", &d_log_poles, in.log_poles.size(), base});
  } else {
    outputs.push_back({"filter", &d_filter, in.filter.size(), base});
  }
  if (s.has_skip) outputs.push_back({"skip", &d_skip, in.skip.size(), base});

  std::vector<std::vector<unsigned char>> first;
  bool same = true;
  for (int repeat = 0; repeat < 2; ++repeat) {
    for (auto& output : outputs) {
      output.array->poison();
      Values start(output.count, output.base);
      if (output.base != 0) output.array->put(start);
    }
    workspace.poison();
    kept.poison();
    cuda::hyena_forward(s, weights, test.type, z.data(), y.data(), kept.data(), workspace.data(), nullptr);
    workspace.poison();
    const HyenaGradients gradients{
        d_featurizer.data(), implicit ? nullptr : d_filter.data(), s.has_skip ? d_skip.data() : nullptr,
        implicit ? d_residues.data() : nullptr, implicit ? d_log_poles.data() : nullptr};
    cuda::hyena_backward(s, weights, test.type, z.data(), kept.data(), dy.data(), dz.data(), gradients,
                         workspace.data(), nullptr);
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      auto raw = outputs[i].array->raw();
      if (repeat == 0) {
        first.push_back(std::move(raw));
      } else {
        same = same && raw == first[i];
      }
    }
  }

  const Results expected = reference(s, in);
  const double tolerance = test.type == ElementType::bf16 ? 1e-2 : implicit ? 1e-4 : 1e-5;
  bool good = same && workspace.guard_intact() && kept.guard_intact();
  std::string line;
  for (const auto& output : outputs) {
    const std::string name = output.name;
    const Values& want = name == "y"            ? expected.y
                         : name == "dz"         ? expected.dz
                         : name == "featurizer" ? expected.featurizer
                         : name == "filter"     ? expected.filter
                         : name == "skip"       ? expected.skip
                         : name == "residues"   ? expected.residues
                                                : expected.log_poles;
    // A filter gradient of a few numbers (twelve, for one tap and twelve groups), each a sum over a group's
    // channels of terms of random sign, is by chance several times smaller than its terms, while its error is
    // the rounding of the terms, which no kernel changes. So there the error is measured against the terms,
    // added up as what they are, independent. That hides no fault: over draws, the mean square of the sum is
    // that of the terms, so the limit is the same for what is always wrong; it only does not swing with the
    // draw. A channel left out is 1/sqrt(channels) of the terms, 3% or more in all these cases, against a
    // limit of 1%. From a hundred numbers on, chance evens out by itself, and |expected| is the measure.
    const bool by_terms = test.type == ElementType::bf16 && name == "filter" && output.count < kFewNumbers;
    const double e = error(output.array->get(), want, output.base, by_terms ? expected.filter_terms : 0);
    if (!(e <= tolerance) || !output.array->guard_intact()) good = false;
    char text[64];
    std::snprintf(text, sizeof text, " %s %.1e%s", output.name, e, e <= tolerance ? "" : "!");
    line += text;
  }
  (good ? passed : failed) += 1;
  std::printf("%s %s %s B%lld L%lld D%lld size %lld %s%d taps %d%s%s%s:%s\n", good ? "ok  " : "FAIL",
              implicit ? "LI" : "FIR", test.type == ElementType::bf16 ? "bf16" : "fp32",
              static_cast<long long>(s.batch), static_cast<long long>(s.length),
              static_cast<long long>(s.width), static_cast<long long>(s.width / s.groups),
              implicit ? "N" : "h", implicit ? s.order : s.taps, s.featurizer_taps, s.has_skip ? " skip" : "",
              test.decay ? " decay" : "", same ? "" : " NOT DETERMINISTIC", line.c_str());
}

Case fir(ElementType type, std::int64_t batch, std::int64_t length, std::int64_t width, std::int64_t size,
         int taps, int featurizer_taps = 3, bool skip = false, bool decay = false) {
  return {{HyenaKind::medium_regularised, batch, length, width, width / size, featurizer_taps, taps, 0, skip},
          type,
          decay};
}
Case modal(ElementType type, std::int64_t batch, std::int64_t length, std::int64_t width, std::int64_t size,
           int order, int featurizer_taps = 3, bool skip = true) {
  return {{HyenaKind::long_implicit, batch, length, width, width / size, featurizer_taps, 0, order, skip},
          type,
          false};
}

void all(ElementType type, bool is_short) {
  for (const int taps : {1, 2, 4, 7, 31, 128, 129, 200, 256}) {
    run(fir(type, 1, 517, 192, 16, taps, 3, taps % 2 == 0, taps > 100));
    run(fir(type, 3, 300, 48, taps % 2 == 0 ? 1 : 3, taps, 3, taps % 2 == 1, taps > 30));
  }
  run(fir(type, 1, 1, 1024, 16, 7));  // one token: many channels, so that no single product decides
  run(fir(type, 2, 37, 128, 64, 128, 3, true, true));
  run(fir(type, 1, 1000, 24, 3, 7, 1));
  run(fir(type, 1, 130, 40, 8, 12, 8, true));
  run(fir(type, 1, 4097, 256, 64, 7, 3, true));
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
  if (is_short) return;
  run(modal(type, 2, 16384, 64, 1, 16));
  run(modal(type, 1, 1 << 18, 32, 1, 16));
}

// Every kernel, over the boundaries of tiles and strips, in a size that the emulation does in seconds.
void small() {
  const ElementType bf16 = ElementType::bf16;
  for (const int taps : {1, 7, 31, 65, 128, 129}) {
    run(fir(bf16, 1, 517, 128, 16, taps, 3, taps % 2 == 0, taps > 100));
  }
  run(fir(bf16, 2, 37, 64, 64, 128, 3, true, true));
  run(fir(bf16, 1, 300, 48, 1, 200, 3, true));
  run(fir(ElementType::f32, 1, 130, 40, 8, 12, 8, true));
  run(modal(bf16, 1, 255, 64, 1, 16, 3, false));
  run(modal(bf16, 2, 700, 64, 32, 5));
  run(modal(bf16, 1, 2600, 64, 1, 16));
  run(modal(bf16, 1, 2048, 64, 32, 16));
  run(modal(bf16, 1, 300, 33, 3, 16));
  run(modal(ElementType::f32, 2, 300, 64, 1, 32, 4));
}

// What an LI of a filter a channel in bf16 or fp32 takes, as the engine's memory table counts it.
int print_memory(const std::vector<std::string>& arguments) {
  const ElementType type = arguments.at(0) == "bf16" ? ElementType::bf16 : ElementType::f32;
  const auto number = [&](std::size_t i) { return std::stoll(arguments.at(i)); };
  const HyenaShape shape = modal(type, number(1), number(2), number(3), 1, static_cast<int>(number(4))).shape;
  std::printf("%zu %zu\n", cuda::hyena_kept(shape, type), cuda::hyena_workspace(shape, type));
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::printf("SKIPPED: no NVIDIA GPU can be used here\n");
    return kSkipped;
  }
  const std::string size = count > 1 ? arguments[1] : "all";
  if (size == "memory") return print_memory({arguments + 2, arguments + count});
  const unsigned seed = count > 2 ? static_cast<unsigned>(std::stoul(arguments[2])) : std::random_device{}();
  generator.seed(seed);
  std::printf("seed %u\n", seed);
  try {
    if (size == "small") {
      small();
    } else if (size == "one") {
      run(modal(ElementType::bf16, 1, 700, 32, 1, 16));
    } else {
      for (const ElementType type : {ElementType::f32, ElementType::bf16}) all(type, size == "short");
      if (size != "short") run(modal(ElementType::bf16, 1, 1 << 20, 64, 1, 16));
      run(modal(ElementType::bf16, 1, 3000, 4096, 1, 16));
    }
  } catch (const Error& e) {
    std::printf("FAIL: %s: %s\n", e.code().c_str(), e.what());
    failed += 1;
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
