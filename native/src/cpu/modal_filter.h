// Inner filter of Hyena-LI: h_t = Σ_n R_n·λ_n^t as a diagonal state-space model. Inside a tile the states run
// as a recurrence (4·N operations a value, fewer than any Toeplitz form needs on a CPU); between tiles they
// are carried with exp(rows · log λ) from the log-poles, so that rounding λ near 1 to T does not build up
// with length.
#pragma once

#include "hyena_tile.h"
#include "math.h"
#include "striped/backend.h"

namespace striped::cpu {

template <class T>
class ModalFilter {
 public:
  static constexpr std::int64_t kTileRows = 64;
  // Modes that run together: their states, poles and residues fill the vector registers.
  static constexpr int kModes = kVectorBytes == 64 ? 8 : 4;

  ModalFilter(const HyenaShape& s, bool /*piece*/)
      : shape_(s),
        modes_((s.order + kModes - 1) / kModes * kModes),
        tiles_((s.length + kTileRows - 1) / kTileRows) {}

  std::int64_t history() const { return 0; }
  std::int64_t surroundings() const { return shape_.order; }
  std::int64_t scratch() const { return ((6 + tiles_) * modes_ + kTileRows * kModes) * kLanes<T>; }
  std::int64_t gradients() const { return 2 * modes_; }

  void prepare(const HyenaWeights& w, const ChannelBlock& block, T* scratch) {
    const std::int64_t table = modes_ * kLanes<T>;
    poles_ = scratch;
    residues_ = poles_ + table;
    carry_ = residues_ + table;
    adjoint_ = carry_ + table;
    sums_ = adjoint_ + table;
    starts_ = sums_ + 2 * table;
    states_ = starts_ + tiles_ * table;
    zero_rows(scratch, 7 * modes_);
    const auto* residues = static_cast<const T*>(w.residues);
    const auto* log_poles = static_cast<const T*>(w.log_poles);
    const std::int64_t group_size = shape_.width / shape_.groups;
    for (int c = 0; c < block.live; ++c) {
      const std::int64_t first = (block.first + c) / group_size * shape_.order;
      for (int n = 0; n < shape_.order; ++n) {
        const double log_pole = log_poles[first + n];
        const std::int64_t at = n * kLanes<T> + c;
        residues_[at] = residues[first + n];
        poles_[at] = static_cast<T>(fast_exp(log_pole));
        // What the rounded pole's power over a tile misses.
        double power = static_cast<double>(poles_[at]);
        for (std::int64_t rows = 1; rows < kTileRows; rows *= 2) power *= power;
        carry_[at] = static_cast<T>(fast_exp(log_pole * static_cast<double>(kTileRows)) - power);
      }
    }
  }

  // Tiles must come in order from the start of a sequence, after prepare().
  void forward(const T* u, T* y, std::int64_t rows) {
    for (int half = 0; half < kLanes<T>; half += kVecSize<T>) {
      for (std::int64_t n = 0; n < modes_; n += kModes) {
        run_states<true>(n * kLanes<T> + half, u + half, y + half, rows, starts_, starts_, n == 0);
      }
    }
  }

  static constexpr bool kNeedsPrepass = true;

  // States that come from beyond the ends of a piece, [order, width].
  void enter(const T* before, const ChannelBlock& block, T*) {
    load_rows(starts_, before, shape_.width, shape_.order, block.live);
  }
  void enter_reversed(const T* after, const ChannelBlock& block, T*) {
    load_rows(adjoint_, after, shape_.width, shape_.order, block.live);
  }

  // Keeps the states at the start of every tile but the first, which is zero. Tiles must come in order.
  void prepass(std::int64_t tile, const T* u, std::int64_t rows) {
    if (tile + 1 == tiles_) return;
    T* from = starts_ + tile * modes_ * kLanes<T>;
    for (int half = 0; half < kLanes<T>; half += kVecSize<T>) {
      for (std::int64_t n = 0; n < modes_; n += kModes) {
        run_states<false>(n * kLanes<T> + half, u + half, nullptr, rows, from, from + modes_ * kLanes<T>,
                          false);
      }
    }
  }

  // Tiles must come in reverse order, after the prepass.
  void backward(std::int64_t tile, const T* u, const T* g, T* y, T* du, std::int64_t rows) {
    const T* start = starts_ + tile * modes_ * kLanes<T>;
    for (int half = 0; half < kLanes<T>; half += kVecSize<T>) {
      for (std::int64_t n = 0; n < modes_; n += kModes) {
        const std::int64_t at = n * kLanes<T> + half;
        replay(at, start + at, u + half, g + half, y + half, rows, n == 0);
        run_adjoint(at, g + half, du + half, rows, n == 0);
      }
    }
  }

  void finish(const ChannelBlock& block, T* partial) const {
    store_rows(partial + block.first, sums_, shape_.width, 2 * modes_, block.live);
  }

  void reduce(std::int64_t g, const HyenaWeights& w, const HyenaGradients& out, const T* partial,
              std::int64_t stride, std::int64_t parts) const {
    const std::int64_t group_size = shape_.width / shape_.groups, first = g * shape_.order;
    const auto* residues = static_cast<const T*>(w.residues);
    const auto* log_poles = static_cast<const T*>(w.log_poles);
    for (int n = 0; n < shape_.order; ++n) {
      T residue = 0, pole = 0;
      for (std::int64_t part = 0; part < parts; ++part) {
        const T* row = partial + part * stride + n * shape_.width + g * group_size;
        for (std::int64_t c = 0; c < group_size; ++c) {
          residue += row[c];
          pole += row[modes_ * shape_.width + c];
        }
      }
      static_cast<T*>(out.residues)[first + n] += residue;
      // sums hold Σ_t r_t·s_{t-1} with r the adjoint states before R; d log λ = λ·dλ.
      static_cast<T*>(out.log_poles)[first + n] +=
          pole * residues[first + n] * fast_exp(log_poles[first + n]);
    }
  }

 private:
  using V = Vec<T>;

  static void load_modes(V (&v)[kModes], const T* table) {
    for (int m = 0; m < kModes; ++m) v[m] = load(table + m * kLanes<T>);
  }

  // s_t = λ·s_{t-1} + u_t over a tile, y_t = Σ R·s_t added up over mode blocks; the end state is mended by
  // carry_.
  template <bool output>
  void run_states(std::int64_t at, const T* u, T* y, std::int64_t rows, const T* from, T* to, bool first) {
    constexpr int lanes = kLanes<T>;
    V state[kModes], pole[kModes], residue[kModes];
    load_modes(state, from + at);
    load_modes(pole, poles_ + at);
    load_modes(residue, residues_ + at);
    for (std::int64_t t = 0; t < rows; ++t) {
      const V in = load(u + t * lanes);
      V even{}, odd{};
      if (output && !first) even = load(y + t * lanes);
#pragma GCC unroll 8
      for (int m = 0; m < kModes; m += 2) {
        state[m] = pole[m] * state[m] + in;
        state[m + 1] = pole[m + 1] * state[m + 1] + in;
        if (output) {
          even += residue[m] * state[m];
          odd += residue[m + 1] * state[m + 1];
        }
      }
      if (output) store(y + t * lanes, even + odd);
    }
    for (int m = 0; m < kModes; ++m) {
      const V start = load(from + at + m * lanes);
      store(to + at + m * lanes, state[m] + load(carry_ + at + m * lanes) * start);
    }
  }

  // The states of a tile again, kept row by row in states_, with the output and the residues' gradients.
  void replay(std::int64_t at, const T* start, const T* u, const T* g, T* y, std::int64_t rows, bool first) {
    constexpr int lanes = kLanes<T>, n = kVecSize<T>;
    V state[kModes], pole[kModes], sum[kModes];
    load_modes(state, start);
    load_modes(pole, poles_ + at);
    load_modes(sum, sums_ + at);
    for (std::int64_t t = 0; t < rows; ++t) {
      const V in = load(u + t * lanes), out = load(g + t * lanes);
      V total = first ? V{} : load(y + t * lanes);
#pragma GCC unroll 8
      for (int m = 0; m < kModes; ++m) {
        store(states_ + (t * kModes + m) * n, state[m]);  // the state before row t
        state[m] = pole[m] * state[m] + in;
        total += load(residues_ + at + m * lanes) * state[m];
        sum[m] += out * state[m];
      }
      store(y + t * lanes, total);
    }
    for (int m = 0; m < kModes; ++m) store(sums_ + at + m * lanes, sum[m]);
  }

  // r_t = λ·r_{t+1} + g_t in reverse, du_t = Σ R·r_t, and Σ r_t·s_{t-1} for the poles.
  void run_adjoint(std::int64_t at, const T* g, T* du, std::int64_t rows, bool first) {
    constexpr int lanes = kLanes<T>, n = kVecSize<T>;
    V state[kModes], pole[kModes], sum[kModes];
    load_modes(state, adjoint_ + at);
    load_modes(pole, poles_ + at);
    T* sums = sums_ + modes_ * lanes + at;
    load_modes(sum, sums);
    for (std::int64_t t = rows - 1; t >= 0; --t) {
      const V out = load(g + t * lanes);
      V total = first ? V{} : load(du + t * lanes);
#pragma GCC unroll 8
      for (int m = 0; m < kModes; ++m) {
        state[m] = pole[m] * state[m] + out;
        total += load(residues_ + at + m * lanes) * state[m];
        sum[m] += state[m] * load(states_ + (t * kModes + m) * n);
      }
      store(du + t * lanes, total);
    }
    for (int m = 0; m < kModes; ++m) {
      const V start = load(adjoint_ + at + m * lanes);
      store(adjoint_ + at + m * lanes, state[m] + load(carry_ + at + m * lanes) * start);
      store(sums + m * lanes, sum[m]);
    }
  }

  HyenaShape shape_;
  std::int64_t modes_, tiles_;
  T* poles_ = nullptr;     // [modes, kLanes]
  T* residues_ = nullptr;  // [modes, kLanes]
  T* carry_ = nullptr;     // [modes, kLanes]: exp(rows · log λ) - λ^rows
  T* adjoint_ = nullptr;   // [modes, kLanes]
  T* sums_ = nullptr;      // [2, modes, kLanes]: residues' and poles' gradients
  T* starts_ = nullptr;    // [tiles, modes, kLanes]
  T* states_ = nullptr;    // [kTileRows, kModes, kVecSize]
};

}  // namespace striped::cpu
