#include "bench/measure.h"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace striped::bench {
namespace {

constexpr int kRuns = 21, kFewestRuns = 5;
constexpr double kEnough = 1.5;  // seconds; after them, the fewest runs do
constexpr std::size_t kSmallestCache = std::size_t{32} << 20, kLargestCache = std::size_t{128} << 20;
constexpr std::int64_t kStretch = std::int64_t{1} << 20;  // values made for a long array

void store(std::byte* at, DType type, double value) {
  if (type == DType::f64) {
    std::memcpy(at, &value, sizeof value);
    return;
  }
  const auto single = static_cast<float>(value);
  std::uint32_t bits;
  std::memcpy(&bits, &single, sizeof bits);
  if (type == DType::f32) {
    std::memcpy(at, &bits, sizeof bits);
  } else {
    const auto upper = static_cast<std::uint16_t>(bits >> 16);
    std::memcpy(at, &upper, sizeof upper);
  }
}

std::size_t evicted_bytes(const Backend& backend) {
  return 2 * std::clamp(backend.cache_bytes(), kSmallestCache, kLargestCache);
}

}  // namespace

Measure::Measure(Backend& backend, bool fp8, int runs)
    : backend_(backend),
      runs_(runs),
      evicted_(
          static_cast<std::int64_t>(evicted_bytes(backend) / size_of(real_type(backend.activation_type())))),
      cache_(backend, evicted_bytes(backend)),
      norm_(backend, sizeof(double)) {
  cache_.zero();
  norm_.zero();
  copy_rate_ = measure_copy();
  matrix_rate_ = measure_product(false);
  dense_rate_ = fp8 ? measure_product(true) : matrix_rate_;
}

// Reading leaves nothing behind that would have to be written back while the clock runs.
void Measure::evict() { backend_.squared_norm(evicted_, cache_.at(), static_cast<double*>(norm_.at())); }

double Measure::median(const std::function<void()>& work, const std::function<void()>& prepare) {
  prepare();
  work();  // chooses algorithms, grows scratch memory
  const auto start = std::chrono::steady_clock::now();
  const auto wanted = [&]() -> std::size_t {
    if (runs_ > 0) return static_cast<std::size_t>(runs_);
    const std::chrono::duration<double> so_far = std::chrono::steady_clock::now() - start;
    return so_far.count() < kEnough ? kRuns : kFewestRuns;
  };
  std::vector<double> times;
  while (times.size() < wanted()) {
    prepare();
    evict();
    times.push_back(backend_.elapsed(work));
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

double Measure::floor(const Cost& cost) const {
  return std::max(cost.bytes / copy_rate_, cost.flops / (cost.fp8 ? dense_rate_ : matrix_rate_));
}

double Measure::measure_copy() {
  const std::size_t bytes = std::max<std::size_t>(cache_.bytes(), std::size_t{128} << 20);
  const DeviceBuffer from(backend_, bytes), to(backend_, bytes);
  backend_.zero(from.at(), bytes);
  return 2.0 * static_cast<double>(bytes) / median([&] { backend_.copy(to.at(), from.at(), bytes); });
}

double Measure::measure_product(bool fp8) {
  // On a GPU short enough for its full clocks: longer ones run at what its power limit leaves.
  DenseShape shape = backend_.name() == "cpu" ? DenseShape{1024, 1024, 1024} : DenseShape{4096, 5632, 4096};
  Pool pool(backend_);
  void *x = pool.activations(shape.rows * shape.in), *w = pool.activations(shape.out * shape.in),
       *y = pool.activations(shape.rows * shape.out);
  shape.site = fp8 ? 0 : -1;
  shape.allow_fp8 = fp8;
  const double flops = 2.0 * static_cast<double>(shape.rows * shape.in * shape.out);
  return flops / median([&] { backend_.dense(shape, x, w, nullptr, y); });
}

void* Pool::empty(std::size_t bytes) {
  return buffers_.emplace_back(backend_, std::max<std::size_t>(bytes, 1)).at();
}

void* Pool::values(std::int64_t count, DType type, double low, double high) {
  const std::size_t size = size_of(type), bytes = static_cast<std::size_t>(count) * size;
  std::vector<std::byte> host(static_cast<std::size_t>(std::min(count, kStretch)) * size);
  std::uniform_real_distribution<double> uniform(low, high);
  for (std::size_t at = 0; at < host.size(); at += size) store(host.data() + at, type, uniform(generator_));
  auto* device = static_cast<std::byte*>(empty(bytes));
  for (std::size_t at = 0; at < bytes; at += host.size())
    backend_.upload(device + at, host.data(), std::min(host.size(), bytes - at));
  return device;
}

std::int32_t* Pool::tokens(std::int64_t count, std::int64_t vocab) {
  std::vector<std::int32_t> host(static_cast<std::size_t>(count));
  for (std::int32_t& token : host)
    token = static_cast<std::int32_t>(generator_() % static_cast<std::uint64_t>(vocab));
  void* device = empty(host.size() * sizeof(std::int32_t));
  backend_.upload(device, host.data(), host.size() * sizeof(std::int32_t));
  return static_cast<std::int32_t*>(device);
}

float* Pool::ones(std::int64_t count) { return static_cast<float*>(values(count, DType::f32, 1, 1)); }

}  // namespace striped::bench
