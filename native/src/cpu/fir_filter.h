// Inner filter of Hyena-SE and Hyena-MR: explicit taps, shared inside a group, with an optional decay.
#pragma once

#include "fir_kernels.h"
#include "striped/backend.h"

namespace striped::cpu {

template <class T>
class FirFilter {
 public:
  static constexpr std::int64_t kTileRows = 256;

  // Taps beyond a whole sequence never matter.
  FirFilter(const HyenaShape& s, bool piece)
      : shape_(s), taps_(piece ? s.taps : std::min<std::int64_t>(s.taps, s.length)) {}

  // Rows of u before a tile that its output depends on.
  std::int64_t history() const { return taps_ - 1; }
  // Rows that a piece has of HyenaSurroundings::before and after.
  std::int64_t surroundings() const { return history(); }
  // Values of scratch a task needs.
  std::int64_t scratch() const { return (2 * taps_ + padded_rows(taps_)) * kLanes<T>; }
  // Values of gradient a channel has, summed by reduce().
  std::int64_t gradients() const { return taps_; }

  void prepare(const HyenaWeights& w, const ChannelBlock& block, T* scratch) {
    constexpr int lanes = kLanes<T>;
    filter_ = scratch;
    reversed_ = filter_ + taps_ * lanes;
    sums_ = reversed_ + taps_ * lanes;
    zero_rows(sums_, padded_rows(taps_));
    zero_rows(filter_, taps_);
    const auto* taps = static_cast<const T*>(w.filter);
    const auto* decay = static_cast<const T*>(w.decay);
    const std::int64_t group_size = shape_.width / shape_.groups;
    for (int c = 0; c < block.live; ++c) {
      const std::int64_t first = (block.first + c) / group_size * shape_.taps;
      for (std::int64_t j = 0; j < taps_; ++j) {
        filter_[j * lanes + c] = decay ? taps[first + j] * decay[first + j] : taps[first + j];
      }
    }
    for (std::int64_t j = 0; j < taps_; ++j)
      std::copy_n(filter_ + j * lanes, lanes, reversed_ + (taps_ - 1 - j) * lanes);
  }

  void forward(const T* u, T* y, std::int64_t rows) { fir(filter_, taps_, u, y, rows); }

  static constexpr bool kNeedsPrepass = false;

  // What lies beyond the ends of a piece, rows `width` apart: u before it, g after it.
  void enter(const T* before, const ChannelBlock& block, T* history_rows) const {
    load_rows(history_rows, before, shape_.width, history(), block.live);
  }
  void enter_reversed(const T* after, const ChannelBlock& block, T* future_rows) const {
    load_rows(future_rows, after, shape_.width, history(), block.live);
  }

  // u has history() rows before it and g as many after: y = h * u, du = hᵀ * g, and the filter's gradient.
  void backward(std::int64_t, const T* u, const T* g, T* y, T* du, std::int64_t rows) {
    fir(filter_, taps_, u, y, rows);
    fir(reversed_, taps_, g + history() * kLanes<T>, du, rows);
    correlate(g, u, rows, sums_, taps_);
  }

  // Puts the block's gradients into partial[gradients(), width].
  void finish(const ChannelBlock& block, T* partial) const {
    store_rows(partial + block.first, sums_, shape_.width, taps_, block.live);
  }

  // Adds `parts` partial sums, `stride` values apart, to the gradients of group g's weights.
  void reduce(std::int64_t g, const HyenaWeights& w, const HyenaGradients& out, const T* partial,
              std::int64_t stride, std::int64_t parts) const {
    const std::int64_t group_size = shape_.width / shape_.groups;
    auto* target = static_cast<T*>(out.filter) + g * shape_.taps;
    const T* decay = w.decay ? static_cast<const T*>(w.decay) + g * shape_.taps : nullptr;
    for (std::int64_t j = 0; j < taps_; ++j) {
      T total = 0;
      for (std::int64_t part = 0; part < parts; ++part) {
        const T* row = partial + part * stride + j * shape_.width + g * group_size;
        for (std::int64_t c = 0; c < group_size; ++c) total += row[c];
      }
      target[j] += decay ? total * decay[j] : total;
    }
  }

 private:
  HyenaShape shape_;
  std::int64_t taps_;
  T* filter_ = nullptr;
  T* reversed_ = nullptr;
  T* sums_ = nullptr;
};

}  // namespace striped::cpu
