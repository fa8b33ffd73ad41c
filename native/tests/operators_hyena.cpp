// The inner Hyena operators against the reference: outputs, all gradients, causality, determinism.
#include <map>

#include "reference/harness.h"

using namespace reference;
using striped::HyenaKind;
using striped::HyenaShape;

namespace {

struct Case {
  HyenaShape shape;
  bool decay;
};

Case fir_case(std::int64_t batch, std::int64_t length, std::int64_t groups, std::int64_t group_size, int taps,
              bool skip, bool decay) {
  const auto kind = decay ? HyenaKind::medium_regularised : HyenaKind::short_explicit;
  return {{kind, batch, length, groups * group_size, groups, 3, taps, 0, skip}, decay};
}

Case modal_case(std::int64_t batch, std::int64_t length, std::int64_t groups, std::int64_t group_size,
                int order, bool skip) {
  return {{HyenaKind::long_implicit, batch, length, groups * group_size, groups, 3, 0, order, skip}, false};
}

std::string describe(const Case& c) {
  const auto& s = c.shape;
  return "batch " + std::to_string(s.batch) + ", length " + std::to_string(s.length) + ", width " +
         std::to_string(s.width) + ", groups " + std::to_string(s.groups) + ", featurizer " +
         std::to_string(s.featurizer_taps) + ", taps " + std::to_string(s.taps) + ", order " +
         std::to_string(s.order) + (s.has_skip ? ", skip" : "") + (c.decay ? ", decay" : "");
}

HyenaInputs<double> random_inputs(const Case& c) {
  const auto& s = c.shape;
  HyenaInputs<double> in;
  in.z = as_float(random_values(s.batch * s.length * 3 * s.width, 1));
  in.featurizer = as_float(random_values(3 * s.width * s.featurizer_taps, 2));
  if (s.has_skip) in.skip = as_float(random_values(s.width, 3));
  if (s.kind == HyenaKind::long_implicit) {
    in.residues = as_float(random_values(s.groups * s.order, 4));
    // From fast decay to next to none.
    in.log_poles = random_values(s.groups * s.order, 5, -7, 0.5);
    for (auto& pole : in.log_poles) pole = -std::exp(pole);
    in.log_poles = as_float(in.log_poles);
  } else {
    in.filter = as_float(random_values(s.groups * s.taps, 6));
    if (c.decay) in.decay = as_float(random_values(s.groups * s.taps, 7, 0, 1));
  }
  return in;
}

using Named = std::map<std::string, Values>;

// Outputs and gradients by name from a backend; gradients start from `initial`, to see that they are added.
class HyenaRun {
 public:
  HyenaRun(striped::Backend& backend, const Case& c, const HyenaInputs<double>& in, const Values& dy,
           double initial)
      : backend_(backend), shape_(c.shape) {
    DeviceArray z(backend, in.z), featurizer(backend, in.featurizer), filter(backend, in.filter);
    DeviceArray decay(backend, in.decay), skip(backend, in.skip), residues(backend, in.residues);
    DeviceArray log_poles(backend, in.log_poles), delta(backend, dy);
    const striped::HyenaWeights w{featurizer.data(), filter.data(),   decay.data(),
                                  skip.data(),       residues.data(), log_poles.data()};
    Workspace workspace(backend, backend.hyena_workspace(shape_)), kept(backend, backend.hyena_kept(shape_));
    DeviceArray y(backend, dy.size()), dz(backend, in.z.size());
    backend.hyena(shape_, w, z.data(), y.data(), kept.data(), workspace.data());
    results["y"] = y.read();
    const auto start = [&](const Values& like) { return Values(like.size(), initial); };
    DeviceArray d_featurizer(backend, start(in.featurizer)), d_filter(backend, start(in.filter));
    DeviceArray d_skip(backend, start(in.skip)), d_residues(backend, start(in.residues));
    DeviceArray d_log_poles(backend, start(in.log_poles));
    Workspace fresh(backend, backend.hyena_workspace(shape_));
    backend.hyena_backward(
        shape_, w, z.data(), kept.data(), delta.data(), dz.data(),
        {d_featurizer.data(), d_filter.data(), d_skip.data(), d_residues.data(), d_log_poles.data()},
        fresh.data());
    results["dz"] = dz.read();
    results["featurizer"] = d_featurizer.read();
    results["filter"] = d_filter.read();
    results["skip"] = d_skip.read();
    results["residues"] = d_residues.read();
    results["log_poles"] = d_log_poles.read();
  }

  Named results;

 private:
  striped::Backend& backend_;
  HyenaShape shape_;
};

Named reference_run(const Case& c, const HyenaInputs<double>& in, const Values& dy, double initial) {
  Tape::current().clear();
  const HyenaInputs<Var> vars{inputs(in.z),        inputs(in.featurizer), inputs(in.filter), inputs(in.skip),
                              inputs(in.residues), inputs(in.log_poles),  in.decay};
  const auto y = hyena(c.shape, vars);
  const auto adjoint = Tape::current().gradient(weighted_sum(y, dy).index());
  const auto added = [&](const Array<Var>& v) {
    return sum_of(gradient_of(v, adjoint), Values(v.size(), initial));
  };
  return {{"y", values_of(y)},
          {"dz", gradient_of(vars.z, adjoint)},
          {"featurizer", added(vars.featurizer)},
          {"filter", added(vars.filter)},
          {"skip", added(vars.skip)},
          {"residues", added(vars.residues)},
          {"log_poles", added(vars.log_poles)}};
}

void compare(const Case& c) {
  const auto in = random_inputs(c);
  const auto dy = as_float(random_values(c.shape.batch * c.shape.length * c.shape.width, 8));
  // Of the size of the sums themselves, where cancellation would ask more of fp32 than it has.
  const double initial = 2;
  const Named expected = reference_run(c, in, dy, initial);
  for (const std::string precision : {"fp64", "fp32"}) {
    const auto backend = striped::make_cpu_backend(precision, 2);
    const Named actual = HyenaRun(*backend, c, in, dy, initial).results;
    for (const auto& [name, values] : expected) {
      INFO(precision, " ", name, ": ", describe(c));
      CHECK(relative_error(actual.at(name), values) < tolerance(precision));
    }
  }
}

}  // namespace

TEST_CASE("hyena: explicit filters of every length agree with the reference") {
  const int lengths[] = {1, 2, 5, 17, 127, 129, 257, 300};
  const int group_sizes[] = {1, 3, 16};
  int turn = 0;
  for (int taps : {1, 2, 4, 7, 31, 128, 129, 200, 256}) {
    for (int length : lengths) {
      for (int group_size : group_sizes) {
        ++turn;
        compare(fir_case(turn % 4 == 0 ? 3 : 1, length, 2, group_size, taps, turn % 2 == 0, turn % 3 == 0));
      }
    }
  }
}

TEST_CASE("hyena: implicit filters agree with the reference") {
  int turn = 0;
  for (int order : {1, 5, 16}) {
    for (int length : {1, 2, 5, 17, 63, 64, 65, 127, 129, 257}) {
      for (int group_size : {1, 3}) {
        ++turn;
        compare(modal_case(turn % 4 == 0 ? 3 : 1, length, 2, group_size, order, turn % 2 == 0));
      }
    }
  }
}

TEST_CASE("hyena: widths that fill several channel blocks, partly filled ones, and other featurizers") {
  compare(fir_case(2, 70, 3, 16, 7, true, true));
  compare(fir_case(3, 33, 11, 3, 31, true, false));
  compare(fir_case(1, 600, 1, 2, 128, true, true));
  compare(fir_case(1, 530, 1, 1, 300, true, true));
  compare(modal_case(2, 70, 48, 1, 16, true));
  compare(modal_case(1, 300, 3, 11, 3, false));
  for (int featurizer : {1, 2, 4, 9}) {
    auto fir = fir_case(1, 37, 2, 3, 7, true, false);
    fir.shape.featurizer_taps = featurizer;
    compare(fir);
    auto modal = modal_case(1, 131, 2, 1, 4, true);
    modal.shape.featurizer_taps = featurizer;
    compare(modal);
  }
}

TEST_CASE("hyena: gradients agree with finite differences of the backend's own forward pass") {
  const auto backend = striped::make_cpu_backend("fp64", 2);
  for (const Case& c : {fir_case(2, 45, 3, 2, 9, true, true), modal_case(2, 75, 3, 2, 3, true)}) {
    const auto in = random_inputs(c);
    const auto dy = random_values(c.shape.batch * c.shape.length * c.shape.width, 8);
    const Named gradients = HyenaRun(*backend, c, in, dy, 0).results;
    const auto loss = [&](const HyenaInputs<double>& at) {
      const Values y = HyenaRun(*backend, c, at, dy, 0).results.at("y");
      double total = 0;
      for (std::size_t i = 0; i < y.size(); ++i) total += y[i] * dy[i];
      return total;
    };
    const std::map<std::string, Values HyenaInputs<double>::*> fields{
        {"dz", &HyenaInputs<double>::z},
        {"featurizer", &HyenaInputs<double>::featurizer},
        {"filter", &HyenaInputs<double>::filter},
        {"skip", &HyenaInputs<double>::skip},
        {"residues", &HyenaInputs<double>::residues},
        {"log_poles", &HyenaInputs<double>::log_poles}};
    for (const auto& [name, field] : fields) {
      const Values& gradient = gradients.at(name);
      for (std::size_t i = 0; i < gradient.size(); i += 1 + gradient.size() / 5) {
        const double step = 1e-5;
        auto above = in, below = in;
        (above.*field)[i] += step;
        (below.*field)[i] -= step;
        INFO(name, "[", i, "]: ", describe(c));
        const double slope = (loss(above) - loss(below)) / (2 * step);
        CHECK(std::abs(slope - gradient[i]) < 1e-6 * std::max(1.0, std::abs(slope)));
      }
    }
  }
}

TEST_CASE("hyena: a later token never changes an earlier output, nor another sequence") {
  const auto backend = striped::make_cpu_backend("fp32", 2);
  for (const Case& c : {fir_case(2, 300, 2, 16, 7, true, false), fir_case(2, 300, 2, 16, 129, true, true),
                        modal_case(2, 300, 20, 1, 16, true)}) {
    INFO(describe(c));
    auto in = random_inputs(c);
    const std::int64_t L = c.shape.length, D = c.shape.width;
    const Values dy(2 * L * D, 1.0);
    const Values before = HyenaRun(*backend, c, in, dy, 0).results.at("y");
    for (std::int64_t changed : {1, 63, 128, 255, 299}) {
      auto other = in;
      for (std::int64_t i = 0; i < 3 * D; ++i) other.z[changed * 3 * D + i] += 10;
      const Values after = HyenaRun(*backend, c, other, dy, 0).results.at("y");
      CHECK(std::equal(before.begin(), before.begin() + changed * D, after.begin()));
      CHECK(std::equal(before.begin() + L * D, before.end(), after.begin() + L * D));
      CHECK(!std::equal(before.begin() + changed * D, before.begin() + L * D, after.begin() + changed * D));
    }
  }
}

TEST_CASE("hyena: the same bits from run to run and for any number of threads") {
  for (const Case& c : {fir_case(3, 300, 3, 16, 31, true, true), modal_case(3, 300, 48, 1, 16, true)}) {
    const auto in = random_inputs(c);
    const auto dy = random_values(c.shape.batch * c.shape.length * c.shape.width, 8);
    const Named once = HyenaRun(*striped::make_cpu_backend("fp32", 1), c, in, dy, 0).results;
    for (int threads : {1, 2, 5})
      CHECK(once == HyenaRun(*striped::make_cpu_backend("fp32", threads), c, in, dy, 0).results);
  }
}

TEST_CASE("hyena: slowly decaying modes stay exact over long sequences in fp32") {
  Case c = modal_case(1, 20000, 1, 2, 2, false);
  auto in = random_inputs(c);
  in.residues = {0.01, -0.02};
  in.log_poles = as_float({-1e-5, -3e-4});
  const Values dy(c.shape.length * c.shape.width, 1e-3);
  const Values expected = HyenaRun(*striped::make_cpu_backend("fp64", 1), c, in, dy, 0).results.at("y");
  const Values actual = HyenaRun(*striped::make_cpu_backend("fp32", 1), c, in, dy, 0).results.at("y");
  CHECK(relative_error(actual, expected) < 1e-5);
}
