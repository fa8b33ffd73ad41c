#include "hyena_fir_following.cuh"
#include "hyena_fir_kernels.h"
#include "hyena_fir_leading.cuh"
#include "launch.h"
#include "tensor_map.h"

// Time runs backwards here. With u = k' ⊙ v', g = dy ⊙ q', c = h ∗ u + d ⊙ u:
//   du = h ⋆ g + d ⊙ g   reaches forward, so it is complete as soon as a tile is met: Leading;
//   dq' = dy ⊙ c         reaches back, so it follows `delay` stages later, when the tiles before it are in:
//                        Following, which has u from Leading through shared memory.
// One warp does both for its 16 channels, or two share them (Layout::teams). Leading holds tiles with time
// reversed in the fragments, which makes h ⋆ a causal product with the same Toeplitz fragments.
namespace striped::cuda::fir {
namespace {

// Walks the block's stages with what its warps do in each: work<has_query, has_key, late>(stage).
template <int Window, class Work>
__device__ inline void walk(const Walk<Window>& w, Courier<Window>& courier, const Work& work) {
  using L = Layout<Window>;
  const auto go = [&]<bool has_query, bool has_key, bool late>(int stage) {
    work.template operator()<has_query, has_key, late>(stage);
    // The meeting also tells everyone that the other staging buffer has been read. Warps in step fetch their
    // instructions together: 6% slower without it, where only the copies wait for all warps.
    courier.before_meeting();
    ptx::barrier_sync(0, L::threads);
    courier.after_meeting(stage);
  };
  // Loops of their own for what is known of their stages: no branches, and registers stay where they are.
  int stage = 0;
  for (; w.row(stage) > w.top; ++stage) go.template operator()<true, false, false>(stage);
  if constexpr (L::teams == 1) {
    for (; w.row(stage) >= w.begin && !w.late(stage); ++stage)
      go.template operator()<true, true, false>(stage);
  }
  for (; w.row(stage) >= w.begin; ++stage) go.template operator()<true, true, true>(stage);
  for (; stage < w.stages; ++stage) go.template operator()<false, true, true>(stage);
  ptx::let_next_kernel_start();
  courier.end();
  ptx::barrier_sync(0, L::threads);
}

template <int Window>
__global__ __launch_bounds__(Layout<Window>::threads, backward_blocks(Window)) void backward_kernel(
    const __grid_constant__ CUtensorMap z_map, const __grid_constant__ CUtensorMap dy_map,
    const __grid_constant__ CUtensorMap dz_map, const BackwardArguments a) {
#if __CUDA_ARCH__ >= 900
  using L = Layout<Window>;
  std::uint8_t* const raw = ptx::dynamic_shared();
  Place place;
  place.shared = ptx::shared_address(raw);
  const Walk<Window> stages(a);
  Courier<Window> courier(place, stages, a.width, z_map, dy_map, dz_map);
  courier.start();
  const std::int64_t strip = blockIdx.z * static_cast<std::int64_t>(gridDim.y) + blockIdx.y;
  if constexpr (L::teams == 1) {
    Leading<Window> leading(place, stages, a);
    Following<Window> following(place, stages, a);
    ptx::barrier_sync(0, L::threads);  // barriers, taps and weights are there
    const typename L::LeadingTaps taps(place.taps<Window>());
    walk(stages, courier, [&]<bool has_query, bool has_key, bool late>(int stage) {
      leading.template work<has_query, has_key>(stage, taps);
      if constexpr (late) {
        following.template work<has_query>(
            stage, taps, [&](int tile, std::uint32_t(&rows)[4]) { leading.gradient_rows(tile, rows); });
      }
      leading.advance();
      following.advance(stage);
    });
    leading.store(a.partials, a.width, strip);
    following.store(a, strip, raw);
  } else if (threadIdx.x / 32 < kWarps) {
    Leading<Window> leading(place, stages, a);
    ptx::barrier_sync(0, L::threads);
    const typename L::LeadingTaps taps(place.taps<Window>());
    walk(stages, courier, [&]<bool has_query, bool has_key, bool>(int stage) {
      leading.template work<has_query, has_key>(stage, taps);
      leading.advance();
    });
    leading.store(a.partials, a.width, strip);
  } else {
    Following<Window> following(place, stages, a);
    ptx::barrier_sync(0, L::threads);
    const typename L::FollowingTaps taps(place.taps<Window>());
    walk(stages, courier, [&]<bool, bool, bool>(int stage) {
      following.template work<false>(
          stage, taps, [&](int tile, std::uint32_t(&rows)[4]) { following.gradient_rows(tile, rows); });
      following.advance(stage);
    });
    following.store(a, strip, raw);
  }
#endif
}

template <int Window>
void start(const HyenaShape& shape, const HyenaWeights& weights, const void* z, const void* dy, void* dz,
           const Partials& partials, cudaStream_t stream) {
  using L = Layout<Window>;
  const Strips strips = cut_strips(Window, shape, backward_blocks(Window));
  const auto z_map =
      bf16_tensor_map(z, shape.batch, shape.length, 3 * shape.width, kStageRows + kHalo, kChannels);
  const auto dy_map = bf16_tensor_map(dy, shape.batch, shape.length, shape.width, kStageRows, kChannels);
  const auto dz_map = bf16_tensor_map(dz, shape.batch, shape.length, 3 * shape.width, kStageRows, kChannels);
  const BackwardArguments arguments{static_cast<int>(shape.length),
                                    static_cast<int>(shape.width),
                                    shape.taps,
                                    static_cast<int>(shape.width / shape.groups),
                                    strips.rows,
                                    static_cast<const float*>(weights.featurizer),
                                    static_cast<const float*>(weights.filter),
                                    static_cast<const float*>(weights.decay),
                                    static_cast<const float*>(weights.skip),
                                    partials};
  const dim3 grid(static_cast<unsigned>(shape.width / kChannels), static_cast<unsigned>(strips.per_sequence),
                  static_cast<unsigned>(shape.batch));
  launch<backward_kernel<Window>>(grid, L::threads, L::bytes, stream, z_map, dy_map, dz_map, arguments);
}

}  // namespace

void launch_backward(int window, const HyenaShape& shape, const HyenaWeights& weights, const void* z,
                     const void* dy, void* dz, const Partials& partials, cudaStream_t stream) {
  if (window == 1) return start<1>(shape, weights, z, dy, dz, partials, stream);
  if (window == 4) return start<4>(shape, weights, z, dy, dz, partials, stream);
  if (window == 8) return start<8>(shape, weights, z, dy, dz, partials, stream);
  return start<16>(shape, weights, z, dy, dz, partials, stream);
}

}  // namespace striped::cuda::fir
