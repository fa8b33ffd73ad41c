// The warps that meet a tile first, see hyena_fir_backward.cu: u and du, and from them dk, dv and the
// gradient of the skip.
#pragma once

#include "hyena_fir_gradients.cuh"
#include "hyena_fir_stages.cuh"

namespace striped::cuda::fir {

template <int Window>
class Leading {
  using L = Layout<Window>;

 public:
  __device__ Leading(const Place& place, const Walk<Window>& walk, const BackwardArguments& a)
      : place_(place),
        walk_(walk),
        rows_(ptx::kept(place.shared + tile_offset<true>(place.warp, place.lane))),
        columns_(ptx::kept(place.shared + tile_offset<true, Operand::b>(place.warp, place.lane))),
        aligned_rows_(ptx::kept(ptx::swizzle128(rows_))),
        aligned_columns_(ptx::kept(ptx::swizzle128(columns_))),
        weights_(place.warp, place.lane, place.shared + L::weights) {
    weights_.load(a.featurizer, a.skip, a.width, place.channel, place.lane);
    const std::int64_t group = (place.column + place.warp * kTile) / a.group_size;
    place.taps<Window>().load(
        {a.filter + group * a.taps, a.decay == nullptr ? nullptr : a.decay + group * a.taps, a.taps},
        place.lane);
  }

  template <bool has_query, bool has_key>
  __device__ void work(int stage, const typename L::LeadingTaps& taps) {
    ptx::barrier_wait(place_.shared + L::full + stage % 2 * 8, stage / 2 & 1);
    visit<has_query, has_key>(stage, taps);
    // The stage above the strip only feeds the featurizers' reach; its gradients are counted in its own
    // strip.
    if (has_query && has_key && walk_.row(stage) == walk_.top) {
      ptx::rarely();
      dfk_.reset();
      dfv_.reset();
      dskip_[0] = dskip_[1] = 0;
    }
  }
  __device__ void advance() {
    query_.advance();
    dy_.advance();
    gate_.advance();
  }
  // The late stage's g, in rows of tokens, as FilterProduct wants them; for a warp that follows itself.
  __device__ void gradient_rows(int tile, std::uint32_t (&rows)[4]) const {
    const std::uint32_t(&g)[4] = gradients_[kStageTiles * L::delay + tile];
#pragma unroll
    for (int r = 0; r < 4; ++r) rows[r] = ptx::transpose_matrix(g[r % 2 * 2 + r / 2]);
  }

  __device__ void store(const Partials& partials, int width, std::int64_t strip) const {
    float* featurizer = partials.featurizer + strip * 9 * width;
    dfk_.store(featurizer, width + place_.channel, place_.lane);
    dfv_.store(featurizer, 2 * width + place_.channel, place_.lane);
    if (place_.lane.on_diagonal()) {
#pragma unroll
      for (int c = 0; c < 2; ++c) partials.skip[strip * width + place_.channel + 8 * c] = dskip_[c];
    }
  }

 private:
  // Above the strip only g is wanted, below it only u.
  template <bool has_query, bool has_key>
  __device__ void visit(int stage, const typename L::LeadingTaps& taps) {
    const Lane& lane = place_.lane;
    const std::uint32_t query = rows_ + L::query + query_.slot * kHaloedBytes;
    const std::uint32_t key = L::key + stage % 2 * 2 * kHaloedBytes;
    // This lane's rows; "next" are two tokens earlier, which reversed time meets next.
    const std::uint32_t query_next = ptx::swizzle128(query);
    const std::uint32_t query_at = ptx::swizzle128(query + kHalo * kRowBytes);
    const std::uint32_t key_next = ptx::swizzle128(columns_ + key);
    const std::uint32_t key_at = ptx::swizzle128(columns_ + key + kHalo * kRowBytes);
    const std::uint32_t value_next = ptx::swizzle128(columns_ + key + kHaloedBytes);
    const std::uint32_t value_at = ptx::swizzle128(columns_ + key + kHaloedBytes + kHalo * kRowBytes);
    const std::uint32_t dy_at = aligned_rows_ + L::dy + dy_.slot * kPlainBytes;
    const std::uint32_t gate_at = aligned_columns_ + L::gate + gate_.slot * kPlainBytes;
    const std::uint32_t staging_at = aligned_rows_ + L::staging + stage % 2 * 2 * kPlainBytes;

    if constexpr (has_query || L::teams == 1) {  // its own follower wants them below the strip too
#pragma unroll
      for (int i = kStageTiles * L::held - 1; i >= kStageTiles; --i) {
#pragma unroll
        for (int r = 0; r < 4; ++r) gradients_[i][r] = gradients_[i - kStageTiles][r];
      }
    }
    std::uint32_t k[kStageTiles][4], v[kStageTiles][4];  // in the order of B operands, as u
    float skip_sums[2][4];
    const PairFeaturizer fq = weights_.at(0).featurizer, fk = weights_.at(1).featurizer,
                         fv = weights_.at(2).featurizer;
#pragma unroll
    for (int tile = kStageTiles - 1; tile >= 0; --tile) {
      const int offset = tile * kTileBytes;
      std::uint32_t(&g)[4] = gradients_[tile];
      if constexpr (has_query) {
        std::uint32_t pair[4], next[4], dy_pair[4];
        ptx::load_matrix_transposed(pair, query_at + offset);
        ptx::load_matrix_transposed(next, query_next + offset);
        ptx::load_matrix_transposed(dy_pair, dy_at + offset);
#pragma unroll
        for (int r = 0; r < 4; ++r)
          g[r] = ptx::multiply_bf16(fq.apply_reversed(r % 2, pair[r], next[r]), dy_pair[r]);
      }
      if constexpr (has_key) {
        std::uint32_t u[4];
        const auto features = [&](const PairFeaturizer& featurizer, std::uint32_t at, std::uint32_t beyond,
                                  std::uint32_t(&out)[4]) {
          std::uint32_t pair[4], next[4];
          ptx::load_matrix_transposed(pair, at + offset);
          ptx::load_matrix_transposed(next, beyond + offset);
#pragma unroll
          for (int r = 0; r < 4; ++r) out[r] = featurizer.apply_reversed(r / 2, pair[r], next[r]);
        };
        features(fk, key_at, key_next, k[tile]);
        features(fv, value_at, value_next, v[tile]);
#pragma unroll
        for (int r = 0; r < 4; ++r) u[r] = ptx::multiply_bf16(k[tile][r], v[tile][r]);
        ptx::store_matrix_transposed(gate_at + offset, u);
        if constexpr (has_query) {  // Σ_t g_t·u_t is the diagonal of a product over time
          if (tile == kStageTiles - 1) {
            ptx::product_16x8x16(skip_sums[0], g, u[0], u[1]);
            ptx::product_16x8x16(skip_sums[1], g, u[2], u[3]);
          } else {
            ptx::mma_16x8x16(skip_sums[0], g, u[0], u[1]);
            ptx::mma_16x8x16(skip_sums[1], g, u[2], u[3]);
          }
        }
      }
    }
    __syncwarp();
    if (L::teams > 1 && lane.index == 0) ptx::barrier_arrive(place_.shared + L::ready + place_.warp * 8);
    if constexpr (has_query && has_key) {
#pragma unroll
      for (int c = 0; c < 2; ++c) dskip_[c] += lane.diagonal(skip_sums[c], c);
      float du[kStageTiles][2][4];
#pragma unroll
      for (int back = 0; back <= Window; ++back) {
        const Toeplitz fragment = taps.at(back);
#pragma unroll
        for (int tile = kStageTiles - 1; tile >= 0; --tile)
          convolve<Window>(du[tile], gradients_[tile + back], fragment, back);
      }
      const auto of_keys = weights_.at(1);
      std::uint32_t du_pairs[kStageTiles][4];
#pragma unroll
      for (int tile = 0; tile < kStageTiles; ++tile)
        with_skip(du_pairs[tile], du[tile], of_keys.skip, gradients_[tile]);
      // k and v are each other's partner in the gate.
      const auto finish_all = [&](const PairFeaturizer& featurizer, FeaturizerGradient& gradient,
                                  Neighbours& beside, std::uint32_t z_at, std::uint32_t dz_at,
                                  const std::uint32_t(&other)[kStageTiles][4]) {
        FeaturizerGradient::Sums sums;
#pragma unroll
        for (int tile = kStageTiles - 1; tile >= 0; --tile) {
          const int offset = tile * kTileBytes;
          std::uint32_t d[4];
#pragma unroll
          for (int r = 0; r < 4; ++r)
            d[r] = ptx::multiply_bf16(du_pairs[tile][r], other[tile][r % 2 * 2 + r / 2]);
          finish<true>(featurizer, sums, beside, z_at + offset, dz_at + offset, d, tile == kStageTiles - 1,
                       lane);
        }
        gradient.add(sums, lane);
      };
      finish_all(of_keys.featurizer, dfk_, beside_dk_, key_at, staging_at, v);
      finish_all(weights_.at(2).featurizer, dfv_, beside_dv_, value_at, staging_at + kPlainBytes, k);
    }
  }

  const Place& place_;
  const Walk<Window>& walk_;
  // Of tiles reversed, as A and as B operands; swizzled, for buffers at multiples of 1024 bytes.
  const std::uint32_t rows_, columns_, aligned_rows_, aligned_columns_;
  const WeightsInSharedMemory weights_;
  Ring<L::query_slots> query_;
  Ring<L::dy_slots> dy_;
  Ring<L::held> gate_;
  FeaturizerGradient dfk_, dfv_;
  Neighbours beside_dk_, beside_dv_;
  float dskip_[2] = {};
  std::uint32_t gradients_[kStageTiles * L::held][4] =
      {};  // g, time reversed; [0, 2) is this stage, later ones above
};

}  // namespace striped::cuda::fir
