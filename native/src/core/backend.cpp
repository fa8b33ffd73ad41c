#include "striped/backend.h"

#include <chrono>
#include <cmath>
#include <cstddef>
#include <vector>

#include "core/communicator.h"

namespace striped {

std::size_t size_of(DType type) { return type == DType::f64 ? 8 : type == DType::f32 ? 4 : 2; }

DType real_type(DType activation) { return activation == DType::f64 ? DType::f64 : DType::f32; }

namespace {

template <typename Real>
std::vector<Real> fetch(Backend& backend, std::int64_t count, const void* x) {
  std::vector<Real> values(static_cast<std::size_t>(count));
  backend.download(values.data(), x, values.size() * sizeof(Real));
  return values;
}

template <typename Real>
void negative_exponential_by_host(Backend& backend, std::int64_t count, const void* x, void* y) {
  std::vector<Real> values = fetch<Real>(backend, count, x);
  for (Real& value : values) value = -std::exp(value);
  backend.upload(y, values.data(), values.size() * sizeof(Real));
}

template <typename Real>
void multiply_by_host(Backend& backend, std::int64_t count, void* x, const void* y) {
  std::vector<Real> values = fetch<Real>(backend, count, x);
  const std::vector<Real> factors = fetch<Real>(backend, count, y);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] *= factors[i];
  backend.upload(x, values.data(), values.size() * sizeof(Real));
}

class HostTimeline final : public Timeline {
 public:
  void mark() override { marks_.push_back(std::chrono::steady_clock::now()); }
  std::vector<double> seconds() override {
    std::vector<double> result;
    for (const auto mark : marks_)
      result.push_back(std::chrono::duration<double>(mark - marks_.front()).count());
    return result;
  }

 private:
  std::vector<std::chrono::steady_clock::time_point> marks_;
};

}  // namespace

void Backend::negative_exponential(std::int64_t count, const void* x, void* y) {
  if (activation_type() == DType::f64)
    negative_exponential_by_host<double>(*this, count, x, y);
  else
    negative_exponential_by_host<float>(*this, count, x, y);
}

void Backend::multiply(std::int64_t count, void* x, const void* y) {
  if (activation_type() == DType::f64)
    multiply_by_host<double>(*this, count, x, y);
  else
    multiply_by_host<float>(*this, count, x, y);
}

std::unique_ptr<Communicator> Backend::join(const DeviceRanks&) { return nullptr; }

double Backend::elapsed(const std::function<void()>& work) {
  synchronize();
  const auto start = std::chrono::steady_clock::now();
  work();
  synchronize();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::unique_ptr<Timeline> Backend::timeline() { return std::make_unique<HostTimeline>(); }

void Backend::copy(void* to, const void* from, std::size_t bytes) {
  std::vector<std::byte> values(bytes);
  download(values.data(), from, bytes);
  upload(to, values.data(), bytes);
}

}  // namespace striped
