// Operands of the LI kernels' products (see hyena_modal_tile.cuh), made of a filter's residues and log-poles.
#pragma once

#include "ptx.cuh"

namespace striped::cuda::modal {

constexpr int kRows = 256;  // tokens a tile
constexpr int kChunk = 16;  // tokens
constexpr int kModes = 16;

struct Lane {
  int index, g, q;
  __device__ Lane() : index(threadIdx.x % 32), g(index / 4), q(index % 4) {}
};

// Filter of a channel as read from memory; modes beyond `order` have zero residues.
struct FilterSource {
  const float *residues, *log_poles;
  int order;
  __device__ float residue(int n) const { return n < order ? residues[n] : 0.0f; }
  __device__ float log_pole(int n) const { return n < order ? log_poles[n] : -1.0f; }
  __device__ float power(int n, int t) const { return expf(log_pole(n) * static_cast<float>(t)); }
};

// All that operands are made of, in shared memory: a warp's work for one channel, then for the next.
struct FilterValues {
  static constexpr int kTimes = kChunk + 1;  // powers 0 … 16, then those at the centres of V's halves
  float power[kTimes + 2][kModes];
  float residue[kModes], tap[kChunk];

  __device__ void make(const FilterSource& f, const Lane& lane) {
    const int n = lane.index % kModes;
    const float pole = f.log_pole(n);
    __syncwarp();
    for (int i = lane.index / kModes; i < kTimes + 2; i += 32 / kModes) {
      power[i][n] = expf(pole * (i < kTimes ? static_cast<float>(i) : 11.5f - 8.0f * (i - kTimes)));
    }
    if (lane.index < kModes) residue[n] = f.residue(n);
    __syncwarp();
    if (lane.index < kChunk) {
      float sum = 0;
      for (int m = 0; m < kModes; ++m) sum += residue[m] * power[lane.index][m];
      tap[lane.index] = sum;
    }
    __syncwarp();
  }
  __device__ float at(int t) const { return t < 0 ? 0.0f : tap[t]; }
};

// A operands by lane: V[n, b] = λ_n^(15-b) less its value at the centre of b's half, and those centres; the
// latter in two bf16 terms for products with sums in two terms (k = 2q is a half's first term of the sum,
// 2q+1 its second).
struct InputOperand {
  std::uint32_t v[4], centre[2];

  __device__ void make(const FilterValues& f, const Lane& lane) {
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const int n = lane.g + r % 2 * 8, b = 2 * lane.q + r / 2 * 8;
      const float middle = f.power[FilterValues::kTimes + r / 2][n];
      v[r] = ptx::pack_bf16(f.power[15 - b][n] - middle, f.power[14 - b][n] - middle);
    }
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      const std::uint32_t terms = ptx::split_bf16(f.power[FilterValues::kTimes + lane.q % 2][lane.g + 8 * m]);
      centre[m] = __byte_perm(terms, terms, lane.q < 2 ? 0x1010 : 0x3232);
    }
  }
};

// U and T; the skip is added to the first tap.
struct OutputOperands {
  std::uint32_t u[4], diagonal, below;

  __device__ void make(const FilterValues& f, float skip, const Lane& lane) {
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const int a = lane.g + r % 2 * 8, n = 2 * lane.q + r / 2 * 8;
      u[r] = ptx::pack_bf16(f.residue[n] * f.power[a + 1][n], f.residue[n + 1] * f.power[a + 1][n + 1]);
    }
    const int lag = lane.g - 2 * lane.q;
    diagonal = pair_of_taps(f, skip, lag);
    below = pair_of_taps(f, skip, lag + 8);
  }
  // (h_t, h_(t-1))
  __device__ static std::uint32_t pair_of_taps(const FilterValues& f, float skip, int t) {
    return ptx::pack_bf16(f.at(t) + (t == 0 ? skip : 0.0f), f.at(t - 1) + (t == 1 ? skip : 0.0f));
  }
};

// Decay of modes g and g+8 of a channel over a chunk, and what the chunk-wise decay over a whole tile misses
// of exp(256 · log λ): the tile's own factor is taken from the log-pole, so that rounding does not build up
// with length.
struct Decay {
  float chunk[2], mend[2];
  __device__ void make(const FilterSource& f, const Lane& lane) {
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      const double pole = f.log_pole(lane.g + 8 * m);
      chunk[m] = static_cast<float>(exp(pole * kChunk));
      const float four = chunk[m] * chunk[m] * chunk[m] * chunk[m], eight = four * four;
      mend[m] = static_cast<float>(exp(pole * kRows) - static_cast<double>(four) * four * eight);
    }
  }
};

}  // namespace striped::cuda::modal
