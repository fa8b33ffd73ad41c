#include "hyena_short.h"

#include "hyena_general.h"
#include "hyena_short_walk.cuh"
#include "launch.h"
#include "strips.h"

// A warp walks along a strip of time with 4 bytes of channels a lane, a stage of eight tokens at a time. What
// filters reach back to stays in registers, at the token's place in its stage: a filter reaches no further
// than the place that comes round next. With u = k' ⊙ v', g = dy ⊙ q', c = h ∗ u + d ⊙ u and du = h ⋆ g + d ⊙
// g, the token t completes
//   dq' = dy ⊙ c of t,  dz of q two tokens back,  du of t - 6,  dz of k and v of t - 8.
namespace striped::cuda {
namespace {

using namespace short_filter;

constexpr int kForwardBlocks = 2, kBackwardBlocks = 2;  // a multiprocessor

template <class T>
__global__ __launch_bounds__(kWarps * 32, kForwardBlocks) void forward_kernel(const Arguments<T> a,
                                                                              int strip_rows, T* y) {
  using Inputs = Stages<T, 3, 0>;
  const Place<T> p(a, strip_rows, Inputs::kBytes);
  if (p.column >= a.tensors.width) return;
  Inputs inputs(a, p, p.begin - kStep);
  Weights<kOwn<T>> w(a, p);
  Own<T> u[kStep];
  const auto gate = [&](int i) {
    const Own<T> k = inputs.row(1, i), v = inputs.row(2, i);
    u[i] = w.k.features(k) * w.v.features(v);
    w.k.pass(k);
    w.v.pass(v);
  };
  inputs.advance();
#pragma unroll
  for (int i = 0; i < kStep; ++i) {
    gate(i);
    w.q.pass(inputs.row(0, i));
  }
  const int end = p.channel < a.tensors.width ? p.end : 0;
  T* out =
      y + (static_cast<std::int64_t>(p.batch) * a.tensors.length + p.begin) * a.tensors.width + p.channel;
  for (int first = p.begin; first < p.end; first += kStep) {
    inputs.advance();
#pragma unroll
    for (int i = 0; i < kStep; ++i) {
      gate(i);
      const Own<T> q = inputs.row(0, i), value = w.q.features(q) * w.convolve(u, i);
      w.q.pass(q);
      if (first + i < end) store<kOwn<T>>(out, value.of);
      out += a.tensors.width;
    }
  }
}

// k' or v' and what becomes of its gradient, `kReach` tokens later.
template <class T>
struct Partner {
  std::uint32_t features[kStep] = {};
  Own<T> z_past[kFeaturizerTaps - 1] = {};
  FeaturizerGradient<kOwn<T>> gradient;
};

enum class Phase { before, within, behind };  // the strip

template <class T>
class Backward {
  static constexpr int N = kOwn<T>;

 public:
  using Inputs = Stages<T, 4, 1>;

  __device__ Backward(const Arguments<T>& a, const Place<T>& p, T* dz)
      : inputs_(a, p, p.begin - kStep), w_(a, p), begin_(p.begin), width_(a.tensors.width) {
    rows_ = p.channel < a.tensors.width ? a.tensors.length - begin_ : 0;
    dz_ = dz + static_cast<std::int64_t>(p.batch) * a.tensors.length * 3 * width_ + p.channel;
  }

  template <Phase phase>
  __device__ void stage(int first) {
    inputs_.advance();
#pragma unroll
    for (int i = 0; i < kStep; ++i) token<phase>(first + i, i);
  }

  __device__ void store_sums(const Partials& partials, const Arguments<T>& a, const Place<T>& p) const {
    if (p.channel >= width_) return;
    const std::int64_t part = static_cast<std::int64_t>(p.batch) * gridDim.y + blockIdx.y;
#pragma unroll
    for (int j = 0; j < kTaps; ++j) {
      if (j < a.filter.count)
        store<N>(partials.filter + (part * a.filter.count + j) * width_ + p.channel, filter_[j].of);
    }
    if (partials.skip != nullptr) store<N>(partials.skip + part * width_ + p.channel, filter_[0].of);
#pragma unroll
    for (int i = 0; i < kFeaturizerTaps; ++i) {
      if (i >= a.tensors.featurizer_taps) break;
      float* const row =
          partials.featurizer + (part * a.tensors.featurizer_taps + i) * 3 * width_ + p.channel;
      store<N>(row, query_.sums[i].of);
      store<N>(row + width_, k_.gradient.sums[i].of);
      store<N>(row + 2 * static_cast<std::int64_t>(width_), v_.gradient.sums[i].of);
    }
  }

 private:
  template <Phase phase>
  __device__ void token(int t, int i) {
    constexpr bool is_own = phase == Phase::within;
    const Own<T> zq = inputs_.row(0, i), zk = inputs_.row(1, i), zv = inputs_.row(2, i);
    const Own<T> k = w_.k.features(zk), v = w_.v.features(zv);
    w_.k.pass(zk);
    w_.v.pass(zv);
    u_[i] = k * v;
    if constexpr (phase != Phase::before) {
      const Own<T> dy = inputs_.row(3, i);
      g_[i] = dy * w_.q.features(zq);
      if (is_own || i < kFeaturizerTaps - 1) {
        const Own<T> d = dy * w_.convolve(u_, i), dz = query_.pass(w_.q, d, zq, w_.q.past, is_own);
        write(t - (kFeaturizerTaps - 1), 0, dz);
      }
      if constexpr (is_own) {
#pragma unroll
        for (int j = 0; j < kTaps; ++j) filter_[j].add_product(g_[i], u_[(i + kStep - j) % kStep]);
      }
      const Own<T> du = w_.correlate(g_, i);
      const int late = (i + kStep - kReach) % kStep;
      const Own<T> dk = du * unpacked<T>(v_.features[late]), dv = du * unpacked<T>(k_.features[late]);
      finish<phase>(t, i, 1, w_.k, dk, k_);
      finish<phase>(t, i, 2, w_.v, dv, v_);
      k_.features[i] = packed<T>(k);
      v_.features[i] = packed<T>(v);
    }
    w_.q.pass(zq);
  }
  template <Phase phase>
  __device__ void finish(int t, int i, int array, const Featurizer<N>& featurizer, const Own<T>& d,
                         Partner<T>& of) {
    const Own<T> z =
        i < kReach ? inputs_.row_before(array, i + kStep - kReach) : inputs_.row(array, i - kReach);
    const bool counts = phase == Phase::within || i < kReach;
    const Own<T> dz = of.gradient.pass(featurizer, d, z, of.z_past, counts);
    of.z_past[1] = of.z_past[0];
    of.z_past[0] = z;
    write(t - kBehind, array, dz);
  }
  // Rows before the strip and behind the sequence are not its own.
  __device__ void write(int token, int part, const Own<T>& value) const {
    if (static_cast<unsigned>(token - begin_) < static_cast<unsigned>(rows_))
      store<N>(dz_ + (static_cast<std::int64_t>(token) * 3 + part) * width_, value.of);
  }

  Inputs inputs_;
  Weights<N> w_;
  const int begin_, width_;
  int rows_;
  T* dz_;
  Own<T> u_[kStep], g_[kStep] = {}, filter_[kTaps] = {};  // rings; the filter's gradient
  FeaturizerGradient<N> query_;
  Partner<T> k_, v_;
};

template <class T>
__global__ __launch_bounds__(kWarps * 32, kBackwardBlocks) void backward_kernel(const Arguments<T> a,
                                                                                int strip_rows, T* dz,
                                                                                const Partials partials) {
  const Place<T> p(a, strip_rows, Backward<T>::Inputs::kBytes);
  if (p.column >= a.tensors.width) return;
  Backward<T> backward(a, p, dz);
  backward.template stage<Phase::before>(p.begin - kStep);
  int first = p.begin;
  for (; first < p.end; first += kStep) backward.template stage<Phase::within>(first);
  backward.template stage<Phase::behind>(first);
  backward.store_sums(partials, a, p);
}

template <class T>
Strips cut_strips(const HyenaShape& shape, int blocks_per_multiprocessor, int fewest_waves) {
  return strips_of(shape.length, ceil_div(shape.width, kBlockChannels<T>) * shape.batch,
                   blocks_per_multiprocessor, {kStep, 8 * kStep, 6 * kStep, fewest_waves});
}
template <class T>
Strips forward_strips(const HyenaShape& shape) {
  return cut_strips<T>(shape, kForwardBlocks, 6);  // waits for memory alone
}
template <class T>
Strips backward_strips(const HyenaShape& shape) {
  return cut_strips<T>(shape, kBackwardBlocks, 1);
}

template <class T>
dim3 grid_of(const HyenaShape& shape, const Strips& strips) {
  return dim3(static_cast<unsigned>(ceil_div(shape.width, kBlockChannels<T>)),
              static_cast<unsigned>(strips.per_sequence), static_cast<unsigned>(shape.batch));
}

template <class T>
void forward(const HyenaShape& shape, const HyenaWeights& weights, const void* z, void* y,
             cudaStream_t stream) {
  const Strips strips = forward_strips<T>(shape);
  launch<forward_kernel<T>>(grid_of<T>(shape, strips), kWarps * 32, kWarps * Stages<T, 3, 0>::kBytes, stream,
                            direct::arguments_of<T>(shape, weights, {}, z, nullptr), strips.rows,
                            static_cast<T*>(y));
}

template <class T>
void backward(const HyenaShape& shape, const HyenaWeights& weights, const void* z, const void* dy, void* dz,
              const HyenaGradients& gradients, void* workspace, cudaStream_t stream) {
  const Strips strips = backward_strips<T>(shape);
  const std::int64_t parts = shape.batch * strips.per_sequence;
  const Partials partials = partials_in(workspace, shape, parts);
  launch<backward_kernel<T>>(grid_of<T>(shape, strips), kWarps * 32, kWarps * Backward<T>::Inputs::kBytes,
                             stream, direct::arguments_of<T>(shape, weights, {}, z, dy), strips.rows,
                             static_cast<T*>(dz), partials);
  add_partials(shape, weights, partials, parts, gradients, stream);
}

}  // namespace

bool short_supports(const HyenaShape& shape, ElementType type) {
  const bool wide = type == ElementType::bf16 ? is_wide<bf16>(shape.width) : is_wide<float>(shape.width);
  return shape.kind != HyenaKind::long_implicit && shape.taps <= kTaps &&
         shape.featurizer_taps <= kFeaturizerTaps && wide;
}

std::size_t short_workspace(const HyenaShape& shape, ElementType type) {
  const Strips strips =
      type == ElementType::bf16 ? backward_strips<bf16>(shape) : backward_strips<float>(shape);
  return partials_bytes(shape, shape.batch * strips.per_sequence);
}

void short_forward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type, const void* z,
                   void* y, cudaStream_t stream) {
  if (type == ElementType::bf16) return forward<bf16>(shape, weights, z, y, stream);
  forward<float>(shape, weights, z, y, stream);
}

void short_backward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type, const void* z,
                    const void* dy, void* dz, const HyenaGradients& gradients, void* workspace,
                    cudaStream_t stream) {
  if (type == ElementType::bf16)
    return backward<bf16>(shape, weights, z, dy, dz, gradients, workspace, stream);
  backward<float>(shape, weights, z, dy, dz, gradients, workspace, stream);
}

}  // namespace striped::cuda
