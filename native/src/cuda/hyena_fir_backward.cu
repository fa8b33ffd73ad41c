#include <algorithm>

#include "hyena_fir_gradients.cuh"
#include "hyena_fir_kernels.h"
#include "launch.h"
#include "tensor_map.h"

// Time runs backwards here. With u = k' ⊙ v', g = dy ⊙ q', c = h ∗ u + d ⊙ u:
//   du = h ⋆ g + d ⊙ g   reaches forward, so it is complete as soon as a tile is met;
//   dq' = dy ⊙ c         reaches back, so it follows `Delay` stages later, when the tiles before it are in.
// Tiles of the first kind are held with time reversed in the fragments, which makes h ⋆ a causal product with
// the same Toeplitz fragments; u goes through shared memory, which turns it into forward order for c and for
// the filter gradient (FilterProduct).
namespace striped::cuda::fir {
namespace {

struct BackwardArguments {
  int length, width, taps, group_size, strip_rows, strips;
  const float *featurizer, *filter, *decay, *skip;
  Partials partials;
};

template <int Window>
__global__ __launch_bounds__(kWarps * 32, backward_blocks(Window)) void backward_kernel(
    const __grid_constant__ CUtensorMap z_map, const __grid_constant__ CUtensorMap dy_map,
    const __grid_constant__ CUtensorMap dz_map, const BackwardArguments a) {
#if __CUDA_ARCH__ >= 900
  using L = Layout<Window>;
  std::uint8_t* const raw = ptx::dynamic_shared();
  const std::uint32_t shared = ptx::shared_address(raw);
  const std::uint32_t full = shared + L::barriers;

  const Lane lane;
  const int warp = threadIdx.x / 32;
  const int column = blockIdx.x * kChannels;
  const int channel = column + warp * kTile + lane.g;
  const int batch = blockIdx.z;
  const int begin = blockIdx.y * a.strip_rows;
  const int end = min(begin + a.strip_rows, a.length);
  const int top = begin + (end - begin + kStageRows - 1) / kStageRows * kStageRows;
  const int warm = top < a.length ? L::delay + 1 : 0;
  const int stages = warm + (top - begin) / kStageRows + L::delay;
  const auto base_row = [&](int stage) { return top + (warm - stage - 1) * kStageRows; };

  const auto fetch = [&](int stage) {
    const int row = base_row(stage);
    const bool queries = row >= begin, keys = row <= top;
    const std::uint32_t barrier = full + stage % 2 * 8;
    ptx::barrier_expect(barrier, (queries ? kPlainBytes + kHaloedBytes : 0) + (keys ? 2 * kHaloedBytes : 0));
    if (queries) {
      const int slot = stage % L::query_slots;
      ptx::copy_in(shared + L::query + slot * kHaloedBytes, &z_map, barrier, column, row - kHalo, batch);
      ptx::copy_in(shared + L::dy + slot * kPlainBytes, &dy_map, barrier, column, row, batch);
    }
    if (keys) {
      const std::uint32_t slot = shared + L::key + stage % L::key_slots * 2 * kHaloedBytes;
      ptx::copy_in(slot, &z_map, barrier, a.width + column, row - kHalo, batch);
      ptx::copy_in(slot + kHaloedBytes, &z_map, barrier, 2 * a.width + column, row - kHalo, batch);
    }
  };
  if (threadIdx.x == 0) {
    ptx::barrier_init(full, 1);
    ptx::barrier_init(full + 8, 1);
    ptx::barrier_init_fence();
    fetch(0);
    if (stages > 1) fetch(1);
  }

  typename L::Taps taps;
  const std::int64_t group = (column + warp * kTile) / a.group_size;
  const Filter filter{a.filter + group * a.taps, a.decay == nullptr ? nullptr : a.decay + group * a.taps,
                      a.taps};
  taps.load(TapPairs<Window>(filter, lane, shared + L::staging + warp * TapPairs<Window>::kBytes), lane,
            shared + L::taps + warp * L::Taps::kBytes);
  const typename L::Featurizers featurizers(a.featurizer, a.width, channel, warp, lane,
                                            shared + L::featurizers);
  const float skip[2] = {a.skip == nullptr ? 0.0f : a.skip[channel],
                         a.skip == nullptr ? 0.0f : a.skip[channel + 8]};
  __syncthreads();  // barriers are there, staging is free again

  FeaturizerGradient dfq, dfk, dfv;
  float dskip[2] = {};
  float product[Window + 1][4] = {};
  std::uint32_t later_rows[2] = {};  // of g, see FilterProduct
  std::uint32_t gradients[kStageTiles * L::held][4] =
      {};  // g, time reversed; [0, 2) is this stage, later ones above
  Neighbours beside_dq, beside_dk, beside_dv;

  // `steady`: every part of the stage is inside the strip, so that its code has no branches to keep the two
  // convolutions and the filter gradient from overlapping.
  const auto visit = [&]<bool steady>(int stage) {
    const int row = base_row(stage);
    const int late_row = row + L::delay * kStageRows;
    const bool has_query = steady || row >= begin, has_key = steady || row <= top;
    const bool late = steady || (stage >= L::delay && late_row <= top);
    const int late_slot = (stage + L::query_slots - L::delay) % L::query_slots;

    const std::uint32_t query = shared + L::query + stage % L::query_slots * kHaloedBytes;
    const std::uint32_t key = shared + L::key + stage % L::key_slots * 2 * kHaloedBytes;
    const std::uint32_t late_query = shared + L::query + late_slot * kHaloedBytes;
    const std::uint32_t staging = shared + L::staging + stage % 2 * 3 * kPlainBytes;
    // This lane's rows; "next" are two tokens earlier, which reversed time meets next.
    const std::uint32_t query_at = tile_address<true>(query, kHalo, warp, lane);
    const std::uint32_t query_next = tile_address<true>(query, 0, warp, lane);
    const std::uint32_t dy_at =
        tile_address<true>(shared + L::dy + stage % L::query_slots * kPlainBytes, 0, warp, lane);
    const std::uint32_t key_at = tile_address<true>(key, kHalo, warp, lane);
    const std::uint32_t key_next = tile_address<true>(key, 0, warp, lane);
    const std::uint32_t value_at = tile_address<true>(key + kHaloedBytes, kHalo, warp, lane);
    const std::uint32_t value_next = tile_address<true>(key + kHaloedBytes, 0, warp, lane);
    const std::uint32_t gate_at = tile_address<true>(shared + L::gate, 0, warp, lane);
    const std::uint32_t gate_ascending = tile_address(shared + L::gate, 0, warp, lane);
    const std::uint32_t gate_rows = FilterProduct::rows_address(shared + L::gate, warp, lane);
    const std::uint32_t late_dy_at = tile_address(shared + L::dy + late_slot * kPlainBytes, 0, warp, lane);
    const std::uint32_t staging_at = tile_address<true>(staging, 0, warp, lane);
    const std::uint32_t staging_ascending = tile_address(staging, 0, warp, lane);

#pragma unroll
    for (int i = kStageTiles * L::held - 1; i >= kStageTiles; --i) {
#pragma unroll
      for (int r = 0; r < 4; ++r) gradients[i][r] = gradients[i - kStageTiles][r];
    }

#pragma unroll
    for (int first = kStageTiles - L::together; first >= 0; first -= L::together) {
      float du[L::together][2][4], c_sum[L::together][2][4];
      const PairFeaturizer fq = featurizers.at(0), fk = featurizers.at(1), fv = featurizers.at(2);
      std::uint32_t k[L::together][4], v[L::together][4];
#pragma unroll
      for (int tile = L::together - 1; tile >= 0; --tile) {
        const int offset = (first + tile) * kTileBytes;
        std::uint32_t(&g)[4] = gradients[first + tile];
#pragma unroll
        for (int r = 0; r < 4; ++r) g[r] = 0;
        if (has_query) {
          std::uint32_t pair[4], next[4], dy[4];
          ptx::load_matrix_transposed(pair, query_at + offset);
          ptx::load_matrix_transposed(next, query_next + offset);
          ptx::load_matrix_transposed(dy, dy_at + offset);
#pragma unroll
          for (int r = 0; r < 4; ++r) {
            const int c = r % 2;
            g[r] = ptx::multiply_bf16(fq.apply_reversed(c, pair[r], next[r]), dy[r]);
            const float2 gradient = ptx::unpack_bf16(g[r]);
            du[tile][r / 2][c * 2] = skip[c] * gradient.x;
            du[tile][r / 2][c * 2 + 1] = skip[c] * gradient.y;
          }
        }
        if (has_key) {
          std::uint32_t pair[4], next[4], value_pair[4], value_beyond[4], u[4];
          ptx::load_matrix_transposed(pair, key_at + offset);
          ptx::load_matrix_transposed(next, key_next + offset);
          ptx::load_matrix_transposed(value_pair, value_at + offset);
          ptx::load_matrix_transposed(value_beyond, value_next + offset);
#pragma unroll
          for (int r = 0; r < 4; ++r) {
            const int c = r % 2;
            k[tile][r] = fk.apply_reversed(c, pair[r], next[r]);
            v[tile][r] = fv.apply_reversed(c, value_pair[r], value_beyond[r]);
            u[r] = ptx::multiply_bf16(k[tile][r], v[tile][r]);
            const float2 gradient = ptx::unpack_bf16(g[r]), gated = ptx::unpack_bf16(u[r]);
            dskip[c] = fmaf(gradient.y, gated.y, fmaf(gradient.x, gated.x, dskip[c]));
          }
          ptx::store_matrix_transposed(gate_at + stage % L::held * kPlainBytes + offset, u);
        }
      }
      __syncwarp();

      // Both convolutions and the filter gradient, for all tiles at hand: each tile of u is loaded once.
      constexpr int late_tiles = kStageTiles * L::delay;  // from this stage's base to the late one's
      FilterProduct::Rows g_rows[L::together];
#pragma unroll
      for (int tile = L::together - 1; tile >= 0; --tile) {
        g_rows[tile].make(gradients[late_tiles + first + tile], later_rows);
      }
#pragma unroll
      for (int back = 0; back <= Window + L::together - 1; ++back) {
        std::uint32_t u[4], u_rows[4];
        const Toeplitz newest = taps.at(min(back, Window));
        if (late) {
          const int index = late_tiles + first + L::together - 1 - back;
          const int slot = (stage - index / kStageTiles + L::held) % L::held;
          const std::uint32_t offset = slot * kPlainBytes + index % kStageTiles * kTileBytes;
          ptx::load_matrix_transposed(u, gate_ascending + offset);
          ptx::load_matrix(u_rows, gate_rows + offset);
        }
#pragma unroll
        for (int tile = L::together - 1; tile >= 0; --tile) {
          const int j = back - (L::together - 1 - tile);
          if (j >= 0 && j <= Window && late) {
            if (j == 0) {
#pragma unroll
              for (int r = 0; r < 4; ++r) {
                const float2 gated = ptx::unpack_bf16(u[r]);
                c_sum[tile][r / 2][r % 2 * 2] = skip[r % 2] * gated.x;
                c_sum[tile][r / 2][r % 2 * 2 + 1] = skip[r % 2] * gated.y;
              }
            }
            (tile == L::together - 1 ? newest : taps.at(j)).convolve(c_sum[tile], u);
            g_rows[tile].accumulate(product[j], u_rows);
          }
          if (back <= Window && has_query && has_key)
            newest.convolve(du[tile], gradients[first + tile + back]);
        }
      }

      // dz of one operand, and the gradient of its featurizer; gradient_of(tile, d) is that of its features.
      const auto finish = [&]<bool reversed>(int operand, FeaturizerGradient& gradient, Neighbours& beside,
                                             std::uint32_t z_at, std::uint32_t dz_at,
                                             const auto& gradient_of) {
        const PairFeaturizer featurizer = featurizers.at(operand);
        FeaturizerGradient::Sums sums;
#pragma unroll
        for (int tile = L::together - 1; tile >= 0; --tile) {
          const int offset = (first + tile) * kTileBytes;
          std::uint32_t d[4], one[4], two[4], z[4], dz[4];
          gradient_of(tile, d);
          ptx::load_matrix_transposed(z, z_at + offset);
          beside.shift<reversed>(d, two, lane);
#pragma unroll
          for (int r = 0; r < 4; ++r) {
            one[r] = reversed ? ptx::between_bf16(two[r], d[r]) : ptx::between_bf16(d[r], two[r]);
            dz[r] = reversed ? featurizer.apply(r % 2, d[r], two[r])
                             : featurizer.apply_reversed(r % 2, d[r], two[r]);
          }
          sums.add(d, one, two, z);
          ptx::store_matrix_transposed(dz_at + offset, dz);
        }
        gradient.add(sums, lane);
      };
      std::uint32_t du_pairs[L::together][4], c_pairs[L::together][4];
      const std::uint32_t key_columns = tile_address<true, Operand::b>(key, kHalo, warp, lane);
      const std::uint32_t value_columns =
          tile_address<true, Operand::b>(key + kHaloedBytes, kHalo, warp, lane);
      const std::uint32_t late_query_columns = tile_address<false, Operand::b>(late_query, kHalo, warp, lane);
      if (has_query && has_key) pack_tiles(du_pairs, du);
      if (late) pack_tiles(c_pairs, c_sum);
      if (late) {
        finish.template operator()<false>(
            0, dfq, beside_dq, late_query_columns, staging_ascending, [&](int tile, std::uint32_t(&d)[4]) {
              ptx::load_matrix_transposed(d, late_dy_at + (first + tile) * kTileBytes);
#pragma unroll
              for (int r = 0; r < 4; ++r) d[r] = ptx::multiply_bf16(d[r], c_pairs[tile][r]);
            });
      }
      if (has_query && has_key) {
        const auto times =
            [&](const std::uint32_t(&other)[L::together][4]) {  // the partner in the gate k' ⊙ v'
              return [&](int tile, std::uint32_t(&d)[4]) {
#pragma unroll
                for (int r = 0; r < 4; ++r) d[r] = ptx::multiply_bf16(du_pairs[tile][r], other[tile][r]);
              };
            };
        finish.template operator()<true>(1, dfk, beside_dk, key_columns, staging_at + kPlainBytes, times(v));
        finish.template operator()<true>(2, dfv, beside_dv, value_columns, staging_at + 2 * kPlainBytes,
                                         times(k));
      }
    }
    if constexpr (!steady) {
      // The stage above the strip only feeds the featurizers' reach; its gradients are counted in its own
      // strip.
      if (row == top) {
        dfk.reset();
        dfv.reset();
        dskip[0] = dskip[1] = 0;
      }
      if (late && late_row == top) {
        dfq.reset();
#pragma unroll
        for (int j = 0; j <= Window; ++j) {
#pragma unroll
          for (int e = 0; e < 4; ++e) product[j][e] = 0;
        }
      }
    }
  };

  for (int stage = 0; stage < stages; ++stage) {
    const int row = base_row(stage);
    const int late_row = row + L::delay * kStageRows;
    const bool late = stage >= L::delay && late_row < top;
    const std::uint32_t staging = shared + L::staging + stage % 2 * 3 * kPlainBytes;
    ptx::barrier_wait(full + stage % 2 * 8, stage / 2 & 1);
    if (row >= begin && late) {
      visit.template operator()<true>(stage);
    } else {
      visit.template operator()<false>(stage);
    }

    // One barrier a stage: it also tells everyone that the other staging buffer has been read.
    ptx::copy_engine_fence();
    if (threadIdx.x == 0) ptx::copy_out_wait_read();
    __syncthreads();
    if (threadIdx.x == 0) {
      if (row >= begin && row < top) {
        ptx::copy_out(&dz_map, staging + kPlainBytes, a.width + column, row, batch);
        ptx::copy_out(&dz_map, staging + 2 * kPlainBytes, 2 * a.width + column, row, batch);
      }
      if (late) ptx::copy_out(&dz_map, staging, column, late_row, batch);
      ptx::copy_out_commit();
      if (stage + 2 < stages) fetch(stage + 2);
    }
  }
  if (threadIdx.x == 0) ptx::copy_out_wait();
  __syncthreads();

  const std::int64_t strip = blockIdx.z * static_cast<std::int64_t>(gridDim.y) + blockIdx.y;
  float* featurizer = a.partials.featurizer + strip * 9 * a.width;
  dfq.store(featurizer, channel, lane);
  dfk.store(featurizer, a.width + channel, lane);
  dfv.store(featurizer, 2 * a.width + channel, lane);
#pragma unroll
  for (int c = 0; c < 2; ++c) {
    float sum = dskip[c];
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
    sum += __shfl_xor_sync(0xffffffffu, sum, 2);
    if (lane.q == 0) a.partials.skip[strip * a.width + channel + 8 * c] = sum;
  }
  auto* const scratch = reinterpret_cast<FilterSums<Window>*>(raw) + warp;
  static_assert(kWarps * sizeof(*scratch) <= L::barriers);
  const std::int64_t part = strip * (a.width / kTile) + (column / kTile + warp);
  store_filter_gradient<Window>(product, *scratch, a.partials.filter + part * a.taps, a.taps, lane);
#endif
}

template <int Window>
void start(const HyenaShape& shape, const HyenaWeights& weights, const void* z, const void* dy, void* dz,
           const Partials& partials, cudaStream_t stream) {
  using L = Layout<Window>;
  const Strips strips = cut_strips(shape, backward_blocks(Window));
  const auto z_map =
      bf16_tensor_map(z, shape.batch, shape.length, 3 * shape.width, kStageRows + kHalo, kChannels);
  const auto dy_map = bf16_tensor_map(dy, shape.batch, shape.length, shape.width, kStageRows, kChannels);
  const auto dz_map = bf16_tensor_map(dz, shape.batch, shape.length, 3 * shape.width, kStageRows, kChannels);
  const BackwardArguments arguments{static_cast<int>(shape.length),
                                    static_cast<int>(shape.width),
                                    shape.taps,
                                    static_cast<int>(shape.width / shape.groups),
                                    strips.rows,
                                    strips.per_sequence,
                                    static_cast<const float*>(weights.featurizer),
                                    static_cast<const float*>(weights.filter),
                                    static_cast<const float*>(weights.decay),
                                    static_cast<const float*>(weights.skip),
                                    partials};
  const dim3 grid(static_cast<unsigned>(shape.width / kChannels), static_cast<unsigned>(strips.per_sequence),
                  static_cast<unsigned>(shape.batch));
  launch<backward_kernel<Window>>(grid, kWarps * 32, L::bytes, stream, z_map, dy_map, dz_map, arguments);
}

}  // namespace

void launch_backward(int window, const HyenaShape& shape, const HyenaWeights& weights, const void* z,
                     const void* dy, void* dz, const Partials& partials, cudaStream_t stream) {
  if (window <= 1) return start<1>(shape, weights, z, dy, dz, partials, stream);
  if (window <= 4) return start<4>(shape, weights, z, dy, dz, partials, stream);
  if (window <= 8) return start<8>(shape, weights, z, dy, dz, partials, stream);
  return start<16>(shape, weights, z, dy, dz, partials, stream);
}

}  // namespace striped::cuda::fir
