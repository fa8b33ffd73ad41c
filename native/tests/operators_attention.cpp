// Attention against the reference: rotary embedding, grouped heads, windows, causality.
#include "reference/harness.h"

using namespace reference;
using striped::AttentionShape;

namespace {

struct Outcome {
  Values y, dqkv;
  bool operator==(const Outcome&) const = default;
};

Outcome run(striped::Backend& backend, const AttentionShape& s, const Values& qkv, const Values& dy) {
  DeviceArray in(backend, qkv), delta(backend, dy), y(backend, dy.size()), dqkv(backend, qkv.size());
  DeviceArray statistics(backend, s.batch * s.heads * s.length);
  Workspace forward(backend, backend.attention_workspace(s)),
      backward(backend, backend.attention_workspace(s));
  backend.attention(s, in.data(), y.data(), statistics.data(), forward.data());
  backend.attention_backward(s, in.data(), y.data(), statistics.data(), delta.data(), dqkv.data(),
                             backward.data());
  return {y.read(), dqkv.read()};
}

Values random_qkv(const AttentionShape& s) {
  return as_float(random_values(s.batch * s.length * (s.heads + 2 * s.kv_heads) * s.head_dim, 1, -2, 2));
}

std::int64_t output_size(const AttentionShape& s) { return s.batch * s.length * s.heads * s.head_dim; }

void compare(const AttentionShape& s) {
  const Values qkv = random_qkv(s), dy = as_float(random_values(output_size(s), 2));
  Tape::current().clear();
  const auto vars = inputs(qkv);
  const auto y = attention(s, vars);
  const auto gradient = gradient_of(vars, Tape::current().gradient(weighted_sum(y, dy).index()));
  for (const std::string precision : {"fp64", "fp32"}) {
    INFO(precision, ": batch ", s.batch, ", length ", s.length, ", heads ", s.heads, "/", s.kv_heads, " x ",
         s.head_dim, ", window ", s.window, ", rope ", s.rope_base, "/", s.rope_scale);
    const auto backend = striped::make_cpu_backend(precision, 2);
    const Outcome actual = run(*backend, s, qkv, dy);
    CHECK(relative_error(actual.y, values_of(y)) < tolerance(precision));
    CHECK(relative_error(actual.dqkv, gradient) < tolerance(precision));
  }
}

}  // namespace

TEST_CASE("attention agrees with the reference at odd lengths") {
  for (std::int64_t length : {1, 2, 5, 17, 63, 64, 65, 127, 129}) compare({1, length, 2, 2, 8, 0, 10000, 1});
}

TEST_CASE("attention agrees with the reference over several blocks of keys") {
  compare({1, 900, 1, 1, 2, 0, 10000, 1});
  compare({1, 1200, 1, 1, 2, 600, 0, 1});
}

TEST_CASE("attention: grouped heads, batches, windows, position interpolation, no rotary embedding") {
  compare({3, 37, 4, 2, 4, 0, 10000, 1});
  compare({2, 70, 6, 1, 2, 0, 1e6, 4});
  compare({1, 29, 2, 2, 6, 0, 0, 1});
  for (std::int64_t window : {1, 2, 7, 64, 200}) compare({1, 90, 2, 1, 4, window, 10000, 1});
}

TEST_CASE("attention: a later token never changes an earlier output, nor another sequence") {
  const auto backend = striped::make_cpu_backend("fp32", 2);
  const AttentionShape s{2, 200, 4, 2, 8, 0, 10000, 1};
  const Values qkv = random_qkv(s), dy(output_size(s), 1.0);
  const Values before = run(*backend, s, qkv, dy).y;
  const std::int64_t row = 8 * 8, out = 4 * 8;
  for (std::int64_t changed : {1, 63, 64, 130, 199}) {
    Values other = qkv;
    for (std::int64_t i = 0; i < row; ++i) other[changed * row + i] += 3;
    const Values after = run(*backend, s, other, dy).y;
    CHECK(std::equal(before.begin(), before.begin() + changed * out, after.begin()));
    CHECK(std::equal(before.begin() + s.length * out, before.end(), after.begin() + s.length * out));
    CHECK(!std::equal(before.begin() + changed * out, before.begin() + s.length * out,
                      after.begin() + changed * out));
  }
}

TEST_CASE("attention: large scores neither overflow nor lose their weight") {
  const AttentionShape s{1, 80, 1, 1, 4, 0, 0, 1};
  Values qkv = random_qkv(s);
  for (auto& value : qkv) value *= 40;
  const Values dy(output_size(s), 1.0);
  const auto narrow = run(*striped::make_cpu_backend("fp32", 1), s, qkv, dy);
  const auto wide = run(*striped::make_cpu_backend("fp64", 1), s, qkv, dy);
  // Scores of some thousands leave fp32 three digits after the point, hence the weights as much.
  CHECK(relative_error(narrow.y, wide.y) < 2e-3);
}

TEST_CASE("attention: the same bits from run to run and for any number of threads") {
  const AttentionShape s{3, 150, 4, 2, 8, 0, 10000, 1};
  const Values qkv = random_qkv(s), dy = random_values(output_size(s), 2);
  const auto once = run(*striped::make_cpu_backend("fp32", 1), s, qkv, dy);
  for (int threads : {1, 2, 5}) CHECK(once == run(*striped::make_cpu_backend("fp32", threads), s, qkv, dy));
}
