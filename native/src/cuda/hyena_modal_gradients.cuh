// Parts of the LI kernel's backward pass: one channel of a tile, and what becomes the gradients of
// featurizers, residues, log-poles and skips. The equations are at the top of hyena_modal_backward.cu.
#pragma once

#include "hyena_modal_arguments.cuh"

namespace striped::cuda::modal {

struct Partials {
  float *residues, *log_poles;  // [parts, order, width]
  float* featurizer;            // [parts, 3, 3·width]
  float* skip;                  // [parts, width]
};

// Operands of the products, a lane at a time; they do not fit the registers beside the sums.
struct OperandTable {
  uint4 v[kChannels][32], u[kChannels][32];
  uint2 toeplitz[kChannels][32];
  float4 decay[kChannels][8];  // by lane / 4
};

constexpr int kTeamWarps = kWarps / 2;

// Shared memory: two stages of inputs, then u and g (then c and du) of the tile, then the operands.
constexpr int kQuery = 0, kKey = kHeadBytes, kValue = kKey + kBothBytes,
              kGradient = kValue + kBothBytes - kRunBytes;
constexpr int kStageBytes = 2 * kHeadBytes + 2 * kBothBytes;
constexpr int kTilesAt = 2 * kStageBytes;
constexpr int kOperandsAt = kTilesAt + 2 * kTileBytes;
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
__device__ inline void filter_channel(std::uint32_t tiles, int channel, const OperandTable& table,
                                      float (&s_carry)[2], float (&q_carry)[2], FilterSums& sums, bool counts,
                                      const Lane& lane) {
  const std::uint32_t u_address = matrix_address(tiles, channel, lane), g_address = u_address + kTileBytes;
  std::uint32_t u[4], g[4];
  ptx::load_matrix(u, u_address);
  ptx::load_matrix(g, g_address);
  const float4 decays = table.decay[channel][lane.g];
  const Decay decay{{decays.x, decays.y}, {decays.z, decays.w}};
  const uint4 v4 = table.v[channel][lane.index], u4 = table.u[channel][lane.index];
  const std::uint32_t input[4] = {v4.x, v4.y, v4.z, v4.w};
  float s[2][4] = {}, q[2][4] = {};
  multiply(s, input, u);
  multiply(q, input, g);
  float vg[2][4];
#pragma unroll
  for (int i = 0; i < 8; ++i) vg[i / 4][i % 4] = q[i / 4][i % 4];
  scan<false>(s, decay, s_carry, lane);
  scan<true>(q, decay, q_carry, lane);

  if (counts) {
    const std::uint32_t weight[2] = {ptx::pack_bf16(15 - 2 * lane.q, 14 - 2 * lane.q),
                                     ptx::pack_bf16(7 - 2 * lane.q, 6 - 2 * lane.q)};
    std::uint32_t u_weighted[4], g_weighted[4], u_times[4], g_times[4];
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      u_weighted[r] = ptx::multiply_bf16(u[r], weight[r % 2]);
      g_weighted[r] = ptx::multiply_bf16(g[r], weight[r % 2]);
    }
    float du[2][4] = {}, dg[2][4] = {};
    multiply(du, input, u_weighted);
    multiply(dg, input, g_weighted);
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
  const uint2 toeplitz = table.toeplitz[channel][lane.index];
  const OutputOperands output{{u4.x, u4.y, u4.z, u4.w}, toeplitz.x, toeplitz.y};
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
    asm volatile("ld.shared.b32 %0, [%1];" : "=r"(pair[c]) : "r"(address) : "memory");
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

__device__ inline void store_featurizer(const FeaturizerSums (&sums)[3], float* out, int first_channel,
                                        int width, float* scratch, const Run& run) {
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
    out[(static_cast<std::int64_t>(tap) * 3 + part) * width + first_channel + i % kChannels] = sum;
  }
}

// Lag sums of a chunk's products, then the gradients of residues, log-poles and skip of a channel. A warp's
// work; scratch: 256 + 64 floats of its own.
__device__ inline void store_filter(const FilterSums& sums, const Arguments& a, const Partials& out,
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
  if (lane.index == 0 && out.skip != nullptr) out.skip[part * a.width + channel] = lags[0];
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
  const std::int64_t at = (part * a.order + lane.index) * a.width + channel;
  out.residues[at] = d_residue;
  out.log_poles[at] = d_pole * filter.residue(lane.index);
}

}  // namespace striped::cuda::modal
