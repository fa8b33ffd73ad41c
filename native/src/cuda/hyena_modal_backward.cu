#include <utility>

#include "hyena_general.h"
#include "hyena_modal_gradients.cuh"
#include "launch.h"

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

struct BackwardArguments {
  Arguments common;
  const float* kept;  // by the forward pass: [batch, tiles, width, 16], before each tile
  States reversed;    // of g, where there are several strips or a piece
  Sinks gradients;
  __nv_bfloat16 *dz, *reach;
};

// What enters a piece's last strip: the state of g after it.
[[maybe_unused]] __device__ inline void enter_state(float (&state)[2], const Arguments& a,
                                                    const States& states, int batch, int channel,
                                                    const Lane& lane) {
  const std::int64_t index = static_cast<std::int64_t>(batch + 1) * a.layout.strips - 1;
#pragma unroll
  for (int m = 0; m < 2; ++m) state[m] = states.ends[a.state(index, channel, lane.g + 8 * m)];
}

// State of g after the first tile of a strip but the first, with what entered the strip.
[[maybe_unused]] __device__ inline void warm_state(float (&state)[2], const Arguments& a,
                                                   const States& states, int batch, int tile, int channel,
                                                   const Lane& lane) {
  const int strip = tile / a.layout.strip_tiles;
  const int last = min((strip + 1) * a.layout.strip_tiles, a.layout.tiles) - 1;
  const FilterSource filter = a.filter(channel);
#pragma unroll
  for (int m = 0; m < 2; ++m) {
    const int mode = lane.g + 8 * m;
    const float entry =
        states.ends[a.state(static_cast<std::int64_t>(batch) * a.layout.strips + strip, channel, mode)];
    state[m] =
        states.tiles[a.state(static_cast<std::int64_t>(batch) * a.layout.tiles + tile, channel, mode)] +
        filter.power(mode, (last - tile) * kRows) * entry;
  }
}

template <bool piece>
__global__ __launch_bounds__(kThreads, 1) void backward_kernel(const BackwardArguments b) {
#if __CUDA_ARCH__ >= 900
  const Arguments& a = b.common;
  std::uint8_t* const raw = ptx::dynamic_shared();
  __shared__ FeaturizerTable weights;
  __shared__ Edge edges[2][2];  // [parity][c, du]
  auto& table = *reinterpret_cast<OperandTable*>(raw + kOperandsAt);
  const std::uint32_t shared = ptx::shared_address(raw), tiles = shared + kTilesAt, sums = shared + kSumsAt;
  const Lane lane;
  const Run run;
  const int warp = threadIdx.x / 32, first_channel = blockIdx.x * kChannels, strip = blockIdx.y,
            batch = blockIdx.z;
  const int begin = strip * a.layout.strip_tiles, end = min(begin + a.layout.strip_tiles, a.layout.tiles);
  const bool warm = end < a.layout.tiles;  // the tile after the strip, for the featurizers' reach only
  const int last = end - 1 + (warm ? 1 : 0);

  const Source q = a.projection(0, batch, first_channel), k = a.projection(1, batch, first_channel),
               v = a.projection(2, batch, first_channel), dy = a.output_gradient(batch, first_channel);
  const auto history = [&](int part) { return piece ? a.history(part, batch, first_channel) : nullptr; };
  const auto start_fetch = [&](int tile) {
    if (tile >= begin) {
      const std::uint32_t buffer = shared + tile % 2 * kStageBytes;
      fetch<true, false, true>(q, buffer + kQuery, tile * kRows, a.length, history(0));
      fetch<true, true, true>(k, buffer + kKey, tile * kRows, a.length, history(1));
      fetch<true, true, true>(v, buffer + kValue, tile * kRows, a.length, history(2));
      fetch<false, true, true>(dy, buffer + kGradient, tile * kRows, a.length);
    }
    ptx::copy_async_commit();
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
    table.fill(local, a.filter(channel), a.skip == nullptr ? 0.0f : a.skip[channel],
               reinterpret_cast<FilterValues*>(raw + kTilesAt)[warp], lane);
    if (warm) {
      warm_state(q_carry[c], a, b.reversed, batch, last, channel, lane);
    } else if (piece) {
      enter_state(q_carry[c], a, b.reversed, batch, channel, lane);
    }
  }

  __syncthreads();
  // The second team starts when the first has featurized a tile, so that the one's products overlap the
  // other's element-wise work.
  if (team() == 1) ptx::barrier_sync(3, kThreads);
  for (int tile = last; tile >= begin; --tile) {
    const bool counts = tile < end;
    const std::uint32_t buffer = shared + tile % 2 * kStageBytes;
    ptx::copy_async_wait<0>();
    team_barrier();
    start_fetch(tile - 1);
    float s_carry[2][2];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      s_carry[i / 2][i % 2] = b.kept[a.state(static_cast<std::int64_t>(batch) * a.layout.tiles + tile,
                                             first_channel + 2 * warp + i / 2, lane.g + i % 2 * 8)];
    }
    {
      float2 x[kRun], by[kRun];
      Featurizer(weights, 1, run.pair).run(run, buffer + kKey, x);
      Featurizer(weights, 2, run.pair).run(run, buffer + kValue, by);
#pragma unroll
      for (int t = 0; t < kRun; ++t) x[t] = {x[t].x * by[t].x, x[t].y * by[t].y};
      store_run<false>(tiles, run, x);
      store_sums<false>(sums, run, x);
      Featurizer(weights, 0, run.pair).run(run, buffer + kQuery, x);
#pragma unroll
      for (int t = 0; t < kRun; ++t) {
        const float2 dy_t = run.at(buffer + kGradient, t);
        x[t] = {x[t].x * dy_t.x, x[t].y * dy_t.y};
      }
      store_run<true>(tiles + kTileBytes, run, x);
      store_sums<true>(sums + kSumsBytes, run, x);
    }
    team_barrier();
    if (team() == 0 && tile == last) ptx::barrier_sync(3, kThreads);
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      filter_channel(tiles, sums, 2 * warp + c, table, s_carry[c], q_carry[c], filter_sums[c], counts, lane);
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
    // The gradient d of a projection at the run's token i, where it is one of the piece's first.
    const auto keep_reach = [&](int part, int i, std::uint32_t d) {
      if (!piece || i >= kTaps - 1 || tile != 0 || run.run != 0) return;
      const std::int64_t row = static_cast<std::int64_t>(batch) * (kTaps - 1) + i;
      reinterpret_cast<std::uint32_t*>(b.reach + (row * 3 + part) * a.width + first_channel)[run.pair] = d;
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
        keep_reach(0, i, d);
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
        keep_reach(1, i, dk);
        keep_reach(2, i, dv);
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
  store_featurizer(featurizer_sums, b.gradients.featurizer, part, first_channel, a.width, scratch, run);
  __syncthreads();
#pragma unroll
  for (int c = 0; c < 2; ++c) {
    store_filter(filter_sums[c], a, b.gradients, part, first_channel + 2 * warp + c, scratch + warp * 320,
                 lane);
    __syncwarp();
  }
#endif
}

}  // namespace

std::size_t tensor_kept(const HyenaShape& shape) {
  return sizeof(float) * static_cast<std::size_t>(shape.batch * layout(shape).tiles * shape.width * kModes);
}

std::size_t tensor_workspace(const HyenaShape& shape, bool piece) {
  const Layout l = layout(shape);
  const std::int64_t state = shape.width * kModes, parts = shape.batch * l.strips;
  const std::int64_t states =
      (l.strips > 1 ? shape.batch * l.tiles * state : 0) + (l.strips > 1 || piece ? parts * state : 0);
  return sizeof(float) * static_cast<std::size_t>(states + parts * shape.width * (2 * shape.order + 10));
}

void tensor_backward(const HyenaShape& shape, const HyenaWeights& weights, const HyenaSurroundings* around,
                     const Arrived& arrived, const void* z, const void* kept, const void* dy, void* dz,
                     void* reach, const HyenaGradients& gradients, void* workspace, cudaStream_t stream) {
  BackwardArguments b{};
  b.common = arguments_of(shape, weights, around, z, dy);
  b.kept = static_cast<const float*>(kept);
  b.dz = static_cast<__nv_bfloat16*>(dz);
  b.reach = static_cast<__nv_bfloat16*>(reach);
  const Layout& l = b.common.layout;
  const std::int64_t state = shape.width * kModes, parts = shape.batch * l.strips, width = shape.width;
  float* next = static_cast<float*>(workspace);
  const auto take = [&](std::int64_t count) { return std::exchange(next, next + count); };
  if (l.strips > 1) b.reversed.tiles = take(shape.batch * l.tiles * state);
  if (l.strips > 1 || around != nullptr) {
    b.reversed.ends = take(parts * state);
    launch_states(shape, weights, around, arrived, z, dy, true, b.reversed, nullptr, stream);
  }

  // A gradient with one summand goes where it belongs; the others are added up in a fixed order.
  general::Sum residues{nullptr, parts, shape.order, width, shape.groups, gradients.residues};
  general::Sum log_poles{nullptr, parts, shape.order, width, shape.groups, gradients.log_poles};
  general::Sum featurizer{nullptr, parts, kTaps, 3 * width, 3 * width, gradients.featurizer};
  general::Sum skip{nullptr, parts, 1, width, width, shape.has_skip ? gradients.skip : nullptr};
  const auto sink_of = [&](general::Sum& sum) {
    if (sum.out == nullptr) return Sink{};
    if (parts == 1 && sum.groups == sum.channels)
      return Sink{static_cast<float*>(std::exchange(sum.out, nullptr)), 0, 1, sum.inner, true};
    float* const partials = take(parts * sum.inner * sum.channels);
    sum.partials = partials;
    return Sink{partials, sum.inner * sum.channels, sum.channels, 1, false};
  };
  b.gradients = {sink_of(residues), sink_of(log_poles), sink_of(featurizer), sink_of(skip)};
  if (around != nullptr) {
    launch<backward_kernel<true>>(grid_of(shape, l), kThreads, kBackwardBytes, stream, b);
  } else {
    launch<backward_kernel<false>>(grid_of(shape, l), kThreads, kBackwardBytes, stream, b);
  }
  general::reduce({residues, log_poles, featurizer, skip}, stream);
}

}  // namespace striped::cuda::modal
