// The Fourier operators of context parallelism (ShardOperators) on a device against the CPU's in fp64: odd
// lengths, some and all residues, fresh random inputs, poisoned workspaces, and twice for the same bits.
#pragma once

#include <cstdio>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "cuda_pair.h"
#include "striped/shard_operators.h"

namespace fourier_parts {

using device_test::Pair;
using striped::Backend;
using striped::DType;
using striped::FourierPart;
using striped::HyenaGradients;
using striped::HyenaKind;
using striped::HyenaShape;
using striped::HyenaWeights;

// The calls of ShardOperators under test, and the memory that they work on.
struct Device {
  Backend& memory;
  DType type;  // of activations
  std::function<void(const FourierPart&, int piece, const void* x, std::int64_t stride, void* spectrum)> add;
  std::function<void(const FourierPart&, int piece, const void* spectrum, void* x, std::int64_t stride)> take;
  std::function<void(const FourierPart&, const HyenaShape&, const HyenaWeights&, void* spectrum)> filter;
  std::function<void(const FourierPart&, const HyenaShape&, const HyenaWeights&, const void* u, void* g,
                     const HyenaGradients&)>
      filter_backward;
};

class Checks {
 public:
  explicit Checks(Device device, unsigned seed)
      : cpu_(striped::make_cpu_backend("fp64", 0)), device_(std::move(device)), generator_(seed) {}

  int passed() const { return passed_; }
  int failed() const { return failed_; }

  // `taps` or `order` is 0.
  void run(const FourierPart& part, std::int64_t groups, int taps, int order, bool skip, bool decay) {
    const auto kind = order > 0 ? HyenaKind::long_implicit : HyenaKind::medium_regularised;
    const HyenaShape shape{kind, part.batch, part.rows, part.width, groups, 3, taps, order, skip};
    name_ = std::string(device_.type == DType::bf16 ? "bf16" : "fp32") + ", batch " +
            std::to_string(part.batch) + ", rows " + std::to_string(part.rows) + ", width " +
            std::to_string(part.width) + ", residues " + std::to_string(part.first) + " and on, " +
            std::to_string(part.count) + " of " + std::to_string(part.pieces) + ", " +
            (order > 0 ? "order " + std::to_string(order) : "taps " + std::to_string(taps));
    rows(part);
    filters(part, shape, decay);
  }

 private:
  using Outputs = std::vector<std::pair<const char*, Pair*>>;

  std::vector<double> uniform(std::int64_t count, double low = -1, double high = 1) {
    std::uniform_real_distribution<double> distribution(low, high);
    std::vector<double> values(static_cast<std::size_t>(count));
    for (double& value : values) value = distribution(generator_);
    return values;
  }
  Pair pair(DType type, std::vector<double> values) {
    return Pair(*cpu_, device_.memory, type, std::move(values));
  }
  Pair reals(std::int64_t count) { return pair(DType::f32, uniform(count)); }

  void expect(bool good, const std::string& what, double error) {
    (good ? passed_ : failed_) += 1;
    if (!good) std::printf("FAILED %s: %s, error %.3g\n", name_.c_str(), what.c_str(), error);
  }
  template <class Cpu, class Gpu>
  void check(double limit, const Outputs& outputs, const Cpu& on_cpu, const Gpu& on_device) {
    on_cpu();
    on_device();
    std::vector<std::vector<char>> first;
    for (const auto& [label, output] : outputs) {
      device_.memory.synchronize();
      const double error = output->error();
      expect(error <= limit, label, error);
      first.push_back(output->bits());
      output->reset_device();
    }
    on_device();
    device_.memory.synchronize();
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      expect(outputs[i].second->bits() == first[i], std::string(outputs[i].first) + ", a second time", 0);
    }
  }

  // A piece's rows into the sums, and back; with a stride as rows between others have it.
  void rows(const FourierPart& part) {
    const std::int64_t stride = 2 * part.rows * part.width, first = part.rows * part.width;
    const std::int64_t spectrum_size = 2 * part.batch * part.count * part.rows * part.width;
    Pair x = pair(device_.type, uniform(part.batch * stride)), spectrum = reals(spectrum_size);
    const int piece = part.pieces - 1;
    const auto* on_device =
        static_cast<std::byte*>(x.device) + static_cast<std::size_t>(first) * striped::size_of(device_.type);
    check(
        1e-6, {{"add", &spectrum}},
        [&] { cpu_->shards()->fourier_add(part, piece, x.reference + first, stride, spectrum.reference); },
        [&] { device_.add(part, piece, on_device, stride, spectrum.device); });
    const double limit = device_.type == DType::bf16 ? 1e-2 : 1e-6;
    check(
        limit, {{"take", &x}},
        [&] { cpu_->shards()->fourier_take(part, piece, spectrum.reference, x.reference + first, stride); },
        [&] { device_.take(part, piece, spectrum.device, const_cast<std::byte*>(on_device), stride); });
  }

  void filters(const FourierPart& part, const HyenaShape& s, bool with_decay) {
    const std::int64_t size = 2 * part.batch * part.count * part.rows * part.width,
                       length = part.pieces * part.rows;
    Pair spectrum = reals(size), u = reals(size), g = reals(size);
    Pair filter = reals(s.groups * s.taps), decay = pair(DType::f32, uniform(s.groups * s.taps, 0, 1));
    Pair skip = reals(s.width), residues = reals(s.groups * s.order);
    std::vector<double> poles = uniform(s.groups * s.order, -1, std::log(2.0 * static_cast<double>(length)));
    for (double& pole : poles) pole = -std::exp(-pole);
    Pair log_poles = pair(DType::f32, std::move(poles));
    Pair d_filter = reals(s.groups * s.taps), d_skip = reals(s.width), d_residues = reals(s.groups * s.order),
         d_log_poles = reals(s.groups * s.order);
    const auto weights = [&](auto at) {
      return HyenaWeights{
          nullptr,      at(filter),   with_decay ? at(decay) : nullptr, s.has_skip ? at(skip) : nullptr,
          at(residues), at(log_poles)};
    };
    const auto gradients = [&](auto at) {
      return HyenaGradients{nullptr, at(d_filter), at(d_skip), at(d_residues), at(d_log_poles)};
    };
    const auto reference = [](Pair& p) -> void* { return p.reference; };
    const auto device = [](Pair& p) -> void* { return p.device; };

    check(
        1e-5, {{"filter", &spectrum}},
        [&] { cpu_->shards()->fourier_filter(part, s, weights(reference), spectrum.reference); },
        [&] { device_.filter(part, s, weights(device), spectrum.device); });
    Outputs outputs{{"du", &g}};
    if (s.has_skip) outputs.push_back({"skip", &d_skip});
    if (s.order > 0) {
      outputs.insert(outputs.end(), {{"residues", &d_residues}, {"log-poles", &d_log_poles}});
    } else {
      outputs.push_back({"taps", &d_filter});
    }
    check(
        1e-5, outputs,
        [&] {
          cpu_->shards()->fourier_filter_backward(part, s, weights(reference), u.reference, g.reference,
                                                  gradients(reference));
        },
        [&] { device_.filter_backward(part, s, weights(device), u.device, g.device, gradients(device)); });
  }

  std::unique_ptr<Backend> cpu_;
  Device device_;
  std::mt19937_64 generator_;
  std::string name_;
  int passed_ = 0, failed_ = 0;
};

// Pieces of one row, residues of some of a launch's ranks and all of one, filters longer than a piece.
inline void small(Checks& checks) {
  checks.run({2, 37, 40, 4, 1, 1}, 40, 0, 5, true, false);
  checks.run({1, 64, 48, 2, 0, 2}, 3, 0, 40, false, false);
  checks.run({3, 1, 33, 8, 3, 2}, 11, 5, 0, true, false);
  checks.run({1, 130, 64, 6, 5, 1}, 4, 300, 0, true, true);
  checks.run({1, 60, 24, 7, 0, 7}, 24, 7, 0, false, true);
}

}  // namespace fourier_parts
