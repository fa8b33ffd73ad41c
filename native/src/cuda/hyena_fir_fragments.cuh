// How the tensor-core FIR kernels hold a sequence in registers.
//
// A warp owns 16 channels, which share one filter, and walks along time in tiles of 16 tokens. A tile lives in
// four registers a thread as the A operand [channel × time] of mma.m16n8k16: with g = lane/4 and q = lane%4,
//   register 0: channel g,   times 2q, 2q+1        register 1: channel g+8, times 2q, 2q+1
//   register 2: channel g,   times 2q+8, 2q+9      register 3: channel g+8, times 2q+8, 2q+9
// The products' C operand has the same ownership, so gates and featurizers are thread-local; only the last two
// tokens before a pair belong to another lane, and those are read from shared memory by the same matrix load
// two rows higher.
//
// The B operand is Toeplitz, so its fragments for all tiles of the window are entries of one short list (tap_fragments):
// output tile i is Σ_j tile(i-j) · T_j with T_j[k, n] = h[16j + n - k].
#pragma once

#include "ptx.cuh"

namespace striped::cuda::fir {

constexpr int kTile = 16;          // tokens a tile, channels a warp
constexpr int kWarps = 4;          // a block
constexpr int kChannels = 64;      // a block: one 128-byte row of bf16
constexpr int kRowBytes = 128;
constexpr int kHalo = 2;           // featurizer taps - 1

struct Lane {
  int index, g, q;
  __device__ Lane() : index(threadIdx.x % 32), g(index / 4), q(index % 4) {}
};

// fragments[i + 1] = (h[8i + g - 2q], h[8i + g - 2q - 1]), i = -1 … 2·Window + 1, zero outside the filter.
template <int Window>
struct TapFragments {
  std::uint32_t pair[2 * Window + 3];

  __device__ void load(const float* filter, const float* decay, int taps, const Lane& lane) {
    const auto tap = [&](int t) {
      if (t < 0 || t >= taps) return 0.0f;
      return decay == nullptr ? filter[t] : filter[t] * decay[t];
    };
#pragma unroll
    for (int i = -1; i <= 2 * Window + 1; ++i) {
      const int t = 8 * i + lane.g - 2 * lane.q;
      pair[i + 1] = ptx::pack_bf16(tap(t), tap(t - 1));
    }
  }

  // sum[0], sum[1]: output times 0-7 and 8-15; adds tile · T_j.
  __device__ void convolve(float (&sum)[2][4], const std::uint32_t (&tile)[4], int j) const {
    ptx::mma_16x8x16(sum[0], tile, pair[2 * j + 1], pair[2 * j]);
    ptx::mma_16x8x16(sum[1], tile, pair[2 * j + 2], pair[2 * j + 1]);
  }
};

// Three taps for the two channels of a thread.
struct Featurizer {
  float tap[2][3];

  // weights: [3·width, 3]; channel: of the three-fold width.
  __device__ void load(const float* weights, int channel) {
#pragma unroll
    for (int c = 0; c < 2; ++c) {
#pragma unroll
      for (int t = 0; t < 3; ++t) tap[c][t] = weights[(channel + 8 * c) * 3 + t];
    }
  }
  // Values at times (t, t+1), from the pairs at (t, t+1) and (t-2, t-1).
  __device__ float2 apply(int c, float2 pair, float2 before) const {
    return {tap[c][0] * pair.x + tap[c][1] * before.y + tap[c][2] * before.x,
            tap[c][0] * pair.y + tap[c][1] * pair.x + tap[c][2] * before.y};
  }
  // The same with time running backwards in the fragments: pairs hold times (t, t-1) and (t-2, t-3). Applied to
  // gradients in forward time, with (t, t+1) and (t+2, t+3), it is the transposed featurizer.
  __device__ float2 apply_reversed(int c, float2 pair, float2 next) const {
    return {tap[c][0] * pair.x + tap[c][1] * pair.y + tap[c][2] * next.x,
            tap[c][0] * pair.y + tap[c][1] * next.x + tap[c][2] * next.y};
  }
};

// Shared-memory address of this lane's row for a matrix load or store of the tile that begins at `row` of a
// swizzled [rows, 64] buffer: rows ascend with time, or descend (`reversed`) so that fragments see time backwards.
// The tile n later in the buffer is n · kTileBytes further: the swizzle repeats every 1024 bytes.
constexpr int kTileBytes = kTile * kRowBytes;
template <bool reversed = false>
__device__ inline std::uint32_t tile_address(std::uint32_t buffer, int row, int warp, const Lane& lane) {
  const int within = (lane.index / 16) * 8 + lane.index % 8;
  const int r = reversed ? row + kTile - 1 - within : row + within;
  const int chunk = warp * 2 + (lane.index / 8) % 2;
  return ptx::swizzle128(buffer + r * kRowBytes + chunk * 16);
}

}  // namespace striped::cuda::fir
