// The warps that come `delay` stages later, see hyena_fir_backward.cu: c, and from it dq; and the filter
// gradient.
#pragma once

#include "hyena_fir_gradients.cuh"
#include "hyena_fir_stages.cuh"

namespace striped::cuda::fir {

template <int Window>
class Following {
  using L = Layout<Window>;
  static constexpr int late_tiles = kStageTiles * L::delay;  // from a stage's base to the late one's

 public:
  __device__ Following(const Place& place, const Walk<Window>& walk, const BackwardArguments& a)
      : place_(place),
        walk_(walk),
        rows_(ptx::kept(place.shared + tile_offset<true, Operand::b>(place.warp, place.lane))),
        columns_(ptx::kept(place.shared + tile_offset<false, Operand::b>(place.warp, place.lane))),
        aligned_rows_(ptx::kept(ptx::swizzle128(rows_))),
        aligned_tokens_(ptx::kept(ptx::swizzle128(place.shared + tile_offset(place.warp, place.lane)))),
        aligned_gate_rows_(
            ptx::kept(ptx::swizzle128(place.shared + FilterProduct::rows_offset(place.warp, place.lane)))),
        weights_(place.warp, place.lane, place.shared + L::weights) {
    row_featurizer_.load(a.featurizer, place.column + place.warp * kTile, place.lane);
  }

  // `certain`: the caller knows that the late stage is there. rows_of(tile, rows): its g, see gradient_rows.
  template <bool certain, class RowsOf>
  __device__ void work(int stage, const typename L::FollowingTaps& taps, const RowsOf& rows_of) {
    if (certain || walk_.late(stage)) visit(stage, taps, rows_of);
    // The stage above the strip only feeds the featurizers' reach.
    if (walk_.late_row(stage) == walk_.top) {
      ptx::rarely();
      dfq_.reset();
#pragma unroll
      for (int j = 0; j <= Window; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) product_[j][e] = 0;
      }
    }
  }
  __device__ void advance(int stage) {
    gate_.advance();
    if (stage >= L::delay) {
      query_.advance();
      dy_.advance();
    }
  }
  // The late stage's g, made once more.
  __device__ void gradient_rows(int tile, std::uint32_t (&rows)[4]) const {
    const int query = L::query + query_.slot * kHaloedBytes, dy = L::dy + dy_.slot * kPlainBytes;
    std::uint32_t z[kHalo + 1][4], dy_pair[4];
#pragma unroll
    for (int lag = 0; lag <= kHalo; ++lag) {
      ptx::load_matrix(z[lag],
                       ptx::swizzle128(rows_ + query + (kHalo - lag) * kRowBytes) + tile * kTileBytes);
    }
    ptx::load_matrix(dy_pair, aligned_rows_ + dy + tile * kTileBytes);
#pragma unroll
    for (int r = 0; r < 4; ++r)
      rows[r] = ptx::multiply_bf16(row_featurizer_.apply(r / 2, z[0][r], z[1][r], z[2][r]), dy_pair[r]);
  }

  __device__ void store(const BackwardArguments& a, std::int64_t strip, std::uint8_t* scratch) const {
    dfq_.store(a.partials.featurizer + strip * 9 * a.width, place_.channel, place_.lane);
    auto* const sums = reinterpret_cast<FilterSums<Window>*>(scratch) + place_.warp;
    static_assert(kWarps * sizeof(*sums) <= L::weights);
    const std::int64_t part = strip * (a.width / kTile) + (place_.column / kTile + place_.warp);
    store_filter_gradient<Window>(product_, *sums, a.partials.filter + part * a.taps, a.taps, place_.lane);
  }

 private:
  __device__ void wait_for_leader(int stage) const {
    if (L::teams > 1) ptx::barrier_wait(place_.shared + L::ready + place_.warp * 8, stage & 1);
  }

  template <class RowsOf>
  __device__ void visit(int stage, const typename L::FollowingTaps& taps, const RowsOf& rows_of) {
    const Lane& lane = place_.lane;
    const int query = L::query + query_.slot * kHaloedBytes, dy = L::dy + dy_.slot * kPlainBytes;
    const std::uint32_t query_columns = ptx::swizzle128(columns_ + query + kHalo * kRowBytes);
    const std::uint32_t dy_at = aligned_tokens_ + dy;
    const std::uint32_t gate_at = aligned_tokens_ + L::gate;
    const std::uint32_t gate_rows = aligned_gate_rows_ + L::gate;
    const int newest = gate_.slot, late_slot = newest - L::delay + (newest < L::delay ? L::held : 0);

    FilterProduct::Rows g[kStageTiles];
#pragma unroll
    for (int tile = kStageTiles - 1; tile >= 0; --tile) {
      std::uint32_t rows[4];
      rows_of(tile, rows);
      g[tile].make(rows, later_rows_);
    }
    float c[kStageTiles][2][4];
    Toeplitz newest_taps, older_taps;
#pragma unroll
    for (int back = 0; back <= Window + kStageTiles - 1; ++back) {
      const int index = late_tiles + kStageTiles - 1 - back;
      const int ago = index / kStageTiles;
      if (ago == 0) wait_for_leader(stage);
      const int gate_slot = newest - ago + (newest < ago ? L::held : 0);
      const std::uint32_t offset = gate_slot * kPlainBytes + index % kStageTiles * kTileBytes;
      std::uint32_t u[4], u_rows[4];
      older_taps = newest_taps;
      if (back <= Window) newest_taps = taps.at(back);
      ptx::load_matrix_transposed(u, gate_at + offset);
      ptx::load_matrix(u_rows, gate_rows + offset);
#pragma unroll
      for (int tile = kStageTiles - 1; tile >= 0; --tile) {
        const int j = back - (kStageTiles - 1 - tile);
        if (j < 0 || j > Window) continue;
        convolve<Window>(c[tile], u, tile == kStageTiles - 1 ? newest_taps : older_taps, j);
        g[tile].accumulate(product_[j], u_rows);
      }
    }
    const auto weights = weights_.at(0);
    FeaturizerGradient::Sums sums;
#pragma unroll
    for (int tile = kStageTiles - 1; tile >= 0; --tile) {
      const int offset = tile * kTileBytes;
      std::uint32_t c_pairs[4], d[4], u[4];
      ptx::load_matrix_transposed(u, gate_at + late_slot * kPlainBytes + offset);
      with_skip(c_pairs, c[tile], weights.skip, u);
      ptx::load_matrix_transposed(d, dy_at + offset);
#pragma unroll
      for (int r = 0; r < 4; ++r) d[r] = ptx::multiply_bf16(d[r], c_pairs[r]);
      finish<false>(weights.featurizer, sums, beside_dq_, query_columns + offset, dy_at + offset, d,
                    tile == kStageTiles - 1, lane);
    }
    dfq_.add(sums, lane);
  }

  const Place& place_;
  const Walk<Window>& walk_;
  const std::uint32_t rows_, columns_, aligned_rows_, aligned_tokens_, aligned_gate_rows_;
  const WeightsInSharedMemory weights_;
  RowFeaturizer row_featurizer_;
  Ring<L::held> gate_;
  Ring<L::query_slots> query_;  // of the late stage, as the next
  Ring<L::dy_slots> dy_;
  FeaturizerGradient dfq_;
  Neighbours beside_dq_;
  float product_[Window + 1][4] = {};
  std::uint32_t later_rows_[2] = {};  // of g, see FilterProduct
};

}  // namespace striped::cuda::fir
