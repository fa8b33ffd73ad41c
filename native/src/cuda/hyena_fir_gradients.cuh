// Parts of the FIR kernels' backward pass: the shared-memory plan of a stage, and what becomes the gradients
// of featurizers and filters.
#pragma once

#include <type_traits>

#include "hyena_fir_fragments.cuh"

namespace striped::cuda::fir {

constexpr int kStageTiles = 2;
constexpr int kStageRows = kStageTiles * kTile;
constexpr int kHaloedBytes = (kStageRows + kHalo) * kRowBytes;
constexpr int kPlainBytes = kStageRows * kRowBytes;

template <int Window>
struct Layout {
  static constexpr int delay = (Window + kStageTiles - 1) / kStageTiles;  // stages
  static constexpr int held = delay + 1;  // stages whose u (shared memory) and g (registers) are alive
  static constexpr int query_slots = delay + 2;
  static constexpr int key_slots = 2;
  using Taps =
      std::conditional_t<Window <= kWindowInRegisters, TapsInRegisters<Window>, TapsInSharedMemory<Window>>;
  static constexpr int staging = 0;  // two of dq, dk, dv
  static constexpr int gate = staging + 2 * 3 * kPlainBytes;
  static constexpr int dy = gate + held * kPlainBytes;
  static constexpr int query = dy + query_slots * kPlainBytes;
  static constexpr int key = query + query_slots * kHaloedBytes;  // k then v
  static constexpr int taps = key + key_slots * 2 * kHaloedBytes;
  static constexpr int barriers = taps + kWarps * Taps::kBytes;
  static constexpr int bytes = barriers + 2 * 8;
};

// Gradient of the three featurizer taps of two channels.
struct FeaturizerGradient {
  float tap[2][3] = {};

  // Fragments in forward time: (t, t+1) and (t-2, t-1).
  __device__ void add(int c, std::uint32_t d, std::uint32_t pair, std::uint32_t before) {
    const float2 z = ptx::unpack_bf16(pair), z2 = ptx::unpack_bf16(before);
    accumulate(c, ptx::unpack_bf16(d), z, {z2.y, z.x}, z2);
  }
  // Fragments in reversed time: (t, t-1) and (t-2, t-3).
  __device__ void add_reversed(int c, std::uint32_t d, std::uint32_t pair, std::uint32_t next) {
    const float2 z = ptx::unpack_bf16(pair), z2 = ptx::unpack_bf16(next);
    accumulate(c, ptx::unpack_bf16(d), z, {z.y, z2.x}, z2);
  }
  __device__ void accumulate(int c, float2 d, float2 now, float2 one_back, float2 two_back) {
    tap[c][0] = fmaf(d.y, now.y, fmaf(d.x, now.x, tap[c][0]));
    tap[c][1] = fmaf(d.y, one_back.y, fmaf(d.x, one_back.x, tap[c][1]));
    tap[c][2] = fmaf(d.y, two_back.y, fmaf(d.x, two_back.x, tap[c][2]));
  }
  __device__ void reset() {
#pragma unroll
    for (int c = 0; c < 2; ++c) {
#pragma unroll
      for (int t = 0; t < 3; ++t) tap[c][t] = 0;
    }
  }
  // Sums over the four lanes that share the channels; lane q = 0 writes out[channel, 3].
  __device__ void store(float* out, int channel, const Lane& lane) {
#pragma unroll
    for (int c = 0; c < 2; ++c) {
#pragma unroll
      for (int t = 0; t < 3; ++t) {
        float sum = tap[c][t];
        sum += __shfl_xor_sync(0xffffffffu, sum, 1);
        sum += __shfl_xor_sync(0xffffffffu, sum, 2);
        if (lane.q == 0) out[(channel + 8 * c) * 3 + t] = sum;
      }
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

    // g: fragments of tile i in reversed time; later: the lower block of tile i + 1, becomes that of tile i.
    __device__ void make(const std::uint32_t (&g)[4], std::uint32_t (&later)[2]) {
      const std::uint32_t upper[2] = {ptx::transpose_matrix(g[0]), ptx::transpose_matrix(g[1])};
      const std::uint32_t lower[2] = {ptx::transpose_matrix(g[2]), ptx::transpose_matrix(g[3])};
#pragma unroll
      for (int half = 0; half < 2; ++half) {  // of the channels
        natural[2 * half] = upper[half];
        natural[2 * half + 1] = lower[half];
        straddling[2 * half] = later[half];
        straddling[2 * half + 1] = upper[half];
        later[half] = lower[half];
      }
    }
    __device__ void accumulate(float (&product)[4], const std::uint32_t (&u)[4]) const {
      ptx::mma_16x8x16(product, natural, u[0], u[1]);
      ptx::mma_16x8x16(product, straddling, u[2], u[3]);
    }
  };

  // This lane's row of u for the matrix load that feeds accumulate(): lower block, then upper block, of the
  // first eight channels and the others in turn.
  __device__ static std::uint32_t rows_address(std::uint32_t buffer, int warp, const Lane& lane) {
    const int matrix = lane.index / 8, row = matrix / 2 * 8 + lane.index % 8;
    return ptx::swizzle128(buffer + row * kRowBytes + (warp * 2 + matrix % 2) * 16);
  }
};

// Sums D_j into the taps' gradients, through this warp's 512-byte tile and lag buffer in shared memory.
template <int Window>
__device__ void store_filter_gradient(const float (&product)[Window + 1][4], float* scratch, float* out,
                                      int taps, const Lane& lane) {
  constexpr int columns = kTile / 2;
  float* tile = scratch;                    // [16, 8]
  float* lags = scratch + kTile * columns;  // lag + 8
  for (int i = lane.index; i < kTile * (Window + 2); i += 32) lags[i] = 0;
#pragma unroll
  for (int j = 0; j <= Window; ++j) {
    __syncwarp();
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      tile[(lane.g + 8 * (e / 2)) * columns + 2 * lane.q + e % 2] = product[j][e];
    }
    __syncwarp();
    const int diagonal = lane.index - (columns - 1);  // 15 - t' - s
    if (diagonal < kTile) {
      float sum = 0;
      for (int s = max(0, -diagonal); s <= min(columns - 1, 15 - diagonal); ++s)
        sum += tile[(15 - diagonal - s) * columns + s];
      lags[kTile * j + diagonal + columns] += sum;
    }
  }
  __syncwarp();
  for (int t = lane.index; t < taps; t += 32) out[t] = lags[t + columns];
}

}  // namespace striped::cuda::fir
