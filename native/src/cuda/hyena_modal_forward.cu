#include "hyena_modal_arguments.cuh"
#include "launch.h"

namespace striped::cuda::modal {
namespace {

// Half of each scheduler's warps begin with the products, the others with element-wise work, so that
// latencies of the one hide behind the other.
template <class Products, class Elements>
__device__ inline void in_turn(const Products& products, const Elements& elements) {
  if (threadIdx.x / 128 % 2 == 0) {
    products();
    elements();
  } else {
    elements();
    products();
  }
}

// States of channels c and c+1, the same in a quad's lanes.
[[maybe_unused]] __device__ inline void save_states(float* to, const Arguments& a, std::int64_t index,
                                                    int channel, const float (&states)[2][2],
                                                    const Lane& lane) {
  if (lane.q != 0) return;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    to[a.state(index, channel + i / 2, lane.g + i % 2 * 8)] = states[i / 2][i % 2];
  }
}

// ---- states
// ---------------------------------------------------------------------------------------------------------

constexpr int kStateStages = 4;
constexpr int kStateBytes = kStateStages * 2 * kHeadBytes + 2 * (kTileBytes + kSumsBytes);

// A tile's inputs go through shared memory twice, as projections and as u (or g): while one tile is
// multiplied, the next is featurized, with one barrier a tile.
template <bool reversed, bool piece>
__global__ __launch_bounds__(kThreads, 1) void states_kernel(const Arguments a, const States states) {
#if __CUDA_ARCH__ >= 900
  std::uint8_t* const raw = ptx::dynamic_shared();
  __shared__ FeaturizerTable table;
  const std::uint32_t inputs = ptx::shared_address(raw);
  const std::uint32_t tiles = inputs + kStateStages * 2 * kHeadBytes, sums = tiles + 2 * kTileBytes;
  const Lane lane;
  const Run run;
  const int warp = threadIdx.x / 32, first_channel = blockIdx.x * kChannels, strip = blockIdx.y,
            batch = blockIdx.z;
  const int begin = strip * a.layout.strip_tiles, end = min(begin + a.layout.strip_tiles, a.layout.tiles);
  const int count = end - begin;
  const auto tile_of = [&](int i) { return reversed ? end - 1 - i : begin + i; };

  const auto history = [&](int part) { return piece ? a.history(part, batch, first_channel) : nullptr; };
  const Source first = a.projection(reversed ? 0 : 1, batch, first_channel);
  const Source second =
      reversed ? a.output_gradient(batch, first_channel) : a.projection(2, batch, first_channel);
  const auto start_fetch = [&](int i) {
    if (i < count) {
      const std::uint32_t buffer = inputs + i % kStateStages * 2 * kHeadBytes;
      fetch<true, false>(first, buffer, tile_of(i) * kRows, a.length, history(reversed ? 0 : 1));
      fetch<!reversed, false>(second, buffer + kHeadBytes, tile_of(i) * kRows, a.length, history(2));
    }
    ptx::copy_async_commit();
  };
  for (int i = 0; i + 1 < kStateStages; ++i) start_fetch(i);
  table.load(a.featurizer, first_channel, a.width);

  InputOperand input[2];
  Decay decay[2];
#pragma unroll
  for (int c = 0; c < 2; ++c) {
    const FilterSource filter = a.filter(first_channel + 2 * warp + c);
    FilterValues& values = reinterpret_cast<FilterValues*>(raw + kStateStages * 2 * kHeadBytes)[warp];
    values.make(filter, lane);
    input[c].make(values, lane);
    decay[c].make(filter, lane);
  }
  float carry[2][2] = {};
  const auto save = [&](float* to, std::int64_t index) {
    if (to != nullptr) save_states(to, a, index, first_channel + 2 * warp, carry, lane);
  };

  for (int i = -1; i < count; ++i) {
    ptx::copy_async_wait<kStateStages - 2>();
    __syncthreads();
    start_fetch(i + kStateStages);
    const auto multiply_tile = [&] {
      if (i < 0) return;
      save(states.tiles, static_cast<std::int64_t>(batch) * a.layout.tiles + tile_of(i));
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        std::uint32_t x[4];
        ptx::load_matrix(x, matrix_address(tiles + i % 2 * kTileBytes, 2 * warp + c, lane));
        float e[2][4] = {};
        contributions(e, input[c], x, sums + i % 2 * kSumsBytes, 2 * warp + c, lane);
        scan<reversed>(e, decay[c], carry[c], lane);
      }
    };
    const auto featurize_tile = [&] {
      if (i + 1 >= count) return;
      const std::uint32_t buffer = inputs + (i + 1) % kStateStages * 2 * kHeadBytes;
      float2 x[kRun], by[kRun];
      Featurizer(table, reversed ? 0 : 1, run.pair).run(run, buffer, x);
      if (reversed) {
#pragma unroll
        for (int t = 0; t < kRun; ++t) by[t] = run.at(buffer + kHeadBytes, t);
      } else {
        Featurizer(table, 2, run.pair).run(run, buffer + kHeadBytes, by);
      }
#pragma unroll
      for (int t = 0; t < kRun; ++t) x[t] = {x[t].x * by[t].x, x[t].y * by[t].y};
      store_run<reversed>(tiles + (i + 1) % 2 * kTileBytes, run, x);
      store_sums<reversed>(sums + (i + 1) % 2 * kSumsBytes, run, x);
    };
    in_turn(multiply_tile, featurize_tile);
  }
  save(states.ends, static_cast<std::int64_t>(batch) * a.layout.strips + strip);
#endif
}

// Strip ends become strip entries, in place: a thread a mode of a channel, double precision. `entering` is
// the state that comes to the first strip, and `leaving` becomes that behind the last one; both [batch,
// order, width], and may be null. One strip's end is read for `leaving` only.
__global__ void combine_kernel(const Arguments a, float* ends, const float* entering, float* leaving,
                               bool reversed) {
  const std::int64_t i = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x;
  const std::int64_t row = static_cast<std::int64_t>(a.width) * kModes;
  if (i >= row) return;
  const int channel = static_cast<int>(i / kModes), mode = static_cast<int>(i % kModes);
  const int last = a.layout.strips - 1;
  const double log_pole = a.filter(channel).log_pole(mode),
               factor = exp(log_pole * kRows * a.layout.strip_tiles),
               last_factor = exp(log_pole * kRows * (a.layout.tiles - last * a.layout.strip_tiles));
  const std::int64_t outside = (static_cast<std::int64_t>(blockIdx.y) * a.order + mode) * a.width + channel;
  const bool real = mode < a.order;
  float* states = ends + blockIdx.y * a.layout.strips * row + i;
  double state = entering != nullptr && real ? entering[outside] : 0.0;
  for (int s = 0; s <= last; ++s) {
    const int strip = reversed ? last - s : s;
    float& end = states[strip * row];
    const double left = last > 0 || leaving != nullptr ? end : 0.0;
    end = static_cast<float>(state);
    state = state * (strip == last ? last_factor : factor) + left;
  }
  if (leaving != nullptr && real) leaving[outside] = static_cast<float>(state);
}

// ---- forward
// --------------------------------------------------------------------------------------------------------

constexpr int kStages = 3;
constexpr int kForwardBytes = kStages * (3 * kHeadBytes + kTileBytes + kSumsBytes);

// Between two barriers a block gates tile i-1, multiplies tile i and featurizes tile i+1, so that memory,
// tensor cores and arithmetic overlap; q arrives two tiles later than k and v. The states before each tile
// are kept for the backward pass. `entries`, of strips, may be null.
template <bool piece>
__global__ __launch_bounds__(kThreads, 1) void forward_kernel(const Arguments a, const float* entries,
                                                              float* kept, __nv_bfloat16* y_out) {
#if __CUDA_ARCH__ >= 900
  std::uint8_t* const raw = ptx::dynamic_shared();
  __shared__ FeaturizerTable table;
  const std::uint32_t keys = ptx::shared_address(raw);
  const std::uint32_t queries = keys + kStages * 2 * kHeadBytes;
  const std::uint32_t tiles = queries + kStages * kHeadBytes, sums = tiles + kStages * kTileBytes;
  const Lane lane;
  const Run run;
  const int warp = threadIdx.x / 32, first_channel = blockIdx.x * kChannels, strip = blockIdx.y,
            batch = blockIdx.z;
  const int begin = strip * a.layout.strip_tiles, count = min(a.layout.strip_tiles, a.layout.tiles - begin);

  const Source q = a.projection(0, batch, first_channel), k = a.projection(1, batch, first_channel),
               v = a.projection(2, batch, first_channel);
  const auto history = [&](int part) { return piece ? a.history(part, batch, first_channel) : nullptr; };
  const auto start_fetch = [&](int interval) {
    const int key = interval + 3, query = interval + 1;
    if (key < count) {
      const std::uint32_t buffer = keys + key % kStages * 2 * kHeadBytes;
      fetch<true, false>(k, buffer, (begin + key) * kRows, a.length, history(1));
      fetch<true, false>(v, buffer + kHeadBytes, (begin + key) * kRows, a.length, history(2));
    }
    if (query >= 0 && query < count) {
      fetch<true, false>(q, queries + query % kStages * kHeadBytes, (begin + query) * kRows, a.length,
                         history(0));
    }
    ptx::copy_async_commit();
  };
  start_fetch(-3);
  start_fetch(-2);
  table.load(a.featurizer, first_channel, a.width);

  InputOperand input[2];
  OutputOperands output[2];
  Decay decay[2];
  float carry[2][2] = {};
#pragma unroll
  for (int c = 0; c < 2; ++c) {
    const int channel = first_channel + 2 * warp + c;
    const FilterSource filter = a.filter(channel);
    FilterValues& values = reinterpret_cast<FilterValues*>(raw + kStages * 3 * kHeadBytes)[warp];
    values.make(filter, lane);
    input[c].make(values, lane);
    output[c].make(values, a.skip == nullptr ? 0.0f : a.skip[channel], lane);
    decay[c].make(filter, lane);
    if (entries != nullptr) {
      const std::int64_t index = static_cast<std::int64_t>(batch) * a.layout.strips + strip;
#pragma unroll
      for (int m = 0; m < 2; ++m) carry[c][m] = entries[a.state(index, channel, lane.g + 8 * m)];
    }
  }

  for (int i = -1; i <= count; ++i) {
    ptx::copy_async_wait<1>();
    __syncthreads();
    start_fetch(i);
    const auto multiply_tile = [&] {
      if (i < 0 || i >= count) return;
      save_states(kept, a, static_cast<std::int64_t>(batch) * a.layout.tiles + begin + i,
                  first_channel + 2 * warp, carry, lane);
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const std::uint32_t address = matrix_address(tiles + i % kStages * kTileBytes, 2 * warp + c, lane);
        std::uint32_t x[4];
        ptx::load_matrix(x, address);
        float states[2][4] = {};
        contributions(states, input[c], x, sums + i % kStages * kSumsBytes, 2 * warp + c, lane);
        scan<false>(states, decay[c], carry[c], lane);
        store_output(address, output[c], x, states);
      }
    };
    const auto featurize_tile = [&] {
      if (i + 1 >= count) return;
      const std::uint32_t buffer = keys + (i + 1) % kStages * 2 * kHeadBytes;
      float2 x[kRun], by[kRun];
      Featurizer(table, 1, run.pair).run(run, buffer, x);
      Featurizer(table, 2, run.pair).run(run, buffer + kHeadBytes, by);
#pragma unroll
      for (int t = 0; t < kRun; ++t) x[t] = {x[t].x * by[t].x, x[t].y * by[t].y};
      store_run<false>(tiles + (i + 1) % kStages * kTileBytes, run, x);
      store_sums<false>(sums + (i + 1) % kStages * kSumsBytes, run, x);
    };
    const auto gate_tile = [&] {
      if (i < 1) return;
      const int tile = i - 1;
      float2 gate[kRun], y[kRun];
      Featurizer(table, 0, run.pair).run(run, queries + tile % kStages * kHeadBytes, gate);
      load_run<false>(tiles + tile % kStages * kTileBytes, run, y);
      const int first = (begin + tile) * kRows, tokens = a.length - first - run.run * kRun;
      std::uint32_t* out = reinterpret_cast<std::uint32_t*>(
          y_out + (static_cast<std::int64_t>(batch) * a.length + first) * a.width + first_channel);
      const std::uint32_t stride = a.width / 2, offset = run.run * kRun * stride + run.pair;
#pragma unroll
      for (int t = 0; t < kRun; ++t) {
        if (t < tokens) out[offset + t * stride] = ptx::pack_bf16(y[t].x * gate[t].x, y[t].y * gate[t].y);
      }
    };
    in_turn(multiply_tile, [&] {
      featurize_tile();
      gate_tile();
    });
  }
#endif
}

template <bool reversed, bool piece>
void run_states(const HyenaShape& shape, const Arguments& a, const States& states, cudaStream_t stream) {
  launch<states_kernel<reversed, piece>>(grid_of(shape, a.layout), kThreads, kStateBytes, stream, a, states);
}

template <bool piece>
void run_forward(const HyenaShape& shape, const Arguments& a, const float* entries, void* y, void* kept,
                 cudaStream_t stream) {
  launch<forward_kernel<piece>>(grid_of(shape, a.layout), kThreads, kForwardBytes, stream, a, entries,
                                static_cast<float*>(kept), static_cast<__nv_bfloat16*>(y));
}

}  // namespace

void launch_states(const HyenaShape& shape, const HyenaWeights& weights, const HyenaSurroundings* around,
                   const Arrived& arrived, const void* z, const void* dy, bool reversed, const States& states,
                   float* leaving, cudaStream_t stream) {
  const Arguments a = arguments_of(shape, weights, around, z, dy);
  if (a.layout.strips > 1 || leaving != nullptr) {
    const auto run = reversed ? around != nullptr ? run_states<true, true> : run_states<true, false>
                     : around != nullptr ? run_states<false, true>
                                         : run_states<false, false>;
    run(shape, a, states, stream);
  }
  arrived();
  const dim3 blocks(static_cast<unsigned>((shape.width * kModes + 255) / 256),
                    static_cast<unsigned>(shape.batch));
  const void* entering = around == nullptr ? nullptr : reversed ? around->after : around->before;
  launch<combine_kernel>(blocks, 256, 0, stream, a, states.ends, static_cast<const float*>(entering), leaving,
                         reversed);
}

void tensor_forward(const HyenaShape& shape, const HyenaWeights& weights, const HyenaSurroundings* around,
                    const Arrived& arrived, const void* z, void* y, void* kept, void* workspace,
                    cudaStream_t stream) {
  const Arguments a = arguments_of(shape, weights, around, z, nullptr);
  const bool piece = around != nullptr;
  float* entries = piece || a.layout.strips > 1 ? static_cast<float*>(workspace) : nullptr;
  if (entries != nullptr) {
    launch_states(shape, weights, around, arrived, z, nullptr, false, {nullptr, entries}, nullptr, stream);
  }
  (piece ? run_forward<true> : run_forward<false>)(shape, a, entries, y, kept, stream);
}

}  // namespace striped::cuda::modal
