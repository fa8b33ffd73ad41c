// How a block of the FIR kernels' backward pass walks its strip of time: the shared-memory plan of a stage,
// and the copies in and out.
#pragma once

#include <type_traits>

#include "hyena_fir_fragments.cuh"
#include "hyena_fir_kernels.h"

namespace striped::cuda::fir {

constexpr int kStageTiles = 2;
constexpr int kStageRows = kStageTiles * kTile;
constexpr int kHaloedBytes = (kStageRows + kHalo) * kRowBytes;
constexpr int kPlainBytes = kStageRows * kRowBytes;

// The slot of a stage in a buffer for `slots` of them; goes on with the stages.
template <int slots>
struct Ring {
  int slot = 0;
  __device__ void advance() { slot = slot + 1 == slots ? 0 : slot + 1; }
};

// By `Window`, the tiles that a filter reaches back.
template <int Window>
struct Layout {
  static constexpr int delay = (Window + kStageTiles - 1) / kStageTiles;  // stages
  static constexpr int held = delay + 1;  // stages whose u (shared memory) and g (registers) are alive
  // Warps that share 16 channels: two where the window would fill the registers of one.
  static constexpr int teams = Window <= 8 ? 1 : 2;
  static constexpr int threads = teams * kWarps * 32;
  using LeadingTaps = TapsInRegisters<Window>;
  using FollowingTaps = std::conditional_t<teams == 1, TapsInRegisters<Window>, TapsFromPairs<Window>>;
  static constexpr int query_slots = delay + 2;
  static constexpr int dy_slots = delay + 3;  // dq takes the place of dy, and one stage to leave
  static constexpr int staging = 0;           // two of dk, dv
  static constexpr int gate = staging + 2 * 2 * kPlainBytes;
  static constexpr int dy = gate + held * kPlainBytes;
  static constexpr int query = dy + dy_slots * kPlainBytes;
  static constexpr int key = query + query_slots * kHaloedBytes;  // two of k, v
  static constexpr int taps = key + 2 * 2 * kHaloedBytes;
  static constexpr int weights = taps + kWarps * TapPairs<Window>::kBytes;
  // Barriers: two stages' inputs are there; of each leading warp, u is there.
  static constexpr int full = weights + WeightsInSharedMemory::kBytes;
  static constexpr int ready = full + 2 * 8;
  static constexpr int bytes = ready + kWarps * 8;
};

struct BackwardArguments {
  int length, width, taps, group_size, strip_rows;
  const float *featurizer, *filter, *decay, *skip;
  Partials partials;
};

// The block's strip of time and the stages in which it is walked, from the last row to the first.
template <int Window>
struct Walk {
  using L = Layout<Window>;
  int begin, top, warm, stages;  // `warm`: stages above the strip, whose gradients reach into it

  __device__ explicit Walk(const BackwardArguments& a) {
    begin = blockIdx.y * a.strip_rows;
    const int end = min(begin + a.strip_rows, a.length);
    top = begin + (end - begin + kStageRows - 1) / kStageRows * kStageRows;
    warm = top < a.length ? L::delay + 1 : 0;
    stages = warm + (top - begin) / kStageRows + L::delay;
  }
  __device__ int row(int stage) const { return top + (warm - stage - 1) * kStageRows; }
  // Of what follows: its row, and whether its time has come.
  __device__ int late_row(int stage) const { return row(stage) + L::delay * kStageRows; }
  __device__ bool late(int stage) const { return stage >= L::delay && late_row(stage) <= top; }
};

// What both teams know of their place.
struct Place {
  Lane lane;
  int warp = threadIdx.x / 32 % kWarps;
  int column = blockIdx.x * kChannels, batch = blockIdx.z;
  int channel = column + warp * kTile + lane.g;
  std::uint32_t shared;

  template <int Window>
  __device__ TapPairs<Window> taps() const {
    return {shared + Layout<Window>::taps + warp * TapPairs<Window>::kBytes, lane};
  }
};

// The copies of a block's stages, in and out. They are the work of one lane of each of three warps, since the
// others wait for a warp that has more to do. All threads call its functions.
template <int Window>
class Courier {
  using L = Layout<Window>;
  static constexpr int kSends = 0, kFetchesQueries = 32, kFetchesKeys = 64;

 public:
  __device__ Courier(const Place& place, const Walk<Window>& walk, int width, const CUtensorMap& z_map,
                     const CUtensorMap& dy_map, const CUtensorMap& dz_map)
      : place_(place), walk_(walk), width_(width), z_map_(z_map), dy_map_(dy_map), dz_map_(dz_map) {}

  // Barriers are there for all after the block's next meeting.
  __device__ void start() {
    if (threadIdx.x == 0) {
      for (int parity = 0; parity < 2; ++parity) ptx::barrier_init(place_.shared + L::full + parity * 8, 2);
      for (int warp = 0; warp < kWarps; ++warp) ptx::barrier_init(place_.shared + L::ready + warp * 8, 1);
      ptx::barrier_init_fence();
    }
    for (int stage = 0; stage < 2; ++stage) {
      if (threadIdx.x == 0 && stage < walk_.stages) {
        fetch_queries(stage);
        fetch_keys(stage);
      }
      fetched();
    }
  }
  // The block meets at a stage's end: what left after the one before has been read by then.
  __device__ void before_meeting() const {
    ptx::copy_engine_fence();
    if (threadIdx.x == kSends) ptx::copy_out_wait_read();
  }
  __device__ void after_meeting(int stage) {
    if (threadIdx.x == kSends) send(stage);
    if (stage >= L::delay) late_dy_.advance();
    if (stage + 2 >= walk_.stages) return;
    if (threadIdx.x == kFetchesQueries) fetch_queries(stage + 2);
    if (threadIdx.x == kFetchesKeys) fetch_keys(stage + 2);
    fetched();
  }
  __device__ void end() const {
    if (threadIdx.x == kSends) ptx::copy_out_wait();
  }

 private:
  // The gradients of a stage leave.
  __device__ void send(int stage) const {
    const int row = walk_.row(stage), late_row = walk_.late_row(stage);
    if (row >= walk_.begin && row < walk_.top) {
      const std::uint32_t staging = place_.shared + L::staging + stage % 2 * 2 * kPlainBytes;
      ptx::copy_out(&dz_map_, staging, width_ + place_.column, row, place_.batch);
      ptx::copy_out(&dz_map_, staging + kPlainBytes, 2 * width_ + place_.column, row, place_.batch);
    }
    if (walk_.late(stage) && late_row < walk_.top) {
      ptx::copy_out(&dz_map_, place_.shared + L::dy + late_dy_.slot * kPlainBytes, place_.column, late_row,
                    place_.batch);
    }
    ptx::copy_out_commit();
  }
  // Ask for the inputs of a stage, in turn, two stages before they are wanted.
  __device__ void fetch_queries(int stage) const {
    const int row = walk_.row(stage);
    const std::uint32_t barrier = place_.shared + L::full + stage % 2 * 8;
    if (row < walk_.begin) return ptx::barrier_arrive(barrier);
    ptx::barrier_expect(barrier, kPlainBytes + kHaloedBytes);
    ptx::copy_in(place_.shared + L::query + query_.slot * kHaloedBytes, &z_map_, barrier, place_.column,
                 row - kHalo, place_.batch);
    ptx::copy_in(place_.shared + L::dy + dy_.slot * kPlainBytes, &dy_map_, barrier, place_.column, row,
                 place_.batch);
  }
  __device__ void fetch_keys(int stage) const {
    const int row = walk_.row(stage);
    const std::uint32_t barrier = place_.shared + L::full + stage % 2 * 8;
    if (row > walk_.top) return ptx::barrier_arrive(barrier);
    ptx::barrier_expect(barrier, 2 * kHaloedBytes);
    const std::uint32_t key = place_.shared + L::key + stage % 2 * 2 * kHaloedBytes;
    ptx::copy_in(key, &z_map_, barrier, width_ + place_.column, row - kHalo, place_.batch);
    ptx::copy_in(key + kHaloedBytes, &z_map_, barrier, 2 * width_ + place_.column, row - kHalo, place_.batch);
  }
  __device__ void fetched() {
    query_.advance();
    dy_.advance();
  }

  const Place& place_;
  const Walk<Window>& walk_;
  const int width_;
  const CUtensorMap &z_map_, &dy_map_, &dz_map_;
  Ring<L::query_slots> query_;  // of the stage that is asked for next
  Ring<L::dy_slots> dy_, late_dy_;
};

}  // namespace striped::cuda::fir
