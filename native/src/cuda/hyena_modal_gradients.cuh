// Parts of the LI kernel's backward pass: one channel of a tile, and what becomes the gradients of
// featurizers, residues, log-poles and skips. The equations are at the top of hyena_modal_backward.cu.
#pragma once

#include "hyena_modal_arguments.cuh"

namespace striped::cuda::modal {

// Where a gradient goes: added to where nothing else will be, else a partial sum that a second kernel adds
// up.
struct Sink {
  float* data;  // null: nobody wants it
  std::int64_t part, inner, column;
  bool add;
  __device__ void put(std::int64_t at_part, std::int64_t at_inner, std::int64_t at_column,
                      float value) const {
    if (data == nullptr) return;
    float& to = data[at_part * part + at_inner * inner + at_column * column];
    to = add ? to + value : value;
  }
};
struct Sinks {
  Sink residues, log_poles;  // [parts, order, width], or the gradients themselves
  Sink featurizer;           // [parts, taps, 3·width]
  Sink skip;                 // [parts, 1, width]
};

// Operands of the products, a lane at a time; they do not fit the registers beside the sums.
struct OperandTable {
  static constexpr int kFirstTap = -6, kTapPairs = 24;
  uint4 v[kChannels][32], u[kChannels][32];
  float4 decay[kChannels][8];                // by lane / 4
  std::uint32_t taps[kChannels][kTapPairs];  // (h_t, h_(t-1)), t from kFirstTap
  std::uint16_t centre[kChannels][2][32];

  // A warp's work.
  __device__ void fill(int channel, const FilterSource& filter, float skip, FilterValues& values,
                       const Lane& lane) {
    values.make(filter, lane);
    InputOperand input;
    OutputOperands output;
    Decay decays;
    input.make(values, lane);
    output.make(values, skip, lane);
    decays.make(filter, lane);
    v[channel][lane.index] = {input.v[0], input.v[1], input.v[2], input.v[3]};
    u[channel][lane.index] = {output.u[0], output.u[1], output.u[2], output.u[3]};
    if (lane.q == 0)
      decay[channel][lane.g] = {decays.chunk[0], decays.chunk[1], decays.mend[0], decays.mend[1]};
    if (lane.index + kFirstTap < kChunk) {
      taps[channel][min(lane.index, kTapPairs - 1)] =
          OutputOperands::pair_of_taps(values, skip, lane.index + kFirstTap);
    }
    for (int m = 0; m < 2; ++m) centre[channel][m][lane.index] = static_cast<std::uint16_t>(input.centre[m]);
  }
  __device__ InputOperand input(int channel, const Lane& lane) const {
    const uint4 x = v[channel][lane.index];
    const std::uint32_t first = centre[channel][0][lane.index], second = centre[channel][1][lane.index];
    return {{x.x, x.y, x.z, x.w}, {first * 0x10001u, second * 0x10001u}};
  }
  __device__ OutputOperands output(int channel, const Lane& lane) const {
    const uint4 x = u[channel][lane.index];
    const std::uint32_t* pairs = &taps[channel][lane.g - 2 * lane.q - kFirstTap];
    return {{x.x, x.y, x.z, x.w}, pairs[0], pairs[8]};
  }
  // V[n, b] · (15 - b)
  __device__ void weighted(std::uint32_t (&w)[4], const InputOperand& in, int channel,
                           const Lane& lane) const {
    const std::uint32_t weight[2] = {ptx::pack_bf16(15 - 2 * lane.q, 14 - 2 * lane.q),
                                     ptx::pack_bf16(7 - 2 * lane.q, 6 - 2 * lane.q)};
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      const auto centres = *reinterpret_cast<const std::uint32_t*>(&centre[channel][m][4 * lane.g]);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const std::uint32_t middle = __byte_perm(centres, centres, half == 0 ? 0x1010 : 0x3232);
        w[2 * half + m] = ptx::multiply_bf16(ptx::add_bf16(in.v[2 * half + m], middle), weight[half]);
      }
    }
  }
};

constexpr int kTeamWarps = kWarps / 2;

// Shared memory: two stages of inputs, then u and g (then c and du) of the tile and their sums, then the
// operands. The run after one tensor's tile holds the tokens before the next one's as well.
constexpr int kQuery = 0, kKey = kHeadBytes, kValue = kKey + kHeadBytes, kGradient = kValue + kHeadBytes;
constexpr int kStageBytes = kGradient + kBothBytes;
constexpr int kTilesAt = 2 * kStageBytes;
constexpr int kSumsAt = kTilesAt + 2 * kTileBytes;
constexpr int kOperandsAt = kSumsAt + 2 * kSumsBytes;
constexpr int kBackwardBytes = kOperandsAt + static_cast<int>(sizeof(OperandTable));

// First two tokens of c or du of the tile processed before.
using Edge = std::uint32_t[kPairs][2];

// Sums over time for one channel of a warp.
struct FilterSums {
  float product[2][4] = {};  // [g reversed in its chunk, u]
  float residue[2] = {}, pole[2] = {};
};

struct FeaturizerSums {
  float2 tap[kTaps] = {};
};
// Products of a run of tokens, in bf16, before they join the sums.
struct RunSums {
  std::uint32_t tap[kTaps] = {};
  __device__ void add(std::uint32_t d, std::uint32_t z0, std::uint32_t z1, std::uint32_t z2) {
    tap[0] = ptx::fma_bf16(d, z0, tap[0]);
    tap[1] = ptx::fma_bf16(d, z1, tap[1]);
    tap[2] = ptx::fma_bf16(d, z2, tap[2]);
  }
  __device__ void join(FeaturizerSums& sums) const {
#pragma unroll
    for (int t = 0; t < kTaps; ++t) {
      const float2 sum = ptx::unpack_bf16(tap[t]);
      sums.tap[t].x += sum.x;
      sums.tap[t].y += sum.y;
    }
  }
};

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

// One channel of a tile: u becomes c, g becomes du; q_carry moves to the tile's start.
__device__ inline void filter_channel(std::uint32_t tiles, std::uint32_t tile_sums, int channel,
                                      const OperandTable& table, float (&s_carry)[2], float (&q_carry)[2],
                                      FilterSums& sums, bool counts, const Lane& lane) {
  const std::uint32_t u_address = matrix_address(tiles, channel, lane), g_address = u_address + kTileBytes;
  std::uint32_t u[4], g[4];
  ptx::load_matrix(u, u_address);
  ptx::load_matrix(g, g_address);
  const float4 decays = table.decay[channel][lane.g];
  const Decay decay{{decays.x, decays.y}, {decays.z, decays.w}};
  const InputOperand input = table.input(channel, lane);
  float s[2][4] = {}, q[2][4] = {};
  contributions(s, input, u, tile_sums, channel, lane);
  contributions(q, input, g, tile_sums + kSumsBytes, channel, lane);
  float vg[2][4];
#pragma unroll
  for (int i = 0; i < 8; ++i) vg[i / 4][i % 4] = q[i / 4][i % 4];
  scan<false>(s, decay, s_carry, lane);
  scan<true>(q, decay, q_carry, lane);

  if (counts) {
    std::uint32_t weighted[4], u_times[4], g_times[4];
    table.weighted(weighted, input, channel, lane);
    float du[2][4] = {}, dg[2][4] = {};
    multiply(du, weighted, u);
    multiply(dg, weighted, g);
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      const float chunk = kChunk * decay.chunk[m];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float before = element(s, m, i), after = element(q, m, i);
        sums.residue[m] += before * element(vg, m, i);
        sums.pole[m] += after * element(du, m, i);
        sums.pole[m] += before * (element(dg, m, i) + chunk * after);
      }
    }
    ptx::load_matrix_transposed(u_times, u_address);
    ptx::load_matrix_transposed(g_times, g_address);
    ptx::mma_16x8x16(sums.product[0], g_times, u_times[0], u_times[2]);
    ptx::mma_16x8x16(sums.product[1], g_times, u_times[1], u_times[3]);
  }
  const OutputOperands output = table.output(channel, lane);
  store_output(u_address, output, u, s);
  store_output(g_address, output, g, q);
}

// The two tokens after a thread's run, of both channels: from the next run, or from the later tile's edge.
template <bool reversed>
__device__ inline void load_next(std::uint32_t tile, const Run& run, const Edge& edge,
                                 std::uint32_t (&next)[2]) {
  if (run.run == kRows / kRun - 1) {
    next[0] = edge[run.pair][0];
    next[1] = edge[run.pair][1];
    return;
  }
  Run after = run;
  after.run += 1;
  std::uint32_t pair[2];
#pragma unroll
  for (int c = 0; c < 2; ++c) {
    const std::uint32_t address = run_address(tile, after, c, reversed) + (reversed ? 12 : 0);
    pair[c] = ptx::load_shared(address);
  }
  next[reversed ? 1 : 0] = __byte_perm(pair[0], pair[1], 0x5410);
  next[reversed ? 0 : 1] = __byte_perm(pair[0], pair[1], 0x7632);
}

__device__ inline void keep_edge(Edge& edge, const Run& run, const std::uint32_t (&x)[kRun]) {
  if (run.run != 0) return;
  edge[run.pair][0] = x[0];
  edge[run.pair][1] = x[1];
}

#endif

// Gradient of one projection as it leaves a thread: the transposed featurizer over tokens 8·run … 8·run + 7.
struct GradientWriter {
  std::uint32_t* tile;   // of the tile's first token
  std::uint32_t offset;  // of the thread's first token, in pairs
  std::uint32_t stride;  // of tokens, in pairs
  int tokens;            // left in the sequence
  std::uint32_t d0 = 0, d1 = 0;

  // d: token i; writes token i - 2 once it is known.
  __device__ void push(const PackedFeaturizer& featurizer, int i, std::uint32_t d) {
    if (i >= 2 && i - 2 < tokens) tile[offset + (i - 2) * stride] = featurizer.apply(d0, d1, d);
    d0 = d1;
    d1 = d;
  }
};

__device__ inline void store_featurizer(const FeaturizerSums (&sums)[3], const Sink& out,
                                        std::int64_t at_part, int first_channel, int width, float* scratch,
                                        const Run& run) {
  const int warp = threadIdx.x / 32;
#pragma unroll
  for (int i = 0; i < 9; ++i) {
    float2 sum = sums[i / kTaps].tap[i % kTaps];
#pragma unroll
    for (int distance = kTeamPairs; distance < 32; distance *= 2) {
      sum.x += __shfl_xor_sync(0xffffffffu, sum.x, distance);
      sum.y += __shfl_xor_sync(0xffffffffu, sum.y, distance);
    }
    if (threadIdx.x % 32 < kTeamPairs) {
      scratch[(warp % kTeamWarps * 9 + i) * kChannels + 2 * run.pair] = sum.x;
      scratch[(warp % kTeamWarps * 9 + i) * kChannels + 2 * run.pair + 1] = sum.y;
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < 9 * kChannels; i += kThreads) {
    float sum = 0;
    for (int w = 0; w < kTeamWarps; ++w) sum += scratch[w * 9 * kChannels + i];
    const int part = i / kChannels / kTaps, tap = i / kChannels % kTaps;
    out.put(at_part, tap, static_cast<std::int64_t>(part) * width + first_channel + i % kChannels, sum);
  }
}

// Lag sums of a chunk's products, then the gradients of residues, log-poles and skip of a channel. A warp's
// work; scratch: 256 + 64 floats of its own.
__device__ inline void store_filter(const FilterSums& sums, const Arguments& a, const Sinks& out,
                                    std::int64_t part, int channel, float* scratch, const Lane& lane) {
  float *lags = scratch + kChunk * kChunk, *residue = lags + kChunk, *pole = residue + kModes;
#pragma unroll
  for (int j = 0; j < 2; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      scratch[(lane.g + 8 * (e / 2)) * kChunk + 8 * j + 2 * lane.q + e % 2] = sums.product[j][e];
    }
  }
#pragma unroll
  for (int m = 0; m < 2; ++m) {
    float r = sums.residue[m], p = sums.pole[m];
    r += __shfl_xor_sync(0xffffffffu, r, 1), p += __shfl_xor_sync(0xffffffffu, p, 1);
    r += __shfl_xor_sync(0xffffffffu, r, 2), p += __shfl_xor_sync(0xffffffffu, p, 2);
    if (lane.q == 0) residue[lane.g + 8 * m] = r, pole[lane.g + 8 * m] = p;
  }
  __syncwarp();
  if (lane.index < kChunk) {
    float sum = 0;
    for (int b = 0; b < kChunk - lane.index; ++b) sum += scratch[(15 - lane.index - b) * kChunk + b];
    lags[lane.index] = sum;
  }
  __syncwarp();
  if (lane.index == 0) out.skip.put(part, 0, channel, lags[0]);
  if (lane.index >= a.order) return;
  const FilterSource filter = a.filter(channel);
  const float decay = filter.power(lane.index, 1);
  float d_residue = decay * residue[lane.index];
  float d_pole = decay * (pole[lane.index] + residue[lane.index]);
  for (int j = 0; j < kChunk; ++j) {
    const float term = lags[j] * filter.power(lane.index, j);
    d_residue += term;
    d_pole += static_cast<float>(j) * term;
  }
  out.residues.put(part, lane.index, channel, d_residue);
  out.log_poles.put(part, lane.index, channel, d_pole * filter.residue(lane.index));
}

}  // namespace striped::cuda::modal
