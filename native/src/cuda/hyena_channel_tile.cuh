// What a block of the kernels of hyena_channel.cu has in shared memory, a tile of time of 32 channels, and
// the products of a channel's row with its filter.
#pragma once

#include "hyena_direct.cuh"
#include "hyena_values.cuh"

namespace striped::cuda::channel {

using namespace general;
using Arguments = direct::Arguments<bf16>;
using Pair = Own<bf16>;  // of a lane's two channels

constexpr int kChannels = 32;  // of a block: 64 bytes of a row in memory
constexpr int kTile = 512;     // tokens that a block convolves at a time
constexpr int kRun = 8;        // tokens of a lane
constexpr int kSegment = 32;   // tokens; a product has the same of each of a tile's 16
constexpr int kChunk = 16;     // tokens, which a product sums over
static_assert(kTile == 16 * kSegment);

// Rows of u or g, a channel each: tokens side by side, and behind each segment 16 bytes, so that the same
// tokens of eight segments are in different banks.
constexpr int kSegmentBytes = 2 * kSegment + 16;
__host__ __device__ constexpr int offset_of(int token) {
  return token / kSegment * kSegmentBytes + token % kSegment * 2;
}

// Filters of up to 16·window taps.
template <int window>
struct Layout {
  static constexpr int kTaps = kChunk * window;
  static constexpr int kTokens = kTile + kTaps;  // of a row
  // Whole segments, and an odd number of 16 bytes: runs of neighbouring channels are in different banks.
  static constexpr int kRowBytes = ((kTokens + kSegment - 1) / kSegment * (kSegmentBytes / 16) | 1) * 16;
  // A filter, zeros on both sides, as pairs that begin at even and at odd taps.
  static constexpr int kMargin = 8, kPairs = kTaps / 2 + kMargin;
  static constexpr int kFilterBytes = 2 * kPairs * 4;
  static constexpr int kFeaturizerBytes = 3 * kFewTaps * kChannels * 4;
};

constexpr int kLaneRuns = 2;  // that a warp has at a time, of all of its block's channels

// Which channels and tokens a lane has. The lanes that store 16 bytes of two rows each at the same time have
// four pairs of channels and two runs side by side.
struct Lane {
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int pair = lane % 4 + lane / 8 * 4, run = lane / 4 % 2;
  int g = lane / 4, t = lane % 4;  // of a product's registers
};

// Rows of memory that a tile has of a sequence, counted from its first.
struct Rows {
  int begin, end;
  __device__ Rows(const Arguments& a, int first) : begin(-first), end(a.tensors.length - first) {}
};

// A pair of channels of an array in memory, from a tile's first row on.
template <class T>
struct Column {
  T* origin;
  int row_bytes;

  __device__ Column from(int row) const { return {ptx::advanced(origin, row, row_bytes), row_bytes}; }
  __device__ std::uint32_t at(int row) const {
    return ptx::load_constant(ptx::advanced(origin, row, row_bytes));
  }
  __device__ void put(int row, std::uint32_t value) const {
    ptx::store_global(ptx::advanced(origin, row, row_bytes), value);
  }
  // As many rows as there are.
  template <int count>
  __device__ void store(const Rows& rows, int first, const std::uint32_t (&raw)[count]) const {
    const Column to = from(first);
    const int known = rows.end - first;
    if (known >= count) {
#pragma unroll
      for (int i = 0; i < count; ++i) to.put(i, raw[i]);
    } else {
#pragma unroll
      for (int i = 0; i < count; ++i) {
        if (i < known) to.put(i, raw[i]);
      }
    }
  }
};
// Of part 0, 1, 2 for q, k, v of the projections, and of dy or y. Channels beyond the width are those of the
// last pair.
template <class T>
__device__ Column<T> projection(const Arguments& a, T* z, int part, int channel, int first) {
  const std::int64_t row = std::int64_t{blockIdx.z} * a.tensors.length + first, width = a.tensors.width;
  return {z + (row * 3 + part) * width + min(channel, a.tensors.width - 2),
          3 * a.tensors.width * static_cast<int>(sizeof(bf16))};
}
template <class T>
__device__ Column<T> output(const Arguments& a, T* y, int channel, int first) {
  const std::int64_t row = std::int64_t{blockIdx.z} * a.tensors.length + first;
  return {y + row * a.tensors.width + min(channel, a.tensors.width - 2),
          a.tensors.width * static_cast<int>(sizeof(bf16))};
}

using Inputs = Column<const bf16>[2];

// Rows first … first + count - 1 of several columns, zeros where there are none. All are asked for before any
// is used.
template <int columns, int count>
__device__ void load(const Rows& rows, int first, const Column<const bf16> (&of)[columns],
                     std::uint32_t (&raw)[columns][count]) {
  const bool all = first >= rows.begin && first + count <= rows.end;
#pragma unroll
  for (int c = 0; c < columns; ++c) {
    const Column from = of[c].from(first);
    if (all) {
#pragma unroll
      for (int i = 0; i < count; ++i) raw[c][i] = from.at(i);
    } else {
#pragma unroll
      for (int i = 0; i < count; ++i) {
        const int row = first + i;
        raw[c][i] = row >= rows.begin && row < rows.end ? from.at(i) : 0;
      }
    }
  }
}

// Shared memory of a block, from its begin: `rows` rows, filters, featurizers.
template <int window, int rows>
class Tile {
  using L = Layout<window>;

 public:
  static constexpr int kFilters = rows * kChannels * L::kRowBytes;
  static constexpr int kFeaturizers = kFilters + kChannels * L::kFilterBytes;
  static constexpr int kBytes = kFeaturizers + L::kFeaturizerBytes;

  __device__ explicit Tile(const Lane& lane)
      : lane_(lane), begin_(ptx::shared_address(ptx::dynamic_shared())) {}

  // Row of a channel of the block, of u (array 0) or g.
  __device__ std::uint32_t row(int array, int channel) const {
    return begin_ + (array * kChannels + channel) * L::kRowBytes;
  }
  __device__ std::uint32_t filter(int channel) const { return begin_ + kFilters + channel * L::kFilterBytes; }
  __device__ std::uint32_t address(int offset) const { return begin_ + offset; }

  template <int threads>
  __device__ void fetch_weights(const Arguments& a) const {
    constexpr int per_channel = threads / kChannels;
    const int width = a.tensors.width, c = threadIdx.x / per_channel;
    const int channel = min(static_cast<int>(blockIdx.x) * kChannels + c, width - 1);
    const float skip = a.skip != nullptr ? a.skip[channel] : 0.0f;
    const std::int64_t group = static_cast<std::int64_t>(channel / a.filter.group_size) * a.filter.count;
    const auto tap = [&](int i) {
      const bool known = static_cast<unsigned>(i) < static_cast<unsigned>(a.filter.count);
      const std::int64_t at = group + (known ? i : 0);
      const float value = a.filter.taps[at] * (a.filter.decay == nullptr ? 1.0f : a.filter.decay[at]);
      return known ? value + (i == 0 ? skip : 0.0f) : 0.0f;
    };
#pragma unroll
    for (int step = 0; step < L::kPairs; step += per_channel) {
      const int i = step + static_cast<int>(threadIdx.x) % per_channel, at = 2 * i - L::kMargin;
      const float middle = tap(at + 1);
      const std::uint32_t even = ptx::pack_bf16(tap(at), middle), odd = ptx::pack_bf16(middle, tap(at + 2));
      if (i >= L::kPairs) break;
      ptx::store_shared(filter(c) + i * 4, even);
      ptx::store_shared(filter(c) + (L::kPairs + i) * 4, odd);
    }
    for (int i = threadIdx.x; i < 3 * kFewTaps * kChannels; i += threads) {
      const int part = i / (kFewTaps * kChannels), f = i / kChannels % kFewTaps;
      const int of = min(static_cast<int>(blockIdx.x) * kChannels + i % kChannels, width - 1);
      const std::int64_t row = static_cast<std::int64_t>(part) * width + of;
      const bool known = f < a.tensors.featurizer_taps;
      const float value = known ? a.tensors.featurizer[row * a.tensors.featurizer_taps + f] : 0.0f;
      ptx::store_shared(begin_ + kFeaturizers + i * 4, __float_as_uint(value));
    }
  }
  __device__ Featurizer<2> featurizer(int part) const {
    Featurizer<2> out;
#pragma unroll
    for (int f = 0; f < kFewTaps; ++f) {
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        const int at = (part * kFewTaps + f) * kChannels + 2 * lane_.pair + n;
        out.taps[f].of[n] = __uint_as_float(ptx::load_shared(begin_ + kFeaturizers + at * 4));
      }
    }
    return out;
  }

  // A run of a lane's two channels: tokens 8·run … of array `array`.
  __device__ void put(int array, int run, const Pair (&x)[kRun]) const {
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      std::uint32_t words[kRun / 2];
#pragma unroll
      for (int i = 0; i < kRun / 2; ++i) words[i] = ptx::pack_bf16(x[2 * i].of[n], x[2 * i + 1].of[n]);
      ptx::store_shared(row(array, 2 * lane_.pair + n) + offset_of(kRun * run), words);
    }
  }
  // The same, and the `more` tokens behind them.
  template <int more>
  __device__ void take(int array, int run, Pair (&x)[kRun + more]) const {
    static_assert(more == 0 || more == 2);
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      const std::uint32_t from = row(array, 2 * lane_.pair + n);
      std::uint32_t words[kRun / 2];
      ptx::load_shared(words, from + offset_of(kRun * run));
      const auto set = [&](int i, std::uint32_t word) {
        const float2 two = ptx::unpack_bf16(word);
        x[2 * i].of[n] = two.x, x[2 * i + 1].of[n] = two.y;
      };
#pragma unroll
      for (int i = 0; i < kRun / 2; ++i) set(i, words[i]);
      if constexpr (more != 0) set(kRun / 2, ptx::load_shared(from + offset_of(kRun * (run + 1))));
    }
  }

 private:
  const Lane& lane_;
  std::uint32_t begin_;
};

// Calls work(run of 8 tokens) for the runs of this lane among `count`.
template <class Work>
__device__ void for_runs(const Lane& lane, int count, const Work& work) {
  const int at_once = static_cast<int>(blockDim.x) / 32 * kLaneRuns;
#pragma unroll 1
  for (int run = lane.warp * kLaneRuns + lane.run; run < count; run += at_once) work(run);
}

constexpr int kPast = kFewTaps - 1;  // tokens before a run that its features need

// Features of the tokens of a run.
template <int tokens>
__device__ void featurize(Featurizer<2> featurizer, const std::uint32_t (&raw)[kPast + tokens],
                          Pair (&out)[tokens]) {
#pragma unroll
  for (int i = 0; i < kPast; ++i) featurizer.pass(unpacked<bf16>(raw[i]));
#pragma unroll
  for (int i = 0; i < tokens; ++i) {
    const Pair value = unpacked<bf16>(raw[kPast + i]);
    out[i] = featurizer.features(value);
    featurizer.pass(value);
  }
}

// A channel's filter as operands: pair i has, for 8 tokens of the output and 16 of the input that lie 8·i
// before them (behind them, if `ahead`), what the products need: the diagonals around lags 8·i and 8·i - 8.
template <int window, bool ahead>
struct FilterFragments {
  static constexpr int kCount = 2 * window + 2;
  std::uint32_t of[kCount][2];

  __device__ FilterFragments(const Lane& lane, std::uint32_t filter) {
    using L = Layout<window>;
    const int first = L::kMargin + (ahead ? 2 * lane.t - lane.g : lane.g - 2 * lane.t - 1);
    const std::uint32_t from = filter + ((first & 1) * L::kPairs + (first >> 1)) * 4;
    std::uint32_t before = 0;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const std::uint32_t pair = i + 1 < kCount ? ptx::load_shared(from + i * 16) : 0;
      const std::uint32_t next = ahead ? pair : __byte_perm(pair, pair, 0x1032);
      of[i][ahead] = next, of[i][!ahead] = before;
      before = next;
    }
  }
};

// Convolves a row in place: token i becomes Σ_k h_k·x_(taps + i - k), or, `ahead`, Σ_k h_k·x_(i + k). A warp.
// Rows of a product are segments, its columns 8 tokens of the output.
template <int window, bool ahead>
__device__ void convolve(const Lane& lane, std::uint32_t filter_address, std::uint32_t row) {
  constexpr int outputs = kSegment / kChunk;
  constexpr int at_once = window > 8 ? outputs / 2 : outputs;  // of the outputs, as registers hold
  const FilterFragments<window, ahead> filter(lane, filter_address);
  const std::uint32_t from =
      row + (lane.lane % 8 + lane.lane / 8 % 2 * 8) * kSegmentBytes + lane.lane / 16 * 16;
  std::uint32_t out[outputs][4];
#pragma unroll
  for (int first = 0; first < outputs; first += at_once) {
    float d[at_once][2][4];
#pragma unroll
    for (int i = first; i < first + window + at_once; ++i) {
      std::uint32_t x[4];
      ptx::load_matrix(x, from + offset_of(i * kChunk));
#pragma unroll
      for (int m = 0; m < at_once; ++m) {
        const int j = ahead ? i - first - m : window + first + m - i;  // in chunks, how far before or behind
        if (j < 0 || j > window) continue;
        const bool is_first = i == first + m;
#pragma unroll
        for (int n = 0; n < 2; ++n) {
          const auto& h = filter.of[ahead ? 2 * j + 1 - n : 2 * j + n];
          is_first ? ptx::product_16x8x16(d[m][n], x, h[0], h[1]) : ptx::mma_16x8x16(d[m][n], x, h[0], h[1]);
        }
      }
    }
#pragma unroll
    for (int m = 0; m < at_once; ++m) {
#pragma unroll
      for (int n = 0; n < 2; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e)
          out[first + m][2 * n + e] = ptx::pack_bf16(d[m][n][2 * e], d[m][n][2 * e + 1]);
      }
    }
  }
  __syncwarp();
  const std::uint32_t to = row + lane.g * kSegmentBytes + lane.t * 4;
#pragma unroll
  for (int m = 0; m < outputs; ++m) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      ptx::store_shared(to + i % 2 * 8 * kSegmentBytes + offset_of(m * kChunk) + i / 2 * 16, out[m][i]);
  }
  __syncwarp();
}

}  // namespace striped::cuda::channel
