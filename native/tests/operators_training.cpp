// Loss, gradient norm and optimiser against their equations; the backend's memory and its errors.
#include "reference/harness.h"
#include "striped/error.h"

using namespace reference;

namespace {

template <class T>
class Plain {
 public:
  Plain(striped::Backend& backend, const std::vector<T>& values) : backend_(backend) {
    data_ = static_cast<T*>(backend.allocate(values.size() * sizeof(T)));
    backend.upload(data_, values.data(), values.size() * sizeof(T));
  }
  ~Plain() { backend_.release(data_); }
  Plain(const Plain&) = delete;
  T* data() { return data_; }
  T read() {
    T value;
    backend_.download(&value, data_, sizeof(T));
    return value;
  }

 private:
  striped::Backend& backend_;
  T* data_;
};

}  // namespace

TEST_CASE("cross-entropy and its gradient agree with the reference") {
  for (std::int64_t rows : {1, 5, 129, 300}) {
    for (std::int64_t vocab : {2, 5, 17, 256}) {
      if (rows * vocab > 40000) continue;
      const Values logits = as_float(random_values(rows * vocab, 1, -8, 8));
      std::vector<std::int32_t> targets;
      std::vector<float> weights;
      float total = 0;
      for (std::int64_t r = 0; r < rows; ++r) {
        targets.push_back(static_cast<std::int32_t>((r * 7) % vocab));
        weights.push_back(r % 4 == 1 ? 0.0f : r % 4 == 2 ? 0.1f : 1.0f);
        total += weights.back();
      }
      Tape::current().clear();
      const auto vars = inputs(logits);
      const Var loss = cross_entropy(rows, vocab, vars, targets, weights);
      Values gradient = gradient_of(vars, Tape::current().gradient(loss.index()));
      for (auto& value : gradient) value /= static_cast<double>(total);
      for (const std::string precision : {"fp64", "fp32"}) {
        INFO(precision, ": rows ", rows, ", vocab ", vocab);
        const auto backend = striped::make_cpu_backend(precision, 2);
        Plain<std::int32_t> targets_(*backend, targets);
        Plain<float> weights_(*backend, weights);
        DeviceArray logits_(*backend, logits), loss_(*backend, Values{2.0});
        backend->cross_entropy(rows, vocab, logits_.data(), targets_.data(), weights_.data(), total, false,
                               loss_.data());
        CHECK(logits_.read() == logits);
        CHECK(relative_error(loss_.read(), {2.0 + loss.value()}) < tolerance(precision));
        backend->cross_entropy(rows, vocab, logits_.data(), targets_.data(), weights_.data(), total, true,
                               loss_.data());
        CHECK(relative_error(loss_.read(), {2.0 + 2 * loss.value()}) < tolerance(precision));
        CHECK(relative_error(logits_.read(), gradient) < tolerance(precision));
      }
    }
  }
}

TEST_CASE("cross-entropy: weight 0 rows ask for no target, and large logits do not overflow") {
  const auto backend = striped::make_cpu_backend("fp32", 2);
  Plain<std::int32_t> targets(*backend, {-1, 1});
  Plain<float> weights(*backend, {0.0f, 1.0f});
  DeviceArray logits(*backend, Values{1, 2, 3, 5000, 4990, 0}), loss(*backend, Values{0});
  backend->cross_entropy(2, 3, logits.data(), targets.data(), weights.data(), 1, true, loss.data());
  CHECK(loss.read()[0] == doctest::Approx(10.0000454).epsilon(1e-6));
  const double p = 1 / (1 + std::exp(10.0));
  CHECK(relative_error(logits.read(), {0, 0, 0, 1 - p, p - 1, 0}) < 1e-6);
}

TEST_CASE("squared norm adds up in float64") {
  for (std::int64_t count : {1, 7, 16384, 40001}) {
    const Values g = as_float(random_values(count, 1));
    double expected = 1.5;
    for (double value : g) expected += value * value;
    for (const std::string precision : {"fp64", "fp32"}) {
      const auto backend = striped::make_cpu_backend(precision, 2);
      DeviceArray g_(*backend, g);
      Plain<double> norm(*backend, {1.5});
      backend->squared_norm(count, g_.data(), norm.data());
      CHECK(norm.read() == doctest::Approx(expected).epsilon(1e-12));
    }
  }
}

TEST_CASE("AdamW follows its equations, with and without clipping") {
  const std::int64_t count = 3001;
  const Values g = as_float(random_values(count, 1)), p0 = as_float(random_values(count, 2));
  double squares = 0;
  for (double value : g) squares += value * value;
  for (float clip : {0.0f, 0.5f, 1e6f}) {
    const striped::AdamWSettings settings{0.9f, 0.95f, 1e-8f, 0.1f, clip};
    Values p = p0, m(count, 0.0), v(count, 0.0);
    std::vector<striped::OptimizerStep> steps;
    for (int t = 1; t <= 3; ++t) {
      steps.push_back({1e-2f, static_cast<float>(1 - std::pow(0.9, t)),
                       static_cast<float>(1 - std::pow(0.95, t)), 0.25f});
    }
    for (const auto& step : steps) {
      const double norm = std::sqrt(squares) * step.gradient_scale;
      const double shrink = clip > 0 && norm > clip ? clip / norm : 1;
      for (std::int64_t i = 0; i < count; ++i) {
        const double gradient = g[i] * step.gradient_scale * shrink;
        m[i] = static_cast<double>(0.9f) * m[i] + (1 - static_cast<double>(0.9f)) * gradient;
        v[i] = static_cast<double>(0.95f) * v[i] + (1 - static_cast<double>(0.95f)) * gradient * gradient;
        const double update = m[i] / step.bias_correction1 / (std::sqrt(v[i] / step.bias_correction2) + 1e-8);
        p[i] -= step.learning_rate * (update + static_cast<double>(0.1f) * p[i]);
      }
    }
    for (const std::string precision : {"fp64", "fp32"}) {
      INFO(precision, ", clip ", clip);
      const auto backend = striped::make_cpu_backend(precision, 2);
      DeviceArray g_(*backend, g), p_(*backend, p0), m_(*backend, Values(count, 0.0)),
          v_(*backend, Values(count, 0.0));
      DeviceArray compute(*backend, count);
      Plain<double> norm(*backend, {squares});
      for (const auto& step : steps) {
        Plain<striped::OptimizerStep> step_(*backend, {step});
        backend->adamw(count, settings, step_.data(), norm.data(), g_.data(), p_.data(), m_.data(), v_.data(),
                       compute.data());
      }
      CHECK(relative_error(p_.read(), p) < tolerance(precision));
      CHECK(relative_error(m_.read(), m) < tolerance(precision));
      CHECK(relative_error(v_.read(), v) < tolerance(precision));
      CHECK(compute.read() == p_.read());
    }
  }
}

TEST_CASE("the backend says what it is, and what is wrong") {
  CHECK(striped::make_cpu_backend("fp64", 1)->activation_type() == striped::DType::f64);
  CHECK(striped::make_cpu_backend("fp32", 3)->device_name().find("3 threads") != std::string::npos);
  CHECK(striped::make_cpu_backend("bf16", 1)->device_name().find("fp32 in place of bf16") !=
        std::string::npos);
  try {
    striped::make_cpu_backend("fp16", 1);
    FAIL("fp16 was accepted");
  } catch (const striped::Error& error) {
    CHECK(error.code() == "unknown-precision");
    CHECK(std::string(error.what()).find("fp16") != std::string::npos);
  }
  const auto backend = striped::make_cpu_backend("fp32", 1);
  try {
    backend->release(backend->allocate(std::size_t{1} << 50));
    FAIL("a petabyte was allocated");
  } catch (const striped::Error& error) {
    CHECK(error.code() == "out-of-memory");
  }
}
