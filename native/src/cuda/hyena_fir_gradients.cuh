// What becomes the gradients of operands, featurizers and filters in the FIR kernels' backward pass.
#pragma once

#include "hyena_fir_fragments.cuh"

namespace striped::cuda::fir {

// The sums of a convolution as operands of what comes next, the skip added: d ⊙ what was convolved.
__device__ inline void with_skip(std::uint32_t (&pairs)[4], const float (&sums)[2][4],
                                 const std::uint32_t (&skip)[2], const std::uint32_t (&tile)[4]) {
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int c = r % 2;
    pairs[r] = ptx::fma_bf16(skip[c], tile[r], ptx::pack_bf16(sums[r / 2][c * 2], sums[r / 2][c * 2 + 1]));
  }
}

// Gradient of the three featurizer taps, Σ_t d_(t + lag)·z_t for lags 0 to 2. A product of a tile of d by one
// of z, times being what it sums over, has it on its diagonal: channel by the same channel. Rows 0-7 and 8-15
// of one product are two lags of the same eight channels.
struct FeaturizerGradient {
  float tap[2][3] = {};  // of channels g and g + 8, in lanes with q = g / 2

  // Products of the tiles at hand; [channels 0-7, channels 8-15].
  struct Sums {
    float near[2][4], far[2][4];  // lags 0 and 1; lag 2, rows of all channels

    // d and what comes one and two tokens later, as A operands; z in the order of two B operands. `first`:
    // there are no sums yet.
    __device__ void add(const std::uint32_t (&d)[4], const std::uint32_t (&one)[4],
                        const std::uint32_t (&two)[4], const std::uint32_t (&z)[4], bool first) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const std::uint32_t lags[4] = {d[half], one[half], d[2 + half], one[2 + half]};
        if (first) {
          ptx::product_16x8x16(near[half], lags, z[2 * half], z[2 * half + 1]);
          ptx::product_16x8x16(far[half], two, z[2 * half], z[2 * half + 1]);
        } else {
          ptx::mma_16x8x16(near[half], lags, z[2 * half], z[2 * half + 1]);
          ptx::mma_16x8x16(far[half], two, z[2 * half], z[2 * half + 1]);
        }
      }
    }
  };
  __device__ void add(const Sums& sums, const Lane& lane) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      tap[half][0] += lane.diagonal(sums.near[half], 0);
      tap[half][1] += lane.diagonal(sums.near[half], 1);
      tap[half][2] += lane.diagonal(sums.far[half], half);
    }
  }
  __device__ void reset() {
#pragma unroll
    for (int c = 0; c < 2; ++c) {
#pragma unroll
      for (int t = 0; t < 3; ++t) tap[c][t] = 0;
    }
  }
  // Writes out[channel, 3].
  __device__ void store(float* out, int channel, const Lane& lane) const {
    if (!lane.on_diagonal()) return;
#pragma unroll
    for (int c = 0; c < 2; ++c) {
#pragma unroll
      for (int t = 0; t < 3; ++t) out[(channel + 8 * c) * 3 + t] = tap[c][t];
    }
  }
};

// The pairs next to a tile's pairs: fragments are rotated by one lane within each quad, and the edge lane
// takes the neighbouring eight tokens, the last of them carried from the tile visited before.
struct Neighbours {
  std::uint32_t carried[2] = {};  // by channel

  template <bool reversed>
  __device__ void shift(const std::uint32_t (&tile)[4], std::uint32_t (&out)[4], const Lane& lane) {
    // reversed: the two tokens before in reversed time; else the two tokens after.
    const int source = (lane.index & ~3) | ((lane.q + (reversed ? 3 : 1)) & 3);
    const bool edge = lane.q == (reversed ? 0 : 3);
    constexpr int first = reversed ? 0 : 2, last = reversed ? 2 : 0;
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const std::uint32_t a = __shfl_sync(0xffffffffu, tile[first + c], source);
      const std::uint32_t b = __shfl_sync(0xffffffffu, tile[last + c], source);
      out[first + c] = edge ? carried[c] : a;
      out[last + c] = edge ? a : b;
      carried[c] = b;
    }
  }
};

// dz of one operand, from the gradient d of its features, in place; and the gradient of its featurizer.
template <bool reversed>
__device__ inline void finish(const PairFeaturizer& featurizer, FeaturizerGradient::Sums& sums,
                              Neighbours& beside, std::uint32_t z_at, std::uint32_t dz_at,
                              const std::uint32_t (&d)[4], bool first, const Lane& lane) {
  std::uint32_t one[4], two[4], z[4], dz[4];
  ptx::load_matrix_transposed(z, z_at);
  beside.shift<reversed>(d, two, lane);
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    one[r] = reversed ? ptx::between_bf16(two[r], d[r]) : ptx::between_bf16(d[r], two[r]);
    dz[r] = reversed ? featurizer.apply(r % 2, d[r], two[r]) : featurizer.apply_reversed(r % 2, d[r], two[r]);
  }
  sums.add(d, one, two, z, first);
  __syncwarp();  // all have read what dz takes the place of
  ptx::store_matrix_transposed(dz_at, dz);
}

// The filter gradient Σ_t g_t·u_(t-lag) over 16 channels, in halves of tiles (eight tokens): with block
// numbers B, a product has two blocks of g as rows, B and B + 1, and the block B - 2j of u as columns,
// channels are what it sums over. Every pair of blocks a whole number of tiles apart adds to the same 16 × 8
// sums D_j, four registers:
//   rows (upper of tile i, lower of tile i)      with the lower block of u in tile i - j,
//   rows (lower of tile i+1, upper of tile i)    with the upper block,
// both with time descending, so that row t', column s of D_j is lag 16j + 15 - t' - s.
struct FilterProduct {
  struct Rows {
    std::uint32_t natural[4], straddling[4];

    // g: tile i in registers of the A operand [time, descending × channel]; later: the lower block of tile
    // i + 1, becomes that of tile i.
    __device__ void make(const std::uint32_t (&g)[4], std::uint32_t (&later)[2]) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {  // of the channels
        natural[2 * half] = g[2 * half];
        natural[2 * half + 1] = g[2 * half + 1];
        straddling[2 * half] = later[half];
        straddling[2 * half + 1] = g[2 * half];
        later[half] = g[2 * half + 1];
      }
    }
    __device__ void accumulate(float (&product)[4], const std::uint32_t (&u)[4]) const {
      ptx::mma_16x8x16(product, natural, u[0], u[1]);
      ptx::mma_16x8x16(product, straddling, u[2], u[3]);
    }
  };

  // This lane's row of u in a buffer, as tile_offset, for the matrix load that feeds accumulate(): lower
  // block, then upper block, of the first eight channels and the others in turn.
  __device__ static std::uint32_t rows_offset(int warp, const Lane& lane) {
    const int matrix = lane.index / 8, row = matrix / 2 * 8 + lane.index % 8;
    return row * kRowBytes + (warp * 2 + matrix % 2) * 16;
  }
};

// Sums D_j into the taps' gradients, through `scratch` in shared memory, FilterSums<Window> of this warp. A
// loop over taps, not over tiles, keeps its code short: it runs once, and fetching instructions is what it
// costs.
template <int Window>
struct FilterSums {
  static constexpr int kColumns = kTile / 2, kRow = kColumns + 1;  // one more, for other banks
  float sums[Window + 1][kTile][kRow];
};
template <int Window>
__device__ void store_filter_gradient(const float (&product)[Window + 1][4], FilterSums<Window>& scratch,
                                      float* out, int taps, const Lane& lane) {
#pragma unroll
  for (int j = 0; j <= Window; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) scratch.sums[j][lane.g + 8 * (e / 2)][2 * lane.q + e % 2] = product[j][e];
  }
  __syncwarp();
  for (int tap = lane.index; tap < taps; tap += 32) {
    float sum = 0;
#pragma unroll
    for (int column = 0; column < FilterSums<Window>::kColumns; ++column) {
      const int lag = tap + column;
      sum += scratch.sums[lag / kTile][kTile - 1 - lag % kTile][column];
    }
    out[tap] = sum;
  }
}

}  // namespace striped::cuda::fir
