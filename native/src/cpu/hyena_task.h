// The fused Hyena operators on one block of channels of one sequence, or of one piece of it: featurizer,
// gates and convolution over time tiles, so that a pass reads z once and writes y (or dz) once. The backward
// pass recomputes everything from z and walks the tiles in reverse.
#pragma once

#include "fir_filter.h"
#include "modal_filter.h"

namespace striped::cpu {
enum Stream { kQuery, kKey, kValue };

inline std::int64_t block_count(const HyenaShape& s, int lanes) { return (s.width + lanes - 1) / lanes; }

// What a call on pieces of sequences has more than one on whole ones.
template <class T>
struct Piece {
  const T *projections, *before, *after;
  T* reach;
};

// One task: a block of channels of one sequence. Buffers are tiles in the worker's scratch.
template <class T, class Filter>
class ChannelTask {
 public:
  static constexpr std::int64_t kRows = Filter::kTileRows;
  static constexpr int kWide = kLanes<T>;

  ChannelTask(const HyenaShape& s, const HyenaWeights& w, const Piece<T>* piece, std::int64_t index,
              T* scratch)
      : ChannelTask(s, piece != nullptr) {
    if (piece != nullptr) piece_ = *piece;
    const std::int64_t blocks = block_count(s, kWide);
    sequence_ = index / blocks;
    block_.first = index % blocks * kWide;
    block_.live = static_cast<int>(std::min<std::int64_t>(kWide, s.width - block_.first));
    carve(scratch);
    clear();
    filter_.prepare(w, block_, filter_scratch_);
    prepare_featurizer(w);
    const std::int64_t around = sequence_ * filter_.surroundings() * s.width + block_.first;
    if (piece_.before != nullptr) filter_.enter(piece_.before + around, block_, u_);
    if (piece_.after != nullptr) filter_.enter_reversed(piece_.after + around, block_, g_);
  }

  // Values of scratch a worker needs.
  static std::int64_t scratch(const HyenaShape& s, bool piece) {
    ChannelTask task(s, piece);
    return task.carve(nullptr) + task.filter_.scratch();
  }

  void forward(const T* z, T* y) {
    for (std::int64_t t0 = 0; t0 < shape_.length; t0 += kRows) {
      const std::int64_t rows = std::min(kRows, shape_.length - t0);
      for (auto stream : {kQuery, kKey, kValue}) featurize(stream, z, t0, 0, rows);
      if (t0 > 0) std::copy_n(u_ + kRows * kWide, history_ * kWide, u_);
      T* u = u_ + history_ * kWide;
      multiply_rows(u, part(kKey), part(kValue), rows);
      filter_.forward(u, out_, rows);
      gate(part(kQuery), u, out_, rows);
      store_rows(y + (sequence_ * shape_.length + t0) * shape_.width + block_.first, out_, shape_.width, rows,
                 block_.live);
    }
  }

  void backward(const T* z, const T* dy, T* dz) {
    const std::int64_t tiles = (shape_.length + kRows - 1) / kRows;
    if constexpr (Filter::kNeedsPrepass) {
      for (std::int64_t tile = 0; tile + 1 < tiles; ++tile) {
        for (auto stream : {kKey, kValue}) featurize(stream, z, tile * kRows, 0, kRows);
        multiply_rows(u_, part(kKey), part(kValue), kRows);
        filter_.prepass(tile, u_, kRows);
      }
    }
    for (std::int64_t tile = tiles - 1; tile >= 0; --tile) backward_tile(tile, z, dy, dz);
    if (piece_.reach != nullptr) store_reach();
  }

  // Partial gradients of this task's channels: filter [.., width], then featurizer [3, taps, width], skip
  // [width].
  void finish(T* partial) const {
    const std::int64_t width = shape_.width;
    filter_.finish(block_, partial);
    T* target = partial + filter_.gradients() * width + block_.first;
    for (auto stream : {kQuery, kKey, kValue}) {
      store_rows(target + stream * taps_ * width, featurizer_sums_ + stream * padded_rows(taps_) * kWide,
                 width, taps_, block_.live);
    }
    store_rows(target + 3 * taps_ * width, skip_sum_, width, 1, block_.live);
  }

 private:
  ChannelTask(const HyenaShape& s, bool piece)
      : shape_(s), filter_(s, piece), taps_(s.featurizer_taps), history_(filter_.history()) {}

  // Lays the buffers out; returns their size.
  std::int64_t carve(T* base) {
    std::int64_t used = 0;
    const auto take = [&](std::int64_t rows) {
      T* at = base + used;
      used += rows * kWide;
      return at;
    };
    const std::int64_t window = kRows + history_ + kRowBlock, lead = padded_rows(taps_);
    featurizer_ = take(3 * taps_);
    featurizer_reversed_ = take(3 * taps_);
    featurizer_sums_ = take(3 * lead);
    skip_ = take(1);
    skip_sum_ = take(1);
    for (auto& raw : raw_) raw = take(window + lead);
    for (auto& part : parts_) part = take(window);
    u_ = take(window + kRowBlock) + kRowBlock * kWide;
    g_ = take(window);
    out_ = take(kRows);
    du_ = take(kRows);
    dy_ = take(kRows);
    for (auto& delta : deltas_) delta = take(kRows + lead + kRowBlock);
    filter_scratch_ = base + used;
    return used;
  }

  // Tables, sums, and what the first tile finds where others find their neighbour's rows.
  void clear() {
    zero_rows(featurizer_, (skip_sum_ - featurizer_) / kWide + 1);
    zero_rows(u_, history_);
    zero_rows(g_, history_);
    for (auto* delta : deltas_) zero_rows(delta, taps_ - 1);
  }

  void prepare_featurizer(const HyenaWeights& w) {
    const auto* weights = static_cast<const T*>(w.featurizer);
    for (std::int64_t stream = 0; stream < 3; ++stream) {
      for (int c = 0; c < block_.live; ++c) {
        for (std::int64_t f = 0; f < taps_; ++f) {
          const T tap = weights[(stream * shape_.width + block_.first + c) * taps_ + f];
          featurizer_[(stream * taps_ + f) * kWide + c] = tap;
          featurizer_reversed_[(stream * taps_ + taps_ - 1 - f) * kWide + c] = tap;
        }
      }
    }
    if (!shape_.has_skip) return;
    std::copy_n(static_cast<const T*>(w.skip) + block_.first, block_.live, skip_);
  }

  const T* part(Stream stream) const { return parts_[stream] + history_ * kWide; }

  // Features of rows [t0 - before, t0 + rows) of a stream into parts_, row t0 at part(). Rows before the
  // sequence count as zero, those before a piece are its surroundings. raw_ keeps the inputs, row t0 at
  // raw_row().
  void featurize(Stream stream, const T* z, std::int64_t t0, std::int64_t before, std::int64_t rows) {
    const std::int64_t wanted = before + padded_rows(taps_) - 1, live = std::min(wanted, t0);
    T* raw = raw_row(stream);
    zero_rows(raw - wanted * kWide, wanted - live);
    if (live == t0 && piece_.projections != nullptr)
      load_projections(stream, raw - live * kWide, wanted - live);
    const T* source =
        z + ((sequence_ * shape_.length + t0 - live) * 3 + stream) * shape_.width + block_.first;
    load_rows(raw - live * kWide, source, 3 * shape_.width, live + rows, block_.live);
    fir(featurizer_ + stream * taps_ * kWide, taps_, raw - before * kWide,
        parts_[stream] + (history_ - before) * kWide, before + rows);
  }

  // The last of the rows before a piece that fit into `room` rows before `end`.
  void load_projections(Stream stream, T* end, std::int64_t room) {
    const std::int64_t all = taps_ - 1, rows = std::min(all, room);
    const T* from =
        piece_.projections + ((sequence_ * all + all - rows) * 3 + stream) * shape_.width + block_.first;
    load_rows(end - rows * kWide, from, 3 * shape_.width, rows, block_.live);
  }

  // The gradients of the first rows' features, which backward() leaves in deltas_.
  void store_reach() const {
    const std::int64_t rows = std::min<std::int64_t>(taps_ - 1, shape_.length);
    for (auto stream : {kQuery, kKey, kValue}) {
      T* target = piece_.reach + (sequence_ * rows * 3 + stream) * shape_.width + block_.first;
      store_rows(target, deltas_[stream], 3 * shape_.width, rows, block_.live);
    }
  }

  T* raw_row(Stream stream) const { return raw_[stream] + (history_ + padded_rows(taps_)) * kWide; }

  // out = q ⊙ (out + d ⊙ u).
  void gate(const T* q, const T* u, T* __restrict out, std::int64_t rows) const {
    for (std::int64_t r = 0; r < rows; ++r) {
      for (int c = 0; c < kWide; ++c) {
        const std::int64_t i = r * kWide + c;
        out[i] = q[i] * (out[i] + skip_[c] * u[i]);
      }
    }
  }

  void backward_tile(std::int64_t tile, const T* z, const T* dy, T* dz) {
    const std::int64_t t0 = tile * kRows, rows = std::min(kRows, shape_.length - t0);
    const std::int64_t before = std::min(history_, t0);
    featurize(kQuery, z, t0, 0, rows);
    for (auto stream : {kKey, kValue}) featurize(stream, z, t0, before, rows);
    T* u = u_ + history_ * kWide;
    load_history(t0, history_ - before);
    multiply_rows(u - before * kWide, part(kKey) - before * kWide, part(kValue) - before * kWide,
                  before + rows);
    load_rows(dy_, dy + (sequence_ * shape_.length + t0) * shape_.width + block_.first, shape_.width, rows,
              block_.live);
    // What later tiles left behind moves to the end of this one.
    std::copy_backward(g_, g_ + history_ * kWide, g_ + (rows + history_) * kWide);
    multiply_rows(g_, dy_, part(kQuery), rows);
    filter_.backward(tile, u, g_, out_, du_, rows);
    gate_gradients(u, rows);
    for (auto stream : {kQuery, kKey, kValue}) featurizer_gradients(stream, dz, t0, rows);
  }

  // Rows of u that lie before the piece, as the tile at t0 sees them.
  void load_history(std::int64_t t0, std::int64_t rows) {
    if (piece_.before == nullptr) return zero_rows(u_, rows);
    const T* from = piece_.before + (sequence_ * history_ + t0) * shape_.width + block_.first;
    load_rows(u_, from, shape_.width, rows, block_.live);
  }

  // From dy, y = out_ and du_: gradients of the three features into deltas_, after the rows later tiles left.
  void gate_gradients(const T* u, std::int64_t rows) {
    for (auto* delta : deltas_)
      std::copy_backward(delta, delta + (taps_ - 1) * kWide, delta + (rows + taps_ - 1) * kWide);
    const T* __restrict key = part(kKey);
    const T* __restrict value = part(kValue);
    T* __restrict dq = deltas_[kQuery];
    T* __restrict dk = deltas_[kKey];
    T* __restrict dv = deltas_[kValue];
    for (std::int64_t r = 0; r < rows; ++r) {
      for (int c = 0; c < kWide; ++c) {
        const std::int64_t i = r * kWide + c;
        const T through = du_[i] + skip_[c] * g_[i];
        dq[i] = dy_[i] * (out_[i] + skip_[c] * u[i]);
        dk[i] = through * value[i];
        dv[i] = through * key[i];
        skip_sum_[c] += g_[i] * u[i];
      }
    }
  }

  void featurizer_gradients(Stream stream, T* dz, std::int64_t t0, std::int64_t rows) {
    const T* delta = deltas_[stream];
    correlate(delta, raw_row(stream), rows, featurizer_sums_ + stream * padded_rows(taps_) * kWide, taps_);
    fir(featurizer_reversed_ + stream * taps_ * kWide, taps_, delta + (taps_ - 1) * kWide, out_, rows);
    T* target = dz + ((sequence_ * shape_.length + t0) * 3 + stream) * shape_.width + block_.first;
    store_rows(target, out_, 3 * shape_.width, rows, block_.live);
  }

  HyenaShape shape_;
  Filter filter_;
  std::int64_t taps_, history_, sequence_ = 0;
  ChannelBlock block_{};
  Piece<T> piece_{};
  T* featurizer_;           // [3, taps, kLanes]
  T* featurizer_reversed_;  // [3, taps, kLanes]
  T* featurizer_sums_;      // [3, padded taps, kLanes]
  T* skip_;                 // [kLanes], zero where there is none
  T* skip_sum_;             // [kLanes]
  T* raw_[3];               // inputs of the featurizer
  T* parts_[3];             // q', k', v'
  T* u_;                    // k' ⊙ v', with history
  T* g_;                    // dy ⊙ q', with the future
  T* out_;
  T* du_;
  T* dy_;
  T* deltas_[3];  // gradients of q', k', v', with the future
  T* filter_scratch_ = nullptr;
};

}  // namespace striped::cpu
