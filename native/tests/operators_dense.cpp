// Dense layers, embedding, norm, gated activation and the residual add against the reference.
#include <functional>

#include "reference/harness.h"

using namespace reference;

namespace {

void on_both(const std::function<void(striped::Backend&, double)>& check) {
  for (const std::string precision : {"fp64", "fp32"}) {
    INFO(precision);
    const auto backend = striped::make_cpu_backend(precision, 2);
    check(*backend, tolerance(precision));
  }
}

struct DenseCase {
  std::int64_t rows, in, out;
};
const DenseCase kDenseCases[] = {{1, 1, 1},     {2, 5, 3},    {17, 33, 129},
                                 {129, 17, 48}, {257, 40, 7}, {64, 64, 192}};

void compare_dense(const DenseCase& c, bool has_bias) {
  const striped::DenseShape shape{c.rows, c.in, c.out};
  const Values x = as_float(random_values(c.rows * c.in, 1)), w = as_float(random_values(c.out * c.in, 2));
  const Values bias = has_bias ? as_float(random_values(c.out, 3)) : Values{};
  const Values dy = as_float(random_values(c.rows * c.out, 4));
  Tape::current().clear();
  const auto vx = inputs(x), vw = inputs(w), vb = inputs(bias);
  const auto y = dense(c.rows, c.in, c.out, vx, vw, vb);
  const auto adjoint = Tape::current().gradient(weighted_sum(y, dy).index());
  INFO("rows ", c.rows, ", in ", c.in, ", out ", c.out, ", bias ", has_bias);
  on_both([&](striped::Backend& backend, double limit) {
    DeviceArray dx_(backend, x.size()), y_(backend, dy.size()), x_(backend, x), w_(backend, w),
        bias_(backend, bias);
    DeviceArray dy_(backend, dy), dw_(backend, Values(w.size(), 0.25)),
        dbias_(backend, Values(bias.size(), 0.5));
    backend.dense(shape, x_.data(), w_.data(), bias_.data(), y_.data());
    CHECK(relative_error(y_.read(), values_of(y)) < limit);
    backend.dense_input_gradient(shape, dy_.data(), w_.data(), dx_.data(), false);
    const Values dx = gradient_of(vx, adjoint);
    CHECK(relative_error(dx_.read(), dx) < limit);
    backend.dense_input_gradient(shape, dy_.data(), w_.data(), dx_.data(), true);
    CHECK(relative_error(dx_.read(), sum_of(dx, dx)) < limit);
    const Values dw = gradient_of(vw, adjoint);
    backend.dense_weight_gradient(shape, dy_.data(), x_.data(), dw_.data(), dbias_.data(), true);
    CHECK(relative_error(dw_.read(), sum_of(dw, Values(w.size(), 0.25))) < limit);
    CHECK(relative_error(dbias_.read(), sum_of(gradient_of(vb, adjoint), Values(bias.size(), 0.5))) < limit);
    backend.dense_weight_gradient(shape, dy_.data(), x_.data(), dw_.data(), nullptr, false);
    CHECK(relative_error(dw_.read(), dw) < limit);
  });
}

std::vector<std::int32_t> random_tokens(std::int64_t rows, std::int64_t vocab, unsigned seed) {
  std::vector<std::int32_t> tokens;
  for (double value : random_values(rows, seed, 0, static_cast<double>(vocab) - 1e-6)) {
    tokens.push_back(static_cast<std::int32_t>(value));
  }
  return tokens;
}

}  // namespace

TEST_CASE("dense layers agree with the reference") {
  for (const auto& c : kDenseCases) {
    compare_dense(c, false);
    compare_dense(c, true);
  }
}

TEST_CASE("embedding gathers rows and adds their gradients") {
  for (std::int64_t rows : {1, 5, 129, 300}) {
    for (std::int64_t width : {1, 17, 48}) {
      const std::int64_t vocab = 11;
      const auto tokens = random_tokens(rows, vocab, 1);
      const Values table = as_float(random_values(vocab * width, 2)),
                   dx = as_float(random_values(rows * width, 3));
      Values x, gradient(vocab * width, 0.5);
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t c = 0; c < width; ++c) {
          x.push_back(table[tokens[r] * width + c]);
          gradient[tokens[r] * width + c] += dx[r * width + c];
        }
      }
      on_both([&](striped::Backend& backend, double limit) {
        DeviceArray table_(backend, table), x_(backend, x.size()), dx_(backend, dx);
        DeviceArray dtable_(backend, Values(table.size(), 0.5));
        auto* tokens_ = static_cast<std::int32_t*>(backend.allocate(rows * sizeof(std::int32_t)));
        backend.upload(tokens_, tokens.data(), rows * sizeof(std::int32_t));
        backend.embedding(rows, width, tokens_, table_.data(), x_.data());
        CHECK(x_.read() == x);
        backend.embedding_gradient(rows, width, vocab, tokens_, dx_.data(), dtable_.data());
        CHECK(relative_error(dtable_.read(), gradient) < limit);
        backend.release(tokens_);
      });
    }
  }
}

TEST_CASE("rms norm with the residual add agrees with the reference") {
  const double eps = 1e-6;
  for (std::int64_t rows : {1, 5, 127, 600}) {
    for (std::int64_t width : {1, 5, 17, 48, 129}) {
      for (bool has_branch : {false, true}) {
        INFO("rows ", rows, ", width ", width, ", branch ", has_branch);
        const Values x = as_float(random_values(rows * width, 1)), w = as_float(random_values(width, 2));
        const Values branch = has_branch ? as_float(random_values(rows * width, 3)) : Values{};
        const Values dy = as_float(random_values(rows * width, 4)),
                     residual = as_float(random_values(rows * width, 5));
        const Values s = has_branch ? sum_of(x, branch) : x;
        Tape::current().clear();
        const auto vs = inputs(s), vw = inputs(w);
        const auto y = rms_norm(rows, width, eps, vs, vw);
        const auto adjoint = Tape::current().gradient(weighted_sum(y, dy).index());
        on_both([&](striped::Backend& backend, double limit) {
          DeviceArray x_(backend, x), branch_(backend, branch), w_(backend, w), y_(backend, x.size());
          DeviceArray sum_(backend, x.size()), rms_(backend, rows), dy_(backend, dy), dx_(backend, residual);
          DeviceArray dw_(backend, Values(width, 0.5));
          backend.rms_norm(rows, width, eps, x_.data(), branch_.data(), w_.data(),
                           has_branch ? sum_.data() : nullptr, y_.data(), rms_.data());
          CHECK(relative_error(y_.read(), values_of(y)) < limit);
          if (has_branch) CHECK(relative_error(sum_.read(), s) < limit);
          void* kept = has_branch ? sum_.data() : x_.data();
          backend.rms_norm_backward(rows, width, kept, w_.data(), rms_.data(), dy_.data(), dx_.data(),
                                    dw_.data());
          CHECK(relative_error(dx_.read(), sum_of(gradient_of(vs, adjoint), residual)) < limit);
          CHECK(relative_error(dw_.read(), sum_of(gradient_of(vw, adjoint), Values(width, 0.5))) < limit);
          if (!has_branch) return;
          DeviceArray copy_(backend, x);
          for (auto* place : {&x_, &branch_}) {  // the sum may replace either
            backend.rms_norm(rows, width, eps, copy_.data(), branch_.data(), w_.data(), place->data(),
                             y_.data(), rms_.data());
            CHECK(relative_error(place->read(), s) < limit);
            CHECK(relative_error(y_.read(), values_of(y)) < limit);
          }
        });
      }
    }
  }
}

TEST_CASE("gated activations agree with the reference, also in place") {
  using striped::Activation;
  for (auto activation : {Activation::silu, Activation::gelu, Activation::identity}) {
    for (std::int64_t rows : {1, 5, 129}) {
      for (std::int64_t inner : {1, 17, 48}) {
        INFO("activation ", static_cast<int>(activation), ", rows ", rows, ", inner ", inner);
        const Values gu = as_float(random_values(rows * 2 * inner, 1, -6, 6));
        const Values dy = as_float(random_values(rows * inner, 2));
        Tape::current().clear();
        const auto vars = inputs(gu);
        const auto y = gated(rows, inner, activation, vars);
        const auto gradient = gradient_of(vars, Tape::current().gradient(weighted_sum(y, dy).index()));
        on_both([&](striped::Backend& backend, double limit) {
          DeviceArray gu_(backend, gu), y_(backend, dy.size()), dy_(backend, dy), dgu_(backend, gu.size());
          backend.gated(rows, inner, activation, gu_.data(), y_.data());
          CHECK(relative_error(y_.read(), values_of(y)) < limit);
          backend.gated_backward(rows, inner, activation, gu_.data(), dy_.data(), dgu_.data());
          CHECK(relative_error(dgu_.read(), gradient) < limit);
          backend.gated_backward(rows, inner, activation, gu_.data(), dy_.data(), gu_.data());
          CHECK(gu_.read() == dgu_.read());
        });
      }
    }
  }
}

TEST_CASE("gated activations saturate without overflow") {
  const Values gu{-1e4, -200, 200, 1e4, 1, 1, 1, 1};
  on_both([&](striped::Backend& backend, double) {
    DeviceArray gu_(backend, gu), y_(backend, 4), dy_(backend, Values(4, 1.0)), dgu_(backend, 8);
    backend.gated(1, 4, striped::Activation::silu, gu_.data(), y_.data());
    CHECK(relative_error(y_.read(), {0, 0, 200, 1e4}) < 1e-6);
    backend.gated_backward(1, 4, striped::Activation::silu, gu_.data(), dy_.data(), dgu_.data());
    CHECK(relative_error(dgu_.read(), {0, 0, 1, 1, 0, 0, 200, 1e4}) < 1e-6);
  });
}

TEST_CASE("add adds") {
  for (std::int64_t count : {1, 17, 5000}) {
    const Values x = as_float(random_values(count, 1)), y = as_float(random_values(count, 2));
    on_both([&](striped::Backend& backend, double limit) {
      DeviceArray x_(backend, x), y_(backend, y);
      backend.add(count, x_.data(), y_.data());
      CHECK(relative_error(x_.read(), sum_of(x, y)) < limit);
    });
  }
}

TEST_CASE("negative exponential and product of small arrays") {
  const std::int64_t count = 37;
  const Values x = as_float(random_values(count, 1, -9, 2)), y = as_float(random_values(count, 2));
  Values exponentials, products;
  for (std::int64_t i = 0; i < count; ++i) {
    exponentials.push_back(-std::exp(x[i]));
    products.push_back(x[i] * y[i]);
  }
  on_both([&](striped::Backend& backend, double limit) {
    DeviceArray x_(backend, x), y_(backend, y), out(backend, count);
    backend.negative_exponential(count, x_.data(), out.data());
    CHECK(relative_error(out.read(), exponentials) < limit);
    backend.multiply(count, x_.data(), y_.data());
    CHECK(relative_error(x_.read(), products) < limit);
  });
}

TEST_CASE("a row of a dense layer, norm or gated activation depends on no other row") {
  const std::int64_t rows = 131, width = 48, changed = 64;
  const Values x = as_float(random_values(rows * width, 1)), w = as_float(random_values(24 * width, 2));
  Values other = x;
  for (std::int64_t i = 0; i < width; ++i) other[changed * width + i] += 3;
  const auto backend = striped::make_cpu_backend("fp32", 2);
  DeviceArray w_(*backend, w), rms(*backend, rows);
  using Operator = std::function<void(DeviceArray&, DeviceArray&)>;
  const auto outside_is_equal = [&](std::int64_t out, const Operator& run) {
    DeviceArray a(*backend, x), b(*backend, other), ya(*backend, rows * out), yb(*backend, rows * out);
    run(a, ya);
    run(b, yb);
    const Values first = ya.read(), second = yb.read();
    CHECK(std::equal(first.begin(), first.begin() + changed * out, second.begin()));
    CHECK(std::equal(first.begin() + (changed + 1) * out, first.end(), second.begin() + (changed + 1) * out));
    CHECK(first != second);
  };
  outside_is_equal(24, [&](DeviceArray& in, DeviceArray& y) {
    backend->dense({rows, width, 24}, in.data(), w_.data(), nullptr, y.data());
  });
  outside_is_equal(width, [&](DeviceArray& in, DeviceArray& y) {
    backend->rms_norm(rows, width, 1e-6, in.data(), nullptr, w_.data(), nullptr, y.data(), rms.data());
  });
  outside_is_equal(width / 2, [&](DeviceArray& in, DeviceArray& y) {
    backend->gated(rows, width / 2, striped::Activation::silu, in.data(), y.data());
  });
}
