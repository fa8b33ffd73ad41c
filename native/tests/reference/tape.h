// Reverse-mode differentiation on a tape, so that reference gradients follow from the reference's own
// equations and from nothing in the engine.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

namespace reference {

class Tape {
 public:
  struct Node {
    double value;
    std::array<std::int32_t, 3> parent;  // -1: none
    std::array<double, 3> slope;
  };

  static Tape& current() {
    static Tape tape;
    return tape;
  }

  std::int32_t push(double value, std::array<std::int32_t, 3> parent = {-1, -1, -1},
                    std::array<double, 3> slope = {0, 0, 0}) {
    nodes_.push_back({value, parent, slope});
    return static_cast<std::int32_t>(nodes_.size()) - 1;
  }
  double value(std::int32_t index) const { return nodes_[index].value; }
  void clear() { nodes_.clear(); }

  // d target / d node, for every node up to the target.
  std::vector<double> gradient(std::int32_t target) const {
    std::vector<double> adjoint(nodes_.size(), 0.0);
    adjoint[target] = 1;
    for (std::int32_t i = target; i >= 0; --i) {
      if (adjoint[i] == 0) continue;
      for (int p = 0; p < 3; ++p) {
        if (nodes_[i].parent[p] >= 0) adjoint[nodes_[i].parent[p]] += adjoint[i] * nodes_[i].slope[p];
      }
    }
    return adjoint;
  }

 private:
  std::vector<Node> nodes_;
};

// A number on the tape; constants are not on it.
class Var {
 public:
  Var(double constant = 0) : value_(constant) {}
  static Var input(double value) { return Var(value, Tape::current().push(value)); }

  double value() const { return value_; }
  std::int32_t index() const { return index_; }

  friend Var operator+(Var a, Var b) { return make(a.value_ + b.value_, a, 1, b, 1); }
  friend Var operator-(Var a, Var b) { return make(a.value_ - b.value_, a, 1, b, -1); }
  friend Var operator*(Var a, Var b) { return make(a.value_ * b.value_, a, b.value_, b, a.value_); }
  friend Var operator/(Var a, Var b) {
    return make(a.value_ / b.value_, a, 1 / b.value_, b, -a.value_ / (b.value_ * b.value_));
  }
  friend Var exp(Var a) {
    const double e = std::exp(a.value_);
    return make(e, a, e, Var(), 0);
  }
  friend Var log(Var a) { return make(std::log(a.value_), a, 1 / a.value_, Var(), 0); }
  friend Var sqrt(Var a) {
    const double r = std::sqrt(a.value_);
    return make(r, a, 0.5 / r, Var(), 0);
  }
  friend Var erf(Var a) {
    return make(std::erf(a.value_), a, 2 / std::sqrt(M_PI) * std::exp(-a.value_ * a.value_), Var(), 0);
  }
  // a + b·c as one node.
  friend Var multiply_add(Var a, Var b, Var c) {
    const double value = a.value_ + b.value_ * c.value_;
    return Var(value, Tape::current().push(value, {a.index_, b.index_, c.index_}, {1, c.value_, b.value_}));
  }

 private:
  Var(double value, std::int32_t index) : value_(value), index_(index) {}
  static Var make(double value, Var a, double da, Var b, double db) {
    return Var(value, Tape::current().push(value, {a.index_, b.index_, -1}, {da, db, 0}));
  }

  double value_;
  std::int32_t index_ = -1;
};

inline double multiply_add(double a, double b, double c) { return a + b * c; }

}  // namespace reference
