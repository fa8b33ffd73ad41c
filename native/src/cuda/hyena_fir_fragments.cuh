// How the tensor-core FIR kernels hold a sequence in registers.
//
// A warp owns 16 channels, which share one filter, and walks along time in tiles of 16 tokens. A tile lives
// in four registers a thread as the A operand [channel × time] of mma.m16n8k16: with g = lane/4 and q =
// lane%4,
//   register 0: channel g,   times 2q, 2q+1        register 1: channel g+8, times 2q, 2q+1
//   register 2: channel g,   times 2q+8, 2q+9      register 3: channel g+8, times 2q+8, 2q+9
// The products' C operand has the same ownership, so gates and featurizers are thread-local; only the last
// two tokens before a pair belong to another lane, and those are read from shared memory by the same matrix
// load two rows higher.
//
// The B operand is Toeplitz: output tile i is Σ_j tile(i-j) · T_j with T_j[k, n] = h[16j + n - k].
#pragma once

#include "ptx.cuh"

namespace striped::cuda::fir {

constexpr int kTile = 16;      // tokens a tile, channels a warp
constexpr int kWarps = 4;      // a block
constexpr int kChannels = 64;  // a block: one 128-byte row of bf16
constexpr int kRowBytes = 128;
constexpr int kHalo = 2;  // featurizer taps - 1
// Tiles that a filter reaches back for its fragments to stay in the registers of the backward pass.
constexpr int kWindowInRegisters = 8;

struct Lane {
  int index, g, q;
  __device__ Lane() : index(threadIdx.x % 32), g(index / 4), q(index % 4) {}
};

// Fragments of a filter. With F_i = (h[8i + g - 2q], h[8i + g - 2q - 1]), zero outside the filter, T_j is
// (F_2j, F_2j-1) for output times 0-7 and (F_2j+1, F_2j) for 8-15.
struct Filter {
  const float *h, *decay;  // decay: null, or what h is multiplied by
  int taps;

  __device__ std::uint32_t fragment(int i, const Lane& lane) const {
    const auto tap = [&](int t) {
      if (t < 0 || t >= taps) return 0.0f;
      return decay == nullptr ? h[t] : h[t] * decay[t];
    };
    const int t = 8 * i + lane.g - 2 * lane.q;
    return ptx::opaque(ptx::pack_bf16(tap(t), tap(t - 1)));
  }
};

// One T_j: what the products for output times 8-15 and 0-7 take.
struct Toeplitz {
  std::uint32_t late[2], early[2];

  // sum[0], sum[1]: output times 0-7 and 8-15; adds tile · T.
  __device__ void convolve(float (&sum)[2][4], const std::uint32_t (&tile)[4]) const {
    ptx::mma_16x8x16(sum[0], tile, early[0], early[1]);
    ptx::mma_16x8x16(sum[1], tile, late[0], late[1]);
  }
};

// T_0 to T_Window in registers. The instruction wants aligned register pairs, so each F is kept twice rather
// than moved into place for every product.
template <int Window>
struct TapsInRegisters {
  static constexpr int kBytes = 0;
  Toeplitz fragments[Window + 1];

  __device__ void load(const Filter& filter, const Lane& lane, std::uint32_t /*shared*/ = 0) {
#pragma unroll
    for (int j = 0; j <= Window; ++j) {
      fragments[j] = {{filter.fragment(2 * j + 1, lane), filter.fragment(2 * j, lane)},
                      {filter.fragment(2 * j, lane), filter.fragment(2 * j - 1, lane)}};
    }
  }
  __device__ const Toeplitz& at(int j) const { return fragments[j]; }
};

// The same in shared memory, for filters that would take more registers than there are.
template <int Window>
struct TapsInSharedMemory {
  static constexpr int kStride = 32 * sizeof(Toeplitz);
  static constexpr int kBytes = (Window + 1) * kStride;  // a warp
  std::uint32_t own;                                     // address of this lane's T_0

  __device__ void load(const Filter& filter, const Lane& lane, std::uint32_t shared) {
    own = shared + lane.index * sizeof(Toeplitz);
    for (int j = 0; j <= Window; ++j) {
      const std::uint32_t both = filter.fragment(2 * j, lane);
      const std::uint32_t operands[4] = {filter.fragment(2 * j + 1, lane), both, both,
                                         filter.fragment(2 * j - 1, lane)};
      ptx::store_shared(own + j * kStride, operands);
    }
  }
  __device__ Toeplitz at(int j) const {
    std::uint32_t operands[4];
    ptx::load_shared(operands, own + j * kStride);
    return {{operands[0], operands[1]}, {operands[2], operands[3]}};
  }
};

// Three taps for the two channels of a thread, in fp32.
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
  // Features at times (t, t+1), from the pairs at (t, t+1) and (t-2, t-1).
  __device__ float2 apply(int c, std::uint32_t pair, std::uint32_t before) const {
    const float2 z = ptx::unpack_bf16(pair), z2 = ptx::unpack_bf16(before);
    return {tap[c][0] * z.x + tap[c][1] * z2.y + tap[c][2] * z2.x,
            tap[c][0] * z.y + tap[c][1] * z.x + tap[c][2] * z2.y};
  }
};

// The same on pairs of tokens in bf16, each tap twice in a register: a third of the instructions and half the
// registers of fp32, which is what the backward kernel is short of.
struct PairFeaturizer {
  std::uint32_t tap[2][3];

  __device__ void load(const float* weights, int channel) {
#pragma unroll
    for (int c = 0; c < 2; ++c) {
#pragma unroll
      for (int t = 0; t < 3; ++t) {
        const float weight = weights[(channel + 8 * c) * 3 + t];
        tap[c][t] = ptx::pack_bf16(weight, weight);
      }
    }
  }
  // From pairs that continue in memory order of the fragments, (t, t+1) after (t-2, t-1): features in forward
  // time, and their transpose, from gradients, in reversed time.
  __device__ std::uint32_t apply(int c, std::uint32_t pair, std::uint32_t before) const {
    return combine(c, pair, ptx::between_bf16(before, pair), before);
  }
  // Against that order, from (t, t-1) and (t-2, t-3): features in reversed time, their transpose in forward
  // time.
  __device__ std::uint32_t apply_reversed(int c, std::uint32_t pair, std::uint32_t next) const {
    return combine(c, pair, ptx::between_bf16(pair, next), next);
  }

 private:
  __device__ std::uint32_t combine(int c, std::uint32_t now, std::uint32_t one_off,
                                   std::uint32_t two_off) const {
    return ptx::fma_bf16(tap[c][0], now,
                         ptx::fma_bf16(tap[c][1], one_off, ptx::multiply_bf16(tap[c][2], two_off)));
  }
};

// Shared-memory address of this lane's row for a matrix load or store of the tile that begins at `row` of a
// swizzled [rows, 64] buffer: rows ascend with time, or descend (`reversed`) so that fragments see time
// backwards. The tile n later in the buffer is n · kTileBytes further: the swizzle repeats every 1024 bytes.
constexpr int kTileBytes = kTile * kRowBytes;
template <bool reversed = false>
__device__ inline std::uint32_t tile_address(std::uint32_t buffer, int row, int warp, const Lane& lane) {
  const int within = (lane.index / 16) * 8 + lane.index % 8;
  const int r = reversed ? row + kTile - 1 - within : row + within;
  const int chunk = warp * 2 + (lane.index / 8) % 2;
  return ptx::swizzle128(buffer + r * kRowBytes + chunk * 16);
}

}  // namespace striped::cuda::fir
