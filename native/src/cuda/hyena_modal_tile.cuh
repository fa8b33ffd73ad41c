// How the tensor-core LI kernels work on a tile of 256 tokens × 32 channels.
//
// The filter h_t = Σ_n R_n·λ_n^t differs from channel to channel, so a product has one channel and 16 chunks
// of 16 tokens: with X[time, chunk], the inputs of a chunk leave E = V·X in the modes (V[n, b] = λ_n^(15-b)),
// a scan over chunks makes the states S before each chunk, and the output is T·X + U·S (T Toeplitz of h, U[a,
// n] = R_n·λ_n^(a+1)). States stay in fp32; only the operands of products are bf16. The anti-causal
// convolution of the backward pass is the same with time reversed inside each chunk and the scan running from
// the last chunk.
//
// For V·X to be right where modes are long, V is kept less its mean over each half of a chunk (InputOperand),
// and the mean is applied to sums over half chunks that were taken before the inputs were rounded: rounding
// then costs a state what it costs a short mode, not the square root of all it remembers.
//
// A warp does two channels, element-wise work has a thread on two channels and a run of 8 tokens; between the
// two the tile goes through shared memory as 16-byte units [channel][half of a chunk][column], conflict-free
// both ways.
#pragma once

#include "hyena_modal_operands.cuh"

namespace striped::cuda::modal {

constexpr int kChannels = 32;  // a block
constexpr int kPairs = kChannels / 2;
constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;
constexpr int kRun = 8;   // tokens of a thread
constexpr int kTaps = 3;  // of the featurizer
constexpr int kTileBytes = kChannels * kRows * 2;
constexpr int kSumsBytes = kChannels * (kRows / kRun) * 4;

// Projections in shared memory: runs of 8 rows of 64 bytes, 32 bytes apart so that the four runs of a warp
// differ in banks. Run 0 holds the two tokens before the tile, run 33 the two after it.
constexpr int kRunBytes = kRun * 64 + 32;
constexpr int kHeadBytes = 33 * kRunBytes;
constexpr int kBothBytes = 34 * kRunBytes;

// A bf16 column block of a dense array: token t at data + t·stride.
struct Source {
  const __nv_bfloat16* data;
  std::int64_t stride;
};

// Element-wise work and the copies of the backward pass are split between two teams of 8 warps, 16 channels
// each, that need not wait for one another.
constexpr int kTeamThreads = kThreads / 2;
constexpr int kTeamPairs = kPairs / 2;
__device__ inline int team() { return threadIdx.x / kTeamThreads; }
__device__ inline void team_barrier() { ptx::barrier_sync(1 + team(), kTeamThreads); }

// Starts copying the 256 tokens from `first` (and two before, two after) to `buffer`; tokens outside the
// sequence become zero, or the two before it `history`. `by_team`: each team its own channels.
template <bool head, bool tail, bool by_team = false>
__device__ inline void fetch(const Source& source, std::uint32_t buffer, int first, int length,
                             const __nv_bfloat16* history = nullptr) {
  const int part = by_team ? threadIdx.x % 2 + 2 * team() : threadIdx.x % 4;
  const int row = by_team ? threadIdx.x % kTeamThreads / 2 : threadIdx.x / 4;
  const std::uint32_t to = buffer + part * 16 + (row / kRun + 1) * kRunBytes + row % kRun * 64;
  const std::uint32_t before = buffer + part * 16 + (row + 6) * 64;
  const std::uint32_t after = buffer + part * 16 + 33 * kRunBytes + (row - 2) * 64;
  if (first >= 2 && first + kRows + 2 <= length) {
    const __nv_bfloat16* from = source.data + (first + row) * source.stride + part * 8;
    ptx::copy_async(to, from, true);
    ptx::copy_async(to + 128 / kRun * kRunBytes, from + 128 * source.stride, true);
    if (head && row < 2) ptx::copy_async(before, from - 2 * source.stride, true);
    if (tail && row >= 2 && row < 4) ptx::copy_async(after, from + (kRows - 2) * source.stride, true);
    return;
  }
  const auto copy = [&](int token, std::uint32_t shared) {
    const bool valid = token >= 0 && token < length;
    ptx::copy_async(shared, source.data + (valid ? token : 0) * source.stride + part * 8, valid);
  };
  copy(first + row, to);
  copy(first + row + 128, to + 128 / kRun * kRunBytes);
  if (head && row < 2) {
    if (first == 0 && history != nullptr) {
      ptx::copy_async(before, history + row * source.stride + part * 8, true);
    } else {
      copy(first + row - 2, before);
    }
  }
  if (tail && row >= 2 && row < 4) copy(first + kRows + row - 2, after);
}

// The element-wise view of a thread: channels 2·pair and 2·pair + 1, tokens 8·run … 8·run + 7.
struct Run {
  int pair, run;
  __device__ Run()
      : pair(threadIdx.x % kTeamPairs + kTeamPairs * team()), run(threadIdx.x % kTeamThreads / kTeamPairs) {}

  // Both channels of token 8·run + i, -2 <= i < 10.
  __device__ std::uint32_t raw(std::uint32_t buffer, int i) const {
    const std::uint32_t base = buffer + run * kRunBytes + pair * 4;
    const std::uint32_t offset = i < 0      ? (kRun + i) * 64
                                 : i < kRun ? kRunBytes + i * 64
                                            : 2 * kRunBytes + (i - kRun) * 64;
    return ptx::load_shared(base + offset);
  }
  __device__ float2 at(std::uint32_t buffer, int i) const { return ptx::unpack_bf16(raw(buffer, i)); }
};

// The chunk's column in a tile: a quad's lane q meets chunks 4q … 4q+3 in the products' results.
__device__ inline int column_of(int chunk) { return (chunk / 2 % 2) * 8 + chunk / 4 * 2 + chunk % 2; }

// 16-byte unit of eight tokens: half 0 or 1 of a chunk.
__device__ inline std::uint32_t unit_address(std::uint32_t tile, int channel, int half, int column) {
  return tile + channel * (kRows * 2) + (half * 16 + (column ^ (channel / 2 & 7))) * 16;
}
__device__ inline std::uint32_t run_address(std::uint32_t tile, const Run& run, int odd, bool reversed) {
  const int half = (run.run % 2) ^ (reversed ? 1 : 0);
  return unit_address(tile, run.pair * 2 + odd, half, column_of(run.run / 2));
}
// This lane's row for matrix loads and stores of a channel: (half 0, columns 0-7), (half 1, columns 0-7),
// then 8-15.
__device__ inline std::uint32_t matrix_address(std::uint32_t tile, int channel, const Lane& lane) {
  const int matrix = lane.index / 8;
  return unit_address(tile, channel, matrix % 2, matrix / 2 * 8 + lane.index % 8);
}

// Sums over half chunks, a word each: two bf16 terms. Which word: as for units, conflict-free both ways.
__device__ inline std::uint32_t sum_address(std::uint32_t sums, int channel, int half, int column) {
  return sums + channel * (kRows / kRun * 4) + ((half * 16 + column) ^ (channel / 2 & 7) * 2) * 4;
}
template <bool reversed>
__device__ inline void store_sums(std::uint32_t sums, const Run& run, const float2 (&x)[kRun]) {
  float2 sum = x[0];
#pragma unroll
  for (int i = 1; i < kRun; ++i) sum = {sum.x + x[i].x, sum.y + x[i].y};
  const int half = (run.run % 2) ^ (reversed ? 1 : 0), column = column_of(run.run / 2);
  ptx::store_shared(sum_address(sums, run.pair * 2, half, column), ptx::split_bf16(sum.x));
  ptx::store_shared(sum_address(sums, run.pair * 2 + 1, half, column), ptx::split_bf16(sum.y));
}

// Eight tokens of two channels to the tile; `reversed`: the chunk's last token first.
template <bool reversed>
__device__ inline void store_run(std::uint32_t tile, const Run& run, const float2 (&x)[kRun]) {
  std::uint32_t even[4], odd[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 a = x[reversed ? 7 - 2 * i : 2 * i], b = x[reversed ? 6 - 2 * i : 2 * i + 1];
    even[i] = ptx::pack_bf16(a.x, b.x);
    odd[i] = ptx::pack_bf16(a.y, b.y);
  }
  ptx::store_shared(run_address(tile, run, 0, reversed), even);
  ptx::store_shared(run_address(tile, run, 1, reversed), odd);
}
template <bool reversed>
__device__ inline void load_run(std::uint32_t tile, const Run& run, float2 (&x)[kRun]) {
  std::uint32_t even[4], odd[4];
  ptx::load_shared(even, run_address(tile, run, 0, reversed));
  ptx::load_shared(odd, run_address(tile, run, 1, reversed));
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 a = ptx::unpack_bf16(even[i]), b = ptx::unpack_bf16(odd[i]);
    x[reversed ? 7 - 2 * i : 2 * i] = {a.x, b.x};
    x[reversed ? 6 - 2 * i : 2 * i + 1] = {a.y, b.y};
  }
}

// The same for values that are bf16 already, both channels in a register.
template <bool reversed>
__device__ inline void store_run(std::uint32_t tile, const Run& run, const std::uint32_t (&x)[kRun]) {
  std::uint32_t even[4], odd[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t a = x[reversed ? 7 - 2 * i : 2 * i], b = x[reversed ? 6 - 2 * i : 2 * i + 1];
    even[i] = __byte_perm(a, b, 0x5410);
    odd[i] = __byte_perm(a, b, 0x7632);
  }
  ptx::store_shared(run_address(tile, run, 0, reversed), even);
  ptx::store_shared(run_address(tile, run, 1, reversed), odd);
}
template <bool reversed>
__device__ inline void load_run(std::uint32_t tile, const Run& run, std::uint32_t (&x)[kRun]) {
  std::uint32_t even[4], odd[4];
  ptx::load_shared(even, run_address(tile, run, 0, reversed));
  ptx::load_shared(odd, run_address(tile, run, 1, reversed));
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    x[reversed ? 7 - 2 * i : 2 * i] = __byte_perm(even[i], odd[i], 0x5410);
    x[reversed ? 6 - 2 * i : 2 * i + 1] = __byte_perm(even[i], odd[i], 0x7632);
  }
}

// Featurizer weights of the block's channels in shared memory: [q, k, v][tap][pair].
struct FeaturizerTable {
  float2 tap[3][kTaps][kPairs];

  __device__ void load(const float* weights, int first_channel, int width) {
    for (int i = threadIdx.x; i < 3 * kTaps * kChannels; i += kThreads) {
      const int channel = i % kChannels, t = i / kChannels % kTaps, part = i / kChannels / kTaps;
      const float w =
          weights[(part * static_cast<std::int64_t>(width) + first_channel + channel) * kTaps + t];
      reinterpret_cast<float*>(&tap[part][t][channel / 2])[channel % 2] = w;
    }
  }
};
// The three taps of a thread's two channels.
struct Featurizer {
  float2 tap[kTaps];
  __device__ Featurizer(const FeaturizerTable& table, int part, int pair) {
#pragma unroll
    for (int t = 0; t < kTaps; ++t) tap[t] = table.tap[part][t][pair];
  }
  __device__ float2 apply(float2 z0, float2 z1, float2 z2) const {
    return {tap[0].x * z0.x + tap[1].x * z1.x + tap[2].x * z2.x,
            tap[0].y * z0.y + tap[1].y * z1.y + tap[2].y * z2.y};
  }
  __device__ void run(const Run& run, std::uint32_t buffer, float2 (&out)[kRun]) const {
    float2 z2 = run.at(buffer, -2), z1 = run.at(buffer, -1);
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      const float2 z0 = run.at(buffer, i);
      out[i] = apply(z0, z1, z2);
      z2 = z1;
      z1 = z0;
    }
  }
};

// The same in bf16 arithmetic, half the instructions: for the gradients, whose own rounding is no smaller.
struct PackedFeaturizer {
  std::uint32_t tap[kTaps];
  __device__ PackedFeaturizer(const FeaturizerTable& table, int part, int pair) {
#pragma unroll
    for (int t = 0; t < kTaps; ++t) tap[t] = ptx::pack_bf16(table.tap[part][t][pair]);
  }
  __device__ std::uint32_t apply(std::uint32_t z0, std::uint32_t z1, std::uint32_t z2) const {
    return ptx::fma_bf16(tap[0], z0, ptx::fma_bf16(tap[1], z1, ptx::multiply_bf16(tap[2], z2)));
  }
};

// Products with one channel's tile: columns 0-7 and 8-15.
__device__ inline void multiply(float (&d)[2][4], const std::uint32_t (&a)[4], const std::uint32_t (&x)[4]) {
  ptx::mma_16x8x16(d[0], a, x[0], x[1]);
  ptx::mma_16x8x16(d[1], a, x[2], x[3]);
}

// What each chunk of a channel's tile `x` leaves in the modes.
__device__ inline void contributions(float (&e)[2][4], const InputOperand& input, const std::uint32_t (&x)[4],
                                     std::uint32_t sums, int channel, const Lane& lane) {
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    const std::uint32_t sum = ptx::load_shared(sum_address(sums, channel, lane.q % 2, lane.g + 8 * j));
    ptx::mma_16x8x8(e[j], input.centre[0], input.centre[1], sum);
  }
  multiply(e, input.v, x);
}

// Result element of mode g + 8m, chunk 4q + i.
__device__ inline float& element(float (&d)[2][4], int m, int i) { return d[i / 2][2 * m + i % 2]; }

// From the chunks' contributions `e` to the states before each chunk (after each chunk when `reversed`), in
// place. `carry` is the state at the tile's start (end), the same in all lanes of a quad, and becomes that at
// its other side.
template <bool reversed>
__device__ inline void scan(float (&e)[2][4], const Decay& decay, float (&carry)[2], const Lane& lane) {
  constexpr unsigned all = 0xffffffffu;
  const int position = reversed ? 3 - lane.q : lane.q;
  const int quad = lane.index & ~3;
#pragma unroll
  for (int m = 0; m < 2; ++m) {
    const float one = decay.chunk[m], two = one * one, four = two * two;
    const auto x = [&](int i) -> float& { return element(e, m, reversed ? 3 - i : i); };
    const float start = carry[m];
    float sum = position == 0 ? four * start : 0.0f;
    sum += ((x(0) * one + x(1)) * one + x(2)) * one + x(3);
    const auto neighbour = [&](float value, int distance) {
      return __shfl_sync(all, value, quad | ((lane.q + (reversed ? distance : -distance)) & 3));
    };
    float before = neighbour(sum, 1);
    if (position >= 1) sum += four * before;
    before = neighbour(sum, 2);
    if (position >= 2) sum += four * four * before;
    before = neighbour(sum, 1);
    float state = position == 0 ? start : before;
    carry[m] = __shfl_sync(all, sum, quad | (reversed ? 0 : 3)) + decay.mend[m] * start;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float next = one * state + x(i);
      x(i) = state;
      state = next;
    }
  }
}

// States as the B operand.
__device__ inline void as_operand(std::uint32_t (&b)[4], const float (&s)[2][4]) {
#pragma unroll
  for (int j = 0; j < 2; ++j) {
#pragma unroll
    for (int m = 0; m < 2; ++m)
      b[2 * j + m] = ptx::transpose_matrix(ptx::pack_bf16(s[j][2 * m], s[j][2 * m + 1]));
  }
}

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

// T·X + U·S over the channel's tile at `address` (of this lane, see matrix_address).
__device__ inline void store_output(std::uint32_t address, const OutputOperands& operands,
                                    const std::uint32_t (&x)[4], const float (&states)[2][4]) {
  std::uint32_t s[4], y[4];
  as_operand(s, states);
  float d[2][4] = {};
  const std::uint32_t toeplitz[4] = {operands.diagonal, operands.below, 0, operands.diagonal};
  multiply(d, toeplitz, x);
  multiply(d, operands.u, s);
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    y[2 * j] = ptx::pack_bf16(d[j][0], d[j][1]);
    y[2 * j + 1] = ptx::pack_bf16(d[j][2], d[j][3]);
  }
  __syncwarp();  // all lanes have read what is overwritten
  ptx::store_matrix_transposed(address, y);
}

#endif

}  // namespace striped::cuda::modal
