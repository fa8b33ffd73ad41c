// The inner Hyena operators and all their gradients from their equations, in double precision: what
// cuda_hyena.cu holds the kernels against.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <thread>
#include <vector>

#include "striped/backend.h"

namespace hyena_reference {

using striped::HyenaKind;
using striped::HyenaShape;
using Values = std::vector<double>;

struct Inputs {
  Values z, dy, featurizer, filter, decay, skip, residues, log_poles;
};
struct Results {
  Values y, dz, featurizer, filter, skip, residues, log_poles;
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

inline Results reference(const HyenaShape& s, const Inputs& in) {
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
  gather(residues, out.residues, s.order);
  gather(log_poles, out.log_poles, s.order);
  return out;
}

}  // namespace hyena_reference
