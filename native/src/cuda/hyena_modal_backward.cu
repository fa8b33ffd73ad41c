#include <utility>

#include "cuda_check.h"
#include "hyena_general.h"
#include "hyena_modal_arguments.cuh"

// With u = k' ⊙ v', g = dy ⊙ q', c = h ∗ u + d ⊙ u, du = h ⋆ g + d ⊙ g:
//   dq' = dy ⊙ c, dk' = du ⊙ v', dv' = du ⊙ k'.
// A strip is walked backwards in time. S, the states before each chunk, come from those saved at tile starts;
// Q, those of g after each chunk, are carried. Gradients of the filter need the correlations C_j = Σ_t
// g_t·u_{t-j}:
//   dR_n = Σ_j C_j λ^j,   d log λ_n = R_n Σ_j j·C_j λ^j;
// inside a chunk they are the anti-diagonals of the product G·Uᵀ over chunks, and across chunks, with V·u,
// V·g and the same with weights 15-b (V'), per chunk i:
//   dR += λ·S_i·(Vg)_i,   d log λ += R·λ·[Q_i·(V'u + 16Λ·S)_i + S_i·(V'g + Vg)_i],   Λ = λ^16.
namespace striped::cuda::modal {
namespace {

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

__device__ void store_featurizer(const FeaturizerSums (&sums)[3], float* out, int first_channel, int width,
                                 float* scratch, const Run& run) {
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
__device__ void store_filter(const FilterSums& sums, const Arguments& a, const Partials& out,
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

struct BackwardArguments {
  Arguments common;
  States forward, reversed;
  Partials partials;
  __nv_bfloat16* dz;
};

// State saved at a tile's boundary, with what entered its strip.
__device__ inline void boundary_state(float (&state)[2], const Arguments& a, const States& states,
                                      bool reversed, int batch, int tile, int channel, const Lane& lane) {
  const int strip = tile / a.layout.strip_tiles;
  const int last = min((strip + 1) * a.layout.strip_tiles, a.layout.tiles) - 1;
  const int distance = reversed ? last - tile : tile - strip * a.layout.strip_tiles;
  const FilterSource filter = a.filter(channel);
#pragma unroll
  for (int m = 0; m < 2; ++m) {
    const int mode = lane.g + 8 * m;
    state[m] = states.tiles[a.state(static_cast<std::int64_t>(batch) * a.layout.tiles + tile, channel, mode)];
    if (a.layout.strips > 1) {
      const float entry =
          states.ends[a.state(static_cast<std::int64_t>(batch) * a.layout.strips + strip, channel, mode)];
      state[m] += filter.power(mode, distance * kRows) * entry;
    }
  }
}

__global__ __launch_bounds__(kThreads, 1) void backward_kernel(const BackwardArguments b) {
#if __CUDA_ARCH__ >= 900
  const Arguments& a = b.common;
  extern __shared__ __align__(128) std::uint8_t raw[];
  __shared__ FeaturizerTable weights;
  __shared__ Edge edges[2][2];  // [parity][c, du]
  auto& table = *reinterpret_cast<OperandTable*>(raw + kOperandsAt);
  const std::uint32_t shared = ptx::shared_address(raw), tiles = shared + kTilesAt;
  const Lane lane;
  const Run run;
  const int warp = threadIdx.x / 32, first_channel = blockIdx.x * kChannels, strip = blockIdx.y,
            batch = blockIdx.z;
  const int begin = strip * a.layout.strip_tiles, end = min(begin + a.layout.strip_tiles, a.layout.tiles);
  const bool warm = end < a.layout.tiles;  // the tile after the strip, for the featurizers' reach only
  const int last = end - 1 + (warm ? 1 : 0);

  const Source q = a.projection(0, batch, first_channel), k = a.projection(1, batch, first_channel),
               v = a.projection(2, batch, first_channel), dy = a.output_gradient(batch, first_channel);
  const auto start_fetch = [&](int tile) {
    if (tile >= begin) {
      const std::uint32_t buffer = shared + tile % 2 * kStageBytes;
      fetch<true, false, true>(q, buffer + kQuery, tile * kRows, a.length);
      fetch<true, true, true>(k, buffer + kKey, tile * kRows, a.length);
      fetch<true, true, true>(v, buffer + kValue, tile * kRows, a.length);
      fetch<false, true, true>(dy, buffer + kGradient, tile * kRows, a.length);
    }
    copy_async_commit();
  };
  start_fetch(last);
  weights.load(a.featurizer, first_channel, a.width);
  if (threadIdx.x < 4 * kChannels) reinterpret_cast<std::uint32_t*>(edges)[threadIdx.x] = 0;

  FilterSums filter_sums[2];
  FeaturizerSums featurizer_sums[3];
  float q_carry[2][2] = {};
#pragma unroll
  for (int c = 0; c < 2; ++c) {
    const int local = 2 * warp + c, channel = first_channel + local;
    const FilterSource filter = a.filter(channel);
    InputOperand input;
    OutputOperands output;
    input.make(filter, lane);
    output.make(filter, a.skip == nullptr ? 0.0f : a.skip[channel], lane);
    Decay decay;
    decay.make(filter, lane);
    table.decay[local][lane.g] = {decay.chunk[0], decay.chunk[1], decay.mend[0], decay.mend[1]};
    table.v[local][lane.index] = {input.v[0], input.v[1], input.v[2], input.v[3]};
    table.u[local][lane.index] = {output.u[0], output.u[1], output.u[2], output.u[3]};
    table.toeplitz[local][lane.index] = {output.diagonal, output.below};
    if (warm) boundary_state(q_carry[c], a, b.reversed, true, batch, last, channel, lane);
  }

  __syncthreads();
  // The second team starts when the first has featurized a tile, so that the one's products overlap the
  // other's element-wise work.
  if (team() == 1) asm volatile("bar.sync 3, %0;" ::"n"(kThreads) : "memory");
  for (int tile = last; tile >= begin; --tile) {
    const bool counts = tile < end;
    const std::uint32_t buffer = shared + tile % 2 * kStageBytes;
    copy_async_wait<0>();
    team_barrier();
    start_fetch(tile - 1);
    float s_carry[2][2];
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      boundary_state(s_carry[c], a, b.forward, false, batch, tile, first_channel + 2 * warp + c, lane);
    }
    {
      float2 x[kRun], by[kRun];
      Featurizer(weights, 1, run.pair).run(run, buffer + kKey, x);
      Featurizer(weights, 2, run.pair).run(run, buffer + kValue, by);
#pragma unroll
      for (int t = 0; t < kRun; ++t) x[t] = {x[t].x * by[t].x, x[t].y * by[t].y};
      store_run<false>(tiles, run, x);
      Featurizer(weights, 0, run.pair).run(run, buffer + kQuery, x);
#pragma unroll
      for (int t = 0; t < kRun; ++t) {
        const float2 dy_t = run.at(buffer + kGradient, t);
        x[t] = {x[t].x * dy_t.x, x[t].y * dy_t.y};
      }
      store_run<true>(tiles + kTileBytes, run, x);
    }
    team_barrier();
    if (team() == 0 && tile == last) asm volatile("bar.arrive 3, %0;" ::"n"(kThreads) : "memory");
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      filter_channel(tiles, 2 * warp + c, table, s_carry[c], q_carry[c], filter_sums[c], counts, lane);
    }
    team_barrier();

    const int tokens = a.length - tile * kRows - run.run * kRun;
    const auto writer = [&](int part) {
      const std::int64_t row = static_cast<std::int64_t>(batch) * a.length + tile * kRows;
      const std::uint32_t stride = 3 * (a.width / 2);
      return GradientWriter{
          reinterpret_cast<std::uint32_t*>(b.dz + (row * 3 + part) * a.width + first_channel),
          run.run * kRun * stride + run.pair, stride, tokens};
    };
    std::uint32_t x[kRun], next[2];
    load_run<false>(tiles, run, x);
    load_next<false>(tiles, run, edges[tile % 2 ^ 1][0], next);
    keep_edge(edges[tile % 2][0], run, x);
    if (counts) {
      const PackedFeaturizer featurizer(weights, 0, run.pair);
      GradientWriter out = writer(0);
      RunSums sums;
      std::uint32_t z2 = run.raw(buffer + kQuery, -2), z1 = run.raw(buffer + kQuery, -1);
#pragma unroll
      for (int i = 0; i < kRun + 2; ++i) {
        const std::uint32_t d =
            ptx::multiply_bf16(run.raw(buffer + kGradient, i), i < kRun ? x[i % kRun] : next[i % 2]);
        out.push(featurizer, i, d);
        if (i < kRun) {
          const std::uint32_t z0 = run.raw(buffer + kQuery, i);
          sums.add(d, z0, z1, z2);
          z2 = z1;
          z1 = z0;
        }
      }
      sums.join(featurizer_sums[0]);
    }
    load_run<true>(tiles + kTileBytes, run, x);
    load_next<true>(tiles + kTileBytes, run, edges[tile % 2 ^ 1][1], next);
    keep_edge(edges[tile % 2][1], run, x);
    if (counts) {
      const PackedFeaturizer fk(weights, 1, run.pair), fv(weights, 2, run.pair);
      GradientWriter k_out = writer(1), v_out = writer(2);
      RunSums k_sums, v_sums;
      std::uint32_t k2 = run.raw(buffer + kKey, -2), k1 = run.raw(buffer + kKey, -1);
      std::uint32_t v2 = run.raw(buffer + kValue, -2), v1 = run.raw(buffer + kValue, -1);
#pragma unroll
      for (int i = 0; i < kRun + 2; ++i) {
        const std::uint32_t k0 = run.raw(buffer + kKey, i), v0 = run.raw(buffer + kValue, i);
        const std::uint32_t du = i < kRun ? x[i % kRun] : next[i % 2];
        const std::uint32_t dk = ptx::multiply_bf16(du, fv.apply(v0, v1, v2));
        const std::uint32_t dv = ptx::multiply_bf16(du, fk.apply(k0, k1, k2));
        k_out.push(fk, i, dk);
        v_out.push(fv, i, dv);
        if (i < kRun) {
          k_sums.add(dk, k0, k1, k2);
          v_sums.add(dv, v0, v1, v2);
        }
        k2 = k1, k1 = k0, v2 = v1, v1 = v0;
      }
      k_sums.join(featurizer_sums[1]);
      v_sums.join(featurizer_sums[2]);
    }
  }

  __syncthreads();
  const std::int64_t part = static_cast<std::int64_t>(batch) * a.layout.strips + strip;
  float* scratch = reinterpret_cast<float*>(raw);
  store_featurizer(featurizer_sums, b.partials.featurizer + part * 9 * a.width, first_channel, a.width,
                   scratch, run);
  __syncthreads();
#pragma unroll
  for (int c = 0; c < 2; ++c) {
    store_filter(filter_sums[c], a, b.partials, part, first_channel + 2 * warp + c, scratch + warp * 320,
                 lane);
    __syncwarp();
  }
#endif
}

}  // namespace

std::size_t tensor_workspace(const HyenaShape& shape) {
  const Layout l = layout(shape);
  const std::int64_t state = shape.width * kModes, parts = shape.batch * l.strips;
  const std::int64_t directions = l.strips > 1 ? 2 : 1;
  return sizeof(float) * static_cast<std::size_t>(directions * shape.batch * (l.tiles + l.strips) * state +
                                                  parts * shape.width * (2 * shape.order + 10));
}

void tensor_backward(const HyenaShape& shape, const HyenaWeights& weights, const void* z, const void* dy,
                     void* dz, const HyenaGradients& gradients, void* workspace, cudaStream_t stream) {
  BackwardArguments b{};
  b.common = arguments_of(shape, weights, z, dy);
  b.dz = static_cast<__nv_bfloat16*>(dz);
  const Layout& l = b.common.layout;
  const std::int64_t state = shape.width * kModes, parts = shape.batch * l.strips,
                     modes = shape.width * shape.order;
  float* next = static_cast<float*>(workspace);
  const auto take = [&](std::int64_t count) { return std::exchange(next, next + count); };
  b.forward = {take(shape.batch * l.tiles * state), take(shape.batch * l.strips * state)};
  if (l.strips > 1) b.reversed = {take(shape.batch * l.tiles * state), take(shape.batch * l.strips * state)};
  b.partials = {take(parts * modes), take(parts * modes), take(parts * 9 * shape.width), nullptr};
  if (shape.has_skip) b.partials.skip = take(parts * shape.width);

  launch_states(shape, weights, z, nullptr, false, b.forward, stream);
  if (l.strips > 1) launch_states(shape, weights, z, dy, true, b.reversed, stream);
  static const cudaError_t raised =
      cudaFuncSetAttribute(backward_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBackwardBytes);
  check(raised);
  backward_kernel<<<grid_of(shape, l), kThreads, kBackwardBytes, stream>>>(b);
  check(cudaGetLastError());

  general::reduce(b.partials.residues, parts, shape.order, shape.width, shape.groups, nullptr,
                  gradients.residues, stream);
  general::reduce(b.partials.log_poles, parts, shape.order, shape.width, shape.groups, nullptr,
                  gradients.log_poles, stream);
  general::reduce(b.partials.featurizer, parts, kTaps, 3 * shape.width, 3 * shape.width, nullptr,
                  gradients.featurizer, stream);
  if (shape.has_skip) {
    general::reduce(b.partials.skip, parts, 1, shape.width, shape.width, nullptr, gradients.skip, stream);
  }
}

}  // namespace striped::cuda::modal
