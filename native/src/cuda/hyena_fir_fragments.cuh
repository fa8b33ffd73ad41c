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

struct Lane {
  int index, g, q;
  __device__ Lane() : index(threadIdx.x % 32), g(index / 4), q(index % 4) {}
  // Products whose diagonal alone is wanted: rows 0-7 or 8-15 by the same columns, in the lanes that have it.
  __device__ bool on_diagonal() const { return q == g / 2; }
  __device__ float diagonal(const float (&product)[4], int half) const {
    return g % 2 ? product[2 * half + 1] : product[2 * half];
  }
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
  std::uint32_t pairs, own;                                      // addresses; own: this lane's part of F_0

  __device__ TapPairs(std::uint32_t shared, const Lane& lane)
      : pairs(shared), own(shared + (kTile + lane.g - 2 * lane.q) * sizeof(std::uint32_t)) {}
  // By one warp; there for its other lanes after they have met.
  __device__ void load(const Filter& filter, const Lane& lane) const {
#pragma unroll
    for (int n = 0; n < kPairs; n += 32) {
      const int t = n + lane.index - kTile;
      if (n + lane.index < kPairs) {
        ptx::store_shared(pairs + (n + lane.index) * sizeof(std::uint32_t),
                          ptx::pack_bf16(filter.tap(t), filter.tap(t - 1)));
      }
    }
  }
  __device__ std::uint32_t fragment(int i) const {
    return ptx::load_shared_anew(own + 8 * i * static_cast<int>(sizeof(std::uint32_t)));
  }
};

// One T_j: what the products for output times 8-15 and 0-7 take.
struct Toeplitz {
  std::uint32_t late[2], early[2];
};

// sum[0], sum[1]: output times 0-7 and 8-15; adds tile · T_j, or starts with it. F_-1 and F_(2·Window+1) lie
// outside the filter: the products with T_0 and T_Window that would have them are of half the size.
template <int Window, bool starting = true>
__device__ inline void convolve(float (&sum)[2][4], const std::uint32_t (&tile)[4], const Toeplitz& t,
                                int j) {
  if (j == 0 && starting) {
    ptx::product_16x8x8(sum[0], tile[0], tile[1], t.early[0]);
    ptx::product_16x8x16(sum[1], tile, t.late[0], t.late[1]);
    return;
  }
  if (j == 0) {
    ptx::mma_16x8x8(sum[0], tile[0], tile[1], t.early[0]);
  } else {
    ptx::mma_16x8x16(sum[0], tile, t.early[0], t.early[1]);
  }
  if (j == Window) {
    ptx::mma_16x8x8(sum[1], tile[2], tile[3], t.late[1]);
  } else {
    ptx::mma_16x8x16(sum[1], tile, t.late[0], t.late[1]);
  }
}

// T_0 to T_Window, made from their pairs where they are used.
template <int Window>
struct TapsFromPairs {
  TapPairs<Window> pairs;

  __device__ explicit TapsFromPairs(const TapPairs<Window>& made) : pairs(made) {}
  __device__ Toeplitz at(int j) const {
    Toeplitz t;
    if (j < Window) t.late[0] = pairs.fragment(2 * j + 1);
    t.late[1] = pairs.fragment(2 * j);
    t.early[0] = pairs.fragment(2 * j);
    if (j > 0) t.early[1] = pairs.fragment(2 * j - 1);
    return t;
  }
};

// The same in registers. The instruction wants aligned register pairs, so each F is kept twice rather than
// moved into place for every product.
template <int Window>
struct TapsInRegisters {
  Toeplitz fragments[Window + 1];

  __device__ explicit TapsInRegisters(const TapPairs<Window>& pairs) {
    const TapsFromPairs<Window> made(pairs);
#pragma unroll
    for (int j = 0; j <= Window; ++j) fragments[j] = made.at(j);
  }
  __device__ const Toeplitz& at(int j) const { return fragments[j]; }
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

// Three taps, each a pair in bf16, on pairs: of now, one token off and two.
__device__ inline std::uint32_t featurize(const std::uint32_t (&tap)[3], std::uint32_t now,
                                          std::uint32_t one_off, std::uint32_t two_off) {
  return ptx::fma_bf16(tap[0], now, ptx::fma_bf16(tap[1], one_off, ptx::multiply_bf16(tap[2], two_off)));
}

// A Featurizer on pairs of tokens in bf16, each tap twice in a register: a third of the instructions and half
// the registers of fp32, which is what the backward kernel is short of.
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
    return featurize(tap[c], pair, ptx::between_bf16(before, pair), before);
  }
  // Against that order, from (t, t-1) and (t-2, t-3): features in reversed time, their transpose in forward
  // time.
  __device__ std::uint32_t apply_reversed(int c, std::uint32_t pair, std::uint32_t next) const {
    return featurize(tap[c], pair, ptx::between_bf16(pair, next), next);
  }
};

// The same for rows of tokens: pairs of channels 2q and 2q + 1, of the first eight and the others.
struct RowFeaturizer {
  std::uint32_t tap[2][3];

  __device__ void load(const float* weights, int first_channel, const Lane& lane) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float* pair = weights + (first_channel + 8 * half + 2 * lane.q) * 3;
#pragma unroll
      for (int t = 0; t < 3; ++t) tap[half][t] = ptx::pack_bf16(pair[t], pair[3 + t]);
    }
  }
  __device__ std::uint32_t apply(int half, std::uint32_t now, std::uint32_t one_before,
                                 std::uint32_t two_before) const {
    return featurize(tap[half], now, one_before, two_before);
  }
};

// Pairs' featurizers of q, k and v, and the skip, in shared memory: the kernel needs the registers.
struct WeightsInSharedMemory {
  static constexpr int kLanes = 32;  // bytes of the four lanes that have the same channels
  static constexpr int kOperand = kWarps * 8 * kLanes;
  static constexpr int kBytes = 3 * kOperand;  // a block
  std::uint32_t own;

  __device__ WeightsInSharedMemory(int warp, const Lane& lane, std::uint32_t shared)
      : own(shared + (warp * 8 + lane.g) * kLanes) {}
  // Once for the block's `warp`; there for others after a meeting. skip: [width], or null for none.
  __device__ void load(const float* weights, const float* skip, int width, int channel,
                       const Lane& lane) const {
    if (lane.q == 3) return;
    PairFeaturizer mine;  // a lane stores one operand's
    mine.load(weights, lane.q * width + channel);
    const std::uint32_t at = own + lane.q * kOperand;
#pragma unroll
    for (int i = 0; i < 6; ++i) ptx::store_shared(at + i * 4, mine.tap[i / 3][i % 3]);
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const float d = skip == nullptr ? 0.0f : skip[channel + 8 * c];
      ptx::store_shared(at + (6 + c) * 4, ptx::pack_bf16(d, d));
    }
  }
  // Of the two channels: an operand's featurizer, and with it the skip.
  struct Weights {
    PairFeaturizer featurizer;
    std::uint32_t skip[2];
  };
  __device__ Weights at(int operand) const {
    std::uint32_t first[4], last[4];
    ptx::load_shared_anew(first, own + operand * kOperand);
    ptx::load_shared_anew(last, own + operand * kOperand + 16);
    return {{{{first[0], first[1], first[2]}, {first[3], last[0], last[1]}}}, {last[2], last[3]}};
  }
};

// Where in a [rows, 64] buffer this lane's row is, in bytes, for a matrix load or store of the tile at its
// beginning: rows ascend with time, or descend (`reversed`) so that fragments see time backwards. As an A
// operand [channel × time], or with the inner registers exchanged as two B operands [time × channel], of
// channels 0-7 and 8-15. Rows of 128 bytes are swizzled, which repeats every 1024 bytes: the tile n later is
// n · kTileBytes further.
constexpr int kTileBytes = kTile * kRowBytes;
enum class Operand { a, b };
template <bool reversed = false, Operand operand = Operand::a>
__device__ inline std::uint32_t tile_offset(int warp, const Lane& lane) {
  const int outer = lane.index / 16, inner = lane.index / 8 % 2;
  const int late = operand == Operand::a ? outer : inner, high = operand == Operand::a ? inner : outer;
  const int within = late * 8 + lane.index % 8;
  return (reversed ? kTile - 1 - within : within) * kRowBytes + (warp * 2 + high) * 16;
}

}  // namespace striped::cuda::fir
