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

  __device__ float tap(int t) const {
    if (t < 0 || t >= taps) return 0.0f;
    return decay == nullptr ? h[t] : h[t] * decay[t];
  }
};

// The pairs that fragments of a filter are made of, in shared memory: all of them come from global memory at
// once.
template <int Window>
struct TapPairs {
  static constexpr int kPairs = kTile * (Window + 2);            // (h[t], h[t - 1]) from t = -16 on
  static constexpr int kBytes = kPairs * sizeof(std::uint32_t);  // a warp
  std::uint32_t own;                                             // address of this lane's part of F_0

  __device__ TapPairs(const Filter& filter, const Lane& lane, std::uint32_t shared)
      : own(shared + (kTile + lane.g - 2 * lane.q) * sizeof(std::uint32_t)) {
#pragma unroll
    for (int n = 0; n < kPairs; n += 32) {
      const int t = n + lane.index - kTile;
      if (n + lane.index < kPairs) {
        ptx::store_shared(shared + (n + lane.index) * sizeof(std::uint32_t),
                          ptx::pack_bf16(filter.tap(t), filter.tap(t - 1)));
      }
    }
    __syncwarp();
  }
  __device__ std::uint32_t fragment(int i) const {
    return ptx::load_shared_anew(own + 8 * i * static_cast<int>(sizeof(std::uint32_t)));
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

  __device__ void load(const TapPairs<Window>& pairs, const Lane& /*lane*/ = {},
                       std::uint32_t /*shared*/ = 0) {
#pragma unroll
    for (int j = 0; j <= Window; ++j) {
      fragments[j] = {{pairs.fragment(2 * j + 1), pairs.fragment(2 * j)},
                      {pairs.fragment(2 * j), pairs.fragment(2 * j - 1)}};
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

  __device__ void load(const TapPairs<Window>& pairs, const Lane& lane, std::uint32_t shared) {
    own = shared + lane.index * sizeof(Toeplitz);
    for (int j = 0; j <= Window; ++j) {
      const std::uint32_t both = pairs.fragment(2 * j);
      const std::uint32_t operands[4] = {pairs.fragment(2 * j + 1), both, both, pairs.fragment(2 * j - 1)};
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

// Those of q, k and v, in registers.
struct FeaturizersInRegisters {
  static constexpr int kBytes = 0;
  PairFeaturizer operands[3];

  __device__ FeaturizersInRegisters(const float* weights, int width, int channel, int /*warp*/, const Lane&,
                                    std::uint32_t /*shared*/) {
#pragma unroll
    for (int i = 0; i < 3; ++i) operands[i].load(weights, i * width + channel);
  }
  __device__ const PairFeaturizer& at(int operand) const { return operands[operand]; }
};

// The same in shared memory, for kernels that need the registers.
struct FeaturizersInSharedMemory {
  static constexpr int kLanes = 24;  // bytes of the four lanes that have the same channels
  static constexpr int kOperand = kWarps * 8 * kLanes;
  static constexpr int kBytes = 3 * kOperand;  // a block
  std::uint32_t own;

  __device__ FeaturizersInSharedMemory(const float* weights, int width, int channel, int warp,
                                       const Lane& lane, std::uint32_t shared)
      : own(shared + (warp * 8 + lane.g) * kLanes) {
    if (lane.q == 3) return;
    PairFeaturizer mine;  // a lane stores one operand's
    mine.load(weights, lane.q * width + channel);
#pragma unroll
    for (int i = 0; i < 6; ++i) ptx::store_shared(own + lane.q * kOperand + i * 4, mine.tap[i / 3][i % 3]);
  }
  __device__ PairFeaturizer at(int operand) const {
    PairFeaturizer out;
#pragma unroll
    for (int i = 0; i < 6; i += 2) {
      std::uint32_t pair[2];
      ptx::load_shared_anew(pair, own + operand * kOperand + i * 4);
      out.tap[i / 3][i % 3] = pair[0];
      out.tap[(i + 1) / 3][(i + 1) % 3] = pair[1];
    }
    return out;
  }
};

// Shared-memory address of this lane's row for a matrix load or store of the tile that begins at `row` of a
// swizzled [rows, 64] buffer: rows ascend with time, or descend (`reversed`) so that fragments see time
// backwards. As an A operand [channel × time], or with the inner registers exchanged as two B operands
// [time × channel], of channels 0-7 and 8-15. The tile n later in the buffer is n · kTileBytes further: the
// swizzle repeats every 1024 bytes.
constexpr int kTileBytes = kTile * kRowBytes;
enum class Operand { a, b };
template <bool reversed = false, Operand operand = Operand::a>
__device__ inline std::uint32_t tile_address(std::uint32_t buffer, int row, int warp, const Lane& lane) {
  const int outer = lane.index / 16, inner = lane.index / 8 % 2;
  const int late = operand == Operand::a ? outer : inner, high = operand == Operand::a ? inner : outer;
  const int within = late * 8 + lane.index % 8;
  const int r = reversed ? row + kTile - 1 - within : row + within;
  return ptx::swizzle128(buffer + r * kRowBytes + (warp * 2 + high) * 16);
}

}  // namespace striped::cuda::fir
