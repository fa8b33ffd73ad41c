// The gradients of filters, from rows of u and g, and of featurizers and projections, from rows of c and du.
#pragma once

#include "hyena_channel_tile.cuh"

namespace striped::cuda::channel {

// Tokens of a tile that a backward pass writes: the featurizers need the gradients of two tokens behind.
constexpr int kOwnTokens = kTile - kChunk;

// Σ_t g_t·u_(t-k) for the lags k of a filter, over a tile's own tokens t; for the upper half of the lags over
// those as much later, which comes to the same in all tiles together. Rows of a product are 8 tokens of g for
// the lower half and 8 for the upper, columns 8 tokens of u, and it sums over 16 segments; so a product has
// the lags of a diagonal, and each lag eight terms in one register or another of the warp.
template <int window>
class Correlation {
  static constexpr int kAtOnce = window < 8 ? window : 8;  // diagonals, 8 lags apart; one more is begun
  static constexpr int kSlot = 12;  // floats of a lag in shared memory, of which 8 are used
  static constexpr int kLags = 32;  // of a round: one a lane

 public:
  static constexpr int kScratchBytes = kLags * kSlot * 4;    // of a warp
  static constexpr int kStride = Layout<window>::kTaps + 1;  // floats of a channel's sums, in different banks

  // `zeros`: address of 16 bytes of them. Adds to sums[lag].
  __device__ static void add(const Lane& lane, std::uint32_t u, std::uint32_t g, std::uint32_t zeros,
                             std::uint32_t scratch, float* sums) {
#pragma unroll
    for (int first = 0; first < window; first += kAtOnce) {
      float d[kAtOnce + 1][4];
      products(lane, u, g, zeros, first, d);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int lag = 0; lag < 8 * kAtOnce; lag += kLags) {
          const float sum = diagonals(lane, d, half, lag / 8, scratch);
          sums[half * window * 8 + first * 8 + lag + lane.lane] += sum;
        }
      }
    }
  }

 private:
  // Of 8 tokens x of each segment.
  __device__ static constexpr int offset(int x) { return offset_of(8 * x); }

  __device__ static void products(const Lane& lane, std::uint32_t u, std::uint32_t g, std::uint32_t zeros,
                                  int first, float (&d)[kAtOnce + 1][4]) {
    const int matrix = lane.lane / 8, row = lane.lane % 8;
    const int half = matrix % 2, g_segment = row + matrix / 2 * 8, u_segment = row + matrix % 2 * 8;
    const std::uint32_t g_from = g + g_segment * kSegmentBytes;
    const std::uint32_t u_from = u + u_segment * kSegmentBytes + matrix / 2 * 16;
    // Tokens of u that meet the first ones of g, 8 at a time, and those that meet the last.
    const int begin = 2 * window - first - kAtOnce, end = 2 * window - first + kSegment / 8;
    constexpr int count = kAtOnce + kSegment / 8;
    std::uint32_t x[count][2];
    int loaded = 0;
#pragma unroll
    for (int m = 0; m < kSegment / 8; ++m) {
#pragma unroll
      for (; loaded < m + kAtOnce + 1 && begin + loaded < end; loaded += 2) {
        std::uint32_t two[4];
        ptx::load_matrix_transposed(two, u_from + offset(begin + loaded));
        x[loaded][0] = two[0], x[loaded][1] = two[1], x[loaded + 1][0] = two[2], x[loaded + 1][1] = two[3];
      }
      const bool is_own = m < kSegment / 8 - 2 || g_segment != kTile / kSegment - 1;
      std::uint32_t rows[4];
      ptx::load_matrix_transposed(rows,
                                  is_own ? g_from + (half == 0 ? offset(m) : offset(m + window)) : zeros);
#pragma unroll
      for (int i = 0; i <= kAtOnce; ++i) {
        const auto& of = x[m + kAtOnce - i];
        m == 0 ? ptx::product_16x8x16(d[i], rows, of[0], of[1]) : ptx::mma_16x8x16(d[i], rows, of[0], of[1]);
      }
    }
  }

  // The sum of this lane's lag of a round, which starts at diagonal `from`.
  __device__ static float diagonals(const Lane& lane, const float (&d)[kAtOnce + 1][4], int half, int from,
                                    std::uint32_t scratch) {
#pragma unroll
    for (int i = 0; i <= kLags / 8; ++i) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int diagonal = lane.g - 2 * lane.t - e;
        if (i == 0 ? diagonal >= 0 : i < kLags / 8 || diagonal < 0) {
          const int at = (8 * i + diagonal) * kSlot + lane.g;
          ptx::store_shared(scratch + at * 4, __float_as_uint(d[from + i][2 * half + e]));
        }
      }
    }
    __syncwarp();
    float sum = 0;
#pragma unroll
    for (int four = 0; four < 2; ++four) {
      std::uint32_t terms[4];
      ptx::load_shared(terms, scratch + (lane.lane * kSlot + 4 * four) * 4);
#pragma unroll
      for (int i = 0; i < 4; ++i) sum += __uint_as_float(terms[i]);
    }
    __syncwarp();
    return sum;
  }
};

// The featurizers' backward pass: dz of a lane's tokens, and the sums over all of them.
class FeaturizerSums {
  static constexpr int kSpan = kRun + kPast;  // tokens whose d a run needs

 public:
  // A tile's own tokens, from `first` on.
  template <int window>
  __device__ void pass(const Tile<window, 2>& tile, const Arguments& a, const Lane& lane, int channel,
                       int first, bf16* dz) {
    const Rows known(a, first);
    const Inputs of_query = {projection(a, a.tensors.z, 0, channel, first),
                             output(a, a.tensors.dy, channel, first)};
    const Inputs of_gate = {projection(a, a.tensors.z, 1, channel, first),
                            projection(a, a.tensors.z, 2, channel, first)};
    for_runs(lane, min(kOwnTokens, known.end + kRun - 1) / kRun, [&](int run) {
      const int token = kRun * run;
      std::uint32_t query[2][kPast + kSpan], gate[2][kPast + kSpan];
      load(known, token - kPast, of_query, query);
      load(known, token - kPast, of_gate, gate);
      Pair d[kSpan], factor[kSpan];
      tile.template take<kPast>(0, run, d);
#pragma unroll
      for (int i = 0; i < kSpan; ++i) d[i] = d[i] * unpacked<bf16>(query[1][kPast + i]);
      finish(0, tile.featurizer(0), d, query[0], known, token, projection(a, dz, 0, channel, first));
#pragma unroll
      for (int part = 1; part < 3; ++part) {  // dk has the factor v, dv has k
        featurize(tile.featurizer(3 - part), gate[2 - part], factor);
        tile.template take<kPast>(1, run, d);
#pragma unroll
        for (int i = 0; i < kSpan; ++i) d[i] = d[i] * factor[i];
        finish(part, tile.featurizer(part), d, gate[part - 1], known, token,
               projection(a, dz, part, channel, first));
      }
    });
  }

  // Of a part's tap, of the lane's channels.
  __device__ const Pair& sum(int part, int tap) const { return gradients_[part].sums[tap]; }

 private:
  __device__ void finish(int part, Featurizer<2> featurizer, const Pair (&d)[kSpan],
                         const std::uint32_t (&z)[kPast + kSpan], const Rows& known, int token,
                         const Column<bf16>& dz) {
    FeaturizerGradient<2>& gradient = gradients_[part];
    std::uint32_t out[kRun];
#pragma unroll
    for (int i = 0; i < kPast; ++i) {
      featurizer.pass(unpacked<bf16>(z[i]));
      gradient.past[i] = {};
    }
#pragma unroll
    for (int i = 0; i < kSpan; ++i) {
      const Pair value = unpacked<bf16>(z[kPast + i]);
      const Pair back = gradient.pass(featurizer, d[i], value, featurizer.past, i < kRun);
      featurizer.pass(value);
      if (i >= kPast) out[i - kPast] = packed<bf16>(back);
    }
    dz.store(known, token, out);
  }

  FeaturizerGradient<2> gradients_[3];
};

}  // namespace striped::cuda::channel
