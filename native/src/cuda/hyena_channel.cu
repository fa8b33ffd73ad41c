#include "hyena_channel.h"

#include "device.h"
#include "hyena_channel_gradient.cuh"
#include "hyena_general.h"
#include "launch.h"
#include "strips.h"

// A block has 32 channels and goes along a strip of time by tiles. First u = k' ⊙ v', and backward g = q' ⊙
// dy, of a tile and of as much before it (behind it for g) as a filter reaches become rows of shared memory,
// a channel each. Each row is then one warp's, which convolves it in place by the Toeplitz matrix of its
// filter. With c = h ∗ u + d ⊙ u and du = h ⋆ g + d ⊙ g in their places, the block last goes through the
// tile's tokens in memory once more, for y or dz.
namespace striped::cuda {
namespace {

using namespace channel;

// Blocks of a multiprocessor: what they leave of its memory is a cache for rows that are read twice.
template <int window>
constexpr int kForwardBlocks = window > 4 ? 2 : 3;
constexpr int kBackwardBlocks = 1;
constexpr int kForwardWarps = 8, kBackwardWarps = 16;  // of a block

using Raw = std::uint32_t[2][kPast + kRun];

// Writes a run of u, from that of k and v.
template <int window, int rows>
__device__ void put_gate(const Tile<window, rows>& tile, int run, const Raw& raw) {
  Pair u[kRun], value[kRun];
  featurize(tile.featurizer(1), raw[0], u);
  featurize(tile.featurizer(2), raw[1], value);
#pragma unroll
  for (int i = 0; i < kRun; ++i) u[i] = u[i] * value[i];
  tile.put(0, run, u);
}

template <int window>
__global__ __launch_bounds__(32 * kForwardWarps,
                             kForwardBlocks<window>) void forward_kernel(const Arguments a, int strip_rows,
                                                                         bf16* y) {
  using L = Layout<window>;
  const Lane lane;
  const Tile<window, 1> tile(lane);
  const int channel = blockIdx.x * kChannels + 2 * lane.pair;
  const int begin = blockIdx.y * strip_rows, end = min(begin + strip_rows, a.tensors.length);
  tile.template fetch_weights<32 * kForwardWarps>(a);
  __syncthreads();
#pragma unroll 1
  for (int first = begin; first < end; first += kTile) {
    const int before = first - L::kTaps;
    const Rows before_known(a, before), known(a, first);
    const Inputs gates = {projection(a, a.tensors.z, 1, channel, before),
                          projection(a, a.tensors.z, 2, channel, before)};
    for_runs(lane, L::kTokens / kRun, [&](int run) {
      Raw raw;
      load(before_known, kRun * run - kPast, gates, raw);
      put_gate(tile, run, raw);
    });
    __syncthreads();
#pragma unroll 1
    for (int c = lane.warp; c < kChannels; c += kForwardWarps)
      convolve<window, false>(lane, tile.filter(c), tile.row(0, c));
    __syncthreads();
    const Column<const bf16> queries[] = {projection(a, a.tensors.z, 0, channel, first)};
    const Column<bf16> out = output(a, y, channel, first);
    if (channel < a.tensors.width) {
      for_runs(lane, min(kTile, known.end + kRun - 1) / kRun, [&](int run) {
        std::uint32_t raw[1][kPast + kRun], values[kRun];
        load(known, kRun * run - kPast, queries, raw);
        Pair x[kRun], c[kRun];
        featurize(tile.featurizer(0), raw[0], x);
        tile.template take<0>(0, run, c);
#pragma unroll
        for (int i = 0; i < kRun; ++i) values[i] = packed<bf16>(x[i] * c[i]);
        out.store(known, kRun * run, values);
      });
    }
    __syncthreads();
  }
}

// A backward block's shared memory behind its tile: the sums of its filters' gradients, and what warps write
// of products; for the featurizers' gradients in the end.
template <int window>
struct Sums {
  using C = Correlation<window>;
  using T = Tile<window, 2>;
  static constexpr int kLags = T::kBytes, kZeros = kLags + kChannels * C::kStride * 4, kScratch = kZeros + 16,
                       kBytes = kScratch + kBackwardWarps * C::kScratchBytes;
  static_assert(kZeros % 16 == 0 && Layout<window>::kFeaturizerBytes <= C::kScratchBytes);

  __device__ static float* floats(int offset) {
    return reinterpret_cast<float*>(ptx::dynamic_shared() + offset);
  }
};

template <int window>
__global__ __launch_bounds__(32 * kBackwardWarps,
                             kBackwardBlocks) void backward_kernel(const Arguments a, int strip_rows,
                                                                   bf16* dz, const Partials partials) {
  using L = Layout<window>;
  using S = Sums<window>;
  const Lane lane;
  const Tile<window, 2> tile(lane);
  const int first_channel = blockIdx.x * kChannels, channel = first_channel + 2 * lane.pair;
  const int begin = blockIdx.y * strip_rows, end = min(begin + strip_rows, a.tensors.length);
  float* const lags = S::floats(S::kLags);
  const std::uint32_t scratch = tile.address(S::kScratch + lane.warp * S::C::kScratchBytes);
  tile.template fetch_weights<32 * kBackwardWarps>(a);
  for (int i = threadIdx.x; i < (S::kScratch - S::kLags) / 4; i += blockDim.x) lags[i] = 0;
  __syncthreads();

  FeaturizerSums featurizers;
#pragma unroll 1
  for (int first = begin; first < end; first += kOwnTokens) {
    const int before = first - L::kTaps;
    const Rows before_known(a, before), known(a, first);
    const Inputs gates = {projection(a, a.tensors.z, 1, channel, before),
                          projection(a, a.tensors.z, 2, channel, before)};
    const Inputs outputs = {projection(a, a.tensors.z, 0, channel, first),
                            output(a, a.tensors.dy, channel, first)};
    for_runs(lane, L::kTokens / kRun, [&](int run) {
      Raw gate, out;
      load(before_known, kRun * run - kPast, gates, gate);
      load(known, kRun * run - kPast, outputs, out);
      put_gate(tile, run, gate);
      Pair g[kRun];
      featurize(tile.featurizer(0), out[0], g);
#pragma unroll
      for (int i = 0; i < kRun; ++i) g[i] = g[i] * unpacked<bf16>(out[1][kPast + i]);
      tile.put(1, run, g);
    });
    __syncthreads();
#pragma unroll 1
    for (int c = lane.warp; c < kChannels; c += kBackwardWarps) {
      const std::uint32_t u = tile.row(0, c), g = tile.row(1, c);
      S::C::add(lane, u, g, tile.address(S::kZeros), scratch, lags + c * S::C::kStride);
      __syncwarp();
      convolve<window, false>(lane, tile.filter(c), u);
      convolve<window, true>(lane, tile.filter(c), g);
    }
    __syncthreads();
    if (channel < a.tensors.width) featurizers.pass(tile, a, lane, channel, first, dz);
    __syncthreads();
  }

  // Of the lanes of a warp with the same channels, then of the warps.
  float* const of_warp = S::floats(S::kScratch + lane.warp * S::C::kScratchBytes);
#pragma unroll
  for (int part = 0; part < 3; ++part) {
#pragma unroll
    for (int f = 0; f < kFewTaps; ++f) {
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        float sum = featurizers.sum(part, f).of[n];
        sum += __shfl_xor_sync(0xffffffffu, sum, 4);
        if (lane.run == 0) of_warp[(f * 3 + part) * kChannels + 2 * lane.pair + n] = sum;
      }
    }
  }
  __syncthreads();
  const std::int64_t width = a.tensors.width;
  const std::int64_t part = static_cast<std::int64_t>(blockIdx.z) * gridDim.y + blockIdx.y;
  for (int i = threadIdx.x; i < a.tensors.featurizer_taps * 3 * kChannels; i += blockDim.x) {
    const int row = i / kChannels, of = first_channel + i % kChannels;
    float sum = 0;
    for (int w = 0; w < kBackwardWarps; ++w) sum += S::floats(S::kScratch + w * S::C::kScratchBytes)[i];
    if (of < width) partials.featurizer[(part * a.tensors.featurizer_taps * 3 + row) * width + of] = sum;
  }
  for (int i = threadIdx.x; i < a.filter.count * kChannels; i += blockDim.x) {
    const int tap = i / kChannels, c = i % kChannels;
    const float sum = lags[c * S::C::kStride + tap];
    if (first_channel + c >= width) continue;
    partials.filter[(part * a.filter.count + tap) * width + first_channel + c] = sum;
    if (tap == 0 && partials.skip != nullptr) partials.skip[part * width + first_channel + c] = sum;
  }
}

// Calls f<window>().
template <class F>
auto with_window(const HyenaShape& s, const F& f) {
  if (s.taps <= Layout<4>::kTaps) return f.template operator()<4>();
  if (s.taps <= Layout<8>::kTaps) return f.template operator()<8>();
  return f.template operator()<16>();
}
constexpr std::size_t kAmpereBytes = 163 * 1024;  // that a block of compute capability 8.0 can have
static_assert(Sums<8>::kBytes <= kAmpereBytes);

unsigned blocks_across(const HyenaShape& s) { return static_cast<unsigned>(ceil_div(s.width, kChannels)); }

constexpr int kStart = 200;  // tokens in whose time a block fetches its weights

Strips cut_strips(const HyenaShape& s, int tile, int blocks) {
  return strips_of(s.length, blocks_across(s) * s.batch, blocks, {tile, tile, kStart});
}
Strips backward_strips(const HyenaShape& s) { return cut_strips(s, kOwnTokens, kBackwardBlocks); }

dim3 grid_of(const HyenaShape& s, const Strips& strips) {
  return dim3(blocks_across(s), static_cast<unsigned>(strips.per_sequence), static_cast<unsigned>(s.batch));
}

}  // namespace

bool channel_supports(const HyenaShape& shape, ElementType type) {
  if (type != ElementType::bf16 || shape.kind == HyenaKind::long_implicit || shape.taps > Layout<16>::kTaps ||
      shape.featurizer_taps > kFewTaps || shape.width % 2 != 0) {
    return false;
  }
  const std::size_t bytes =
      with_window(shape, [&]<int window>() { return std::size_t{Sums<window>::kBytes}; });
  return bytes <= most_shared_memory();
}

std::size_t channel_workspace(const HyenaShape& shape) {
  return partials_bytes(shape, shape.batch * backward_strips(shape).per_sequence);
}

void channel_forward(const HyenaShape& shape, const HyenaWeights& weights, const void* z, void* y,
                     cudaStream_t stream) {
  with_window(shape, [&]<int window>() {
    const Strips strips = cut_strips(shape, kTile, kForwardBlocks<window>);
    launch<forward_kernel<window>>(grid_of(shape, strips), 32 * kForwardWarps, Tile<window, 1>::kBytes,
                                   stream, direct::arguments_of<bf16>(shape, weights, {}, z, nullptr),
                                   strips.rows, static_cast<bf16*>(y));
  });
}

void channel_backward(const HyenaShape& shape, const HyenaWeights& weights, const void* z, const void* dy,
                      void* dz, const HyenaGradients& gradients, void* workspace, cudaStream_t stream) {
  const Strips strips = backward_strips(shape);
  const std::int64_t parts = shape.batch * strips.per_sequence;
  const Partials partials = partials_in(workspace, shape, parts);
  with_window(shape, [&]<int window>() {
    launch<backward_kernel<window>>(grid_of(shape, strips), 32 * kBackwardWarps, Sums<window>::kBytes, stream,
                                    direct::arguments_of<bf16>(shape, weights, {}, z, dy), strips.rows,
                                    static_cast<bf16*>(dz), partials);
  });
  add_partials(shape, weights, partials, parts, gradients, stream);
}

}  // namespace striped::cuda
