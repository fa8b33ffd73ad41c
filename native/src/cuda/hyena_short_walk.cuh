// How a warp of the short-filter kernels walks along a strip of time: its rows, its weights, its lanes'
// channels.
#pragma once

#include "hyena_direct.cuh"
#include "hyena_values.cuh"

namespace striped::cuda::short_filter {

using namespace general;

constexpr int kTaps = 7, kFeaturizerTaps = kFewTaps;
constexpr int kStep = 8;                               // tokens of a stage
constexpr int kReach = kTaps - 1;                      // tokens
constexpr int kBehind = kReach + kFeaturizerTaps - 1;  // of dz of k and v; a stage
static_assert(kBehind == kStep);
constexpr int kSlots = 4;  // stages in shared memory
constexpr int kWarps = 4;
constexpr int kRowBytes = 32 * 4;  // of a warp

template <class T>
constexpr int kBlockChannels = kWarps * 32 * kOwn<T>;

template <class T>
using Arguments = direct::Arguments<T>;

// What a lane works on: its first channel in a strip of a sequence.
template <class T>
struct Place {
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int column = blockIdx.x * kBlockChannels<T> + warp * 32 * kOwn<T>;  // of the warp
  int channel = column + lane * kOwn<T>, batch = blockIdx.z, begin, end;
  std::uint32_t shared;
  __device__ Place(const Arguments<T>& a, int strip_rows, int warp_bytes) {
    begin = blockIdx.y * strip_rows;
    end = min(begin + strip_rows, a.tensors.length);
    shared = ptx::shared_address(ptx::dynamic_shared()) + warp * warp_bytes;
  }
};

// Rows of q, k and v and, of four arrays, dy, in shared memory: the current stage, `kept` before it, and
// those that are on their way. A warp fetches its own, so that none waits for another.
template <class T, int arrays, int kept>
class Stages {
  static constexpr int kAhead = kSlots - 1 - kept;
  static constexpr int kArrayBytes = kStep * kRowBytes, kSlotBytes = arrays * kArrayBytes;
  static constexpr int kCopies = kRowBytes / 16;  // lanes that fetch a row

 public:
  static constexpr int kBytes = kSlots * kSlotBytes;  // of a warp

  __device__ Stages(const Arguments<T>& a, const Place<T>& p, int first)
      : length_(a.tensors.length), width_(a.tensors.width) {
    const int column = p.column + p.lane % kCopies * kWide<T>;
    rows_ = column < width_ ? length_ : 0;
    row_ = p.lane / kCopies;
    to_ = p.shared + row_ * kRowBytes + p.lane % kCopies * 16;
    from_ = p.shared + p.lane * 4;
    z_ = a.tensors.z + static_cast<std::int64_t>(p.batch) * length_ * 3 * width_ + column;
    dy_ = a.tensors.dy + static_cast<std::int64_t>(p.batch) * length_ * width_ + column;
    next_ = first;
    for (int stage = 0; stage < kAhead; ++stage) fetch(stage);
  }
  // The next stage becomes the current one, the first one at first.
  __device__ void advance() {
    slot_ = (slot_ + 1) % kSlots;
    ptx::copy_async_wait<kAhead - 1>();
    __syncwarp();
    fetch((slot_ + kAhead) % kSlots);
  }
  __device__ Own<T> row(int array, int i) const { return at(slot_, array, i); }
  __device__ Own<T> row_before(int array, int i) const { return at((slot_ + kSlots - 1) % kSlots, array, i); }

 private:
  __device__ Own<T> at(int slot, int array, int i) const {
    return unpacked<T>(ptx::load_shared(from_ + slot * kSlotBytes + array * kArrayBytes + i * kRowBytes));
  }
  __device__ void fetch(int slot) {
#pragma unroll
    for (int row = 0; row < kStep; row += 32 / kCopies) {
      const int token = next_ + row_ + row;
      const bool valid = token >= 0 && token < rows_;
      const std::uint32_t to = to_ + slot * kSlotBytes + row * kRowBytes;
      const T* const z = z_ + static_cast<std::int64_t>(token) * 3 * width_;
#pragma unroll
      for (int part = 0; part < 3; ++part)
        ptx::copy_async(to + part * kArrayBytes, z + static_cast<std::int64_t>(part) * width_, valid);
      if constexpr (arrays == 4)
        ptx::copy_async(to + 3 * kArrayBytes, dy_ + static_cast<std::int64_t>(token) * width_, valid);
    }
    ptx::copy_async_commit();
    next_ += kStep;
  }

  const int length_, width_;
  const T *z_, *dy_;
  int rows_, row_, next_, slot_ = kSlots - 1;
  std::uint32_t to_, from_;
};

template <int N>
struct Weights {
  Featurizer<N> q, k, v;
  Values<N> filter[kTaps];  // the first with the skip

  template <class T>
  __device__ Weights(const Arguments<T>& a, const Place<T>& p) {
    const auto& tensors = a.tensors;
    Featurizer<N>* const parts[] = {&q, &k, &v};
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const int channel = min(p.channel + n, tensors.width - 1);
#pragma unroll
      for (int part = 0; part < 3; ++part) {
        const float* taps = tensors.featurizer + (static_cast<std::int64_t>(part) * tensors.width + channel) *
                                                     tensors.featurizer_taps;
#pragma unroll
        for (int i = 0; i < kFeaturizerTaps; ++i)
          parts[part]->taps[i].of[n] = i < tensors.featurizer_taps ? taps[i] : 0.0f;
      }
      // As Filter::tap, with one division for all.
      const std::int64_t group = static_cast<std::int64_t>(channel / a.filter.group_size) * a.filter.count;
#pragma unroll
      for (int j = 0; j < kTaps; ++j) {
        float tap = j < a.filter.count ? a.filter.taps[group + j] : 0.0f;
        if (j < a.filter.count && a.filter.decay != nullptr) tap *= a.filter.decay[group + j];
        filter[j].of[n] = tap;
      }
      if (a.skip != nullptr) filter[0].of[n] += a.skip[channel];
    }
  }
  // Σ_j h_j·x_(t-j), x in a ring of the last eight, t's in place i.
  __device__ Values<N> convolve(const Values<N> (&x)[kStep], int i) const {
    Values<N> sum = filter[0] * x[i];
#pragma unroll
    for (int j = 1; j < kTaps; ++j) sum.add_product(filter[j], x[(i + kStep - j) % kStep]);
    return sum;
  }
  // Σ_j h_j·x_(t-6+j): of six tokens back, by those behind it.
  __device__ Values<N> correlate(const Values<N> (&x)[kStep], int i) const {
    Values<N> sum = filter[kReach] * x[i];
#pragma unroll
    for (int j = 0; j < kReach; ++j) sum.add_product(filter[j], x[(i + kStep - kReach + j) % kStep]);
    return sum;
  }
};

}  // namespace striped::cuda::short_filter
