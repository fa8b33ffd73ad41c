#include "hyena_modal_scan.h"

#include <utility>

#include "hyena_elements.cuh"
#include "launch.h"

// Time is cut into chunks of 64 tokens; a thread has one channel of one chunk and runs the recurrences of all
// its modes in registers. Three passes: states that each chunk leaves when entered with zero; a serial pass
// over chunks, in double precision with exp(64 · log λ), that makes of them the states each chunk is entered
// with; and the chunks again.
//
// Backward, with u = k' ⊙ v', g = dy ⊙ q' and, for each mode, s_t = λ·s_{t-1} + u_t, m_t = λ·(m_{t-1} +
// s_{t-1}) (m = 0 at a chunk's start), p_t = λ·p_{t+1} + g_t (P: p at the start of the next chunk):
//   dR = Σ_t g_t·s_t,   d log λ = R·(Σ_t g_t·m_t + Σ_chunks λ·P·m_last).
// A piece of a sequence (`piece`) differs in what its first and last chunk are entered with, and so in that
// its last chunk ends where the piece does. What states come to over pieces is that of the whole: a step of
// time from s_{t-1} to p_t counts in the chunk of t.
namespace striped::cuda::modal {
namespace {

using namespace general;

constexpr int kChunk = 64, kLanes = 64;

struct Modes {
  const float *residues, *log_poles;
  int order, group_size;
  __device__ std::int64_t at(int channel, int n) const {
    return static_cast<std::int64_t>(channel / group_size) * order + n;
  }
};

template <class T>
struct Arguments {
  Tensors<T> tensors;
  Modes modes;
  const float* skip;
  float *entering,
      *leaving;  // [batch, chunks, order, width]: states u enters a chunk with, g leaves it with (P)
};

// States at the ends of pieces, [batch, order, width]: what u enters them with, g leaves them with, and what
// one of the two becomes at the other end. Each may be null.
struct Ends {
  const float *before, *after;
  float* beyond;
};

struct Place {
  int channel, chunk, first, batch;
  __device__ Place()
      : channel(blockIdx.x * kLanes + threadIdx.x),
        chunk(blockIdx.y),
        first(chunk * kChunk),
        batch(blockIdx.z) {}
  // Of mode 0 of this chunk and channel.
  __device__ std::int64_t state(int order, int width) const {
    return (static_cast<std::int64_t>(batch) * gridDim.y + chunk) * order * width + channel;
  }
};

template <int N>
struct Filter {
  float pole[N], residue[N];
  __device__ Filter(const Modes& modes, int channel) {
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const bool real = n < modes.order;
      pole[n] =
          real ? static_cast<float>(exp(static_cast<double>(modes.log_poles[modes.at(channel, n)]))) : 0.0f;
      residue[n] = real ? modes.residues[modes.at(channel, n)] : 0.0f;
    }
  }
};

constexpr int kStep = 8;  // tokens featurized at a time

template <class T, int N, bool piece>
__global__ __launch_bounds__(kLanes) void states_kernel(const Arguments<T> a, bool gradients) {
  const Place p;
  if (p.channel >= a.tensors.width) return;
  const Filter<N> filter(a.modes, p.channel);
  const Projection<T, piece> k(a.tensors, p.batch, 1, p.channel), v(a.tensors, p.batch, 2, p.channel),
      q(a.tensors, p.batch, 0, p.channel);
  float s[N] = {}, r[N] = {}, power[N];
#pragma unroll
  for (int n = 0; n < N; ++n) power[n] = 1;
  for (int t = p.first; t < p.first + kChunk; t += kStep) {
    float x[kStep], by[kStep];
    k.run(t, x);
    v.run(t, by);
#pragma unroll
    for (int i = 0; i < kStep; ++i) {
      if (piece && t + i >= a.tensors.length) break;
#pragma unroll
      for (int n = 0; n < N; ++n) s[n] = filter.pole[n] * s[n] + x[i] * by[i];
    }
    if (!gradients) continue;
    const OutputGradient<T> dy(a.tensors, p.batch, p.channel);
    q.run(t, x);
#pragma unroll
    for (int i = 0; i < kStep; ++i) {
      const float g = x[i] * dy(t + i);
#pragma unroll
      for (int n = 0; n < N; ++n) {
        r[n] += power[n] * g;
        power[n] *= filter.pole[n];
      }
    }
  }
  const std::int64_t at = p.state(a.modes.order, a.tensors.width);
  for (int n = 0; n < N; ++n) {
    if (n >= a.modes.order) break;
    a.entering[at + static_cast<std::int64_t>(n) * a.tensors.width] = s[n];
    if (gradients) a.leaving[at + static_cast<std::int64_t>(n) * a.tensors.width] = r[n];
  }
}

// From what each chunk leaves to what it is entered with, in place; blockIdx.y: batch, direction +
// blockIdx.z: 1 for g, backwards.
template <class T>
__global__ void combine_kernel(const Arguments<T> a, const Ends ends, int chunks, int direction) {
  const std::int64_t row = static_cast<std::int64_t>(a.modes.order) * a.tensors.width;
  const std::int64_t i = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x;
  if (i >= row) return;
  const int channel = static_cast<int>(i % a.tensors.width), n = static_cast<int>(i / a.tensors.width);
  const double log_pole = a.modes.log_poles[a.modes.at(channel, n)], factor = exp(log_pole * kChunk),
               last_factor = exp(log_pole * (a.tensors.length - (chunks - 1) * kChunk));
  const bool backwards = direction + blockIdx.z == 1;
  float* states = (backwards ? a.leaving : a.entering) + blockIdx.y * chunks * row + i;
  const float* outside = backwards ? ends.after : ends.before;
  double state = outside == nullptr ? 0.0f : outside[blockIdx.y * row + i];
  constexpr int batch = 8;  // loads in flight
  for (int c = 0; c < chunks; c += batch) {
    float left[batch];
#pragma unroll
    for (int j = 0; j < batch; ++j) {
      if (c + j < chunks) left[j] = states[(backwards ? chunks - 1 - c - j : c + j) * row];
    }
#pragma unroll
    for (int j = 0; j < batch; ++j) {
      if (c + j >= chunks) break;
      const int chunk = backwards ? chunks - 1 - c - j : c + j;
      states[chunk * row] = static_cast<float>(state);
      state = state * (chunk == chunks - 1 ? last_factor : factor) + left[j];
    }
  }
  if (ends.beyond != nullptr) ends.beyond[blockIdx.y * row + i] = static_cast<float>(state);
}

template <class T, int N, bool piece>
__global__ __launch_bounds__(kLanes) void forward_kernel(const Arguments<T> a, T* y) {
  const Place p;
  if (p.channel >= a.tensors.width) return;
  const Filter<N> filter(a.modes, p.channel);
  const Projection<T, piece> q(a.tensors, p.batch, 0, p.channel), k(a.tensors, p.batch, 1, p.channel),
      v(a.tensors, p.batch, 2, p.channel);
  const float skip = a.skip == nullptr ? 0.0f : a.skip[p.channel];
  const std::int64_t at = p.state(a.modes.order, a.tensors.width);
  float s[N];
#pragma unroll
  for (int n = 0; n < N; ++n) {
    s[n] = n < a.modes.order ? a.entering[at + static_cast<std::int64_t>(n) * a.tensors.width] : 0.0f;
  }
  for (int t = p.first; t < min(p.first + kChunk, a.tensors.length); t += kStep) {
    float gate[kStep], u[kStep], by[kStep];
    q.run(t, gate);
    k.run(t, u);
    v.run(t, by);
#pragma unroll
    for (int i = 0; i < kStep; ++i) {
      u[i] *= by[i];
      float sum = skip * u[i];
#pragma unroll
      for (int n = 0; n < N; ++n) {
        s[n] = filter.pole[n] * s[n] + u[i];
        sum += filter.residue[n] * s[n];
      }
      if (t + i < a.tensors.length) {
        y[(static_cast<std::int64_t>(p.batch) * a.tensors.length + t + i) * a.tensors.width + p.channel] =
            from_float<T>(gate[i] * sum);
      }
    }
  }
}

// The states of a chunk are read by its own threads only, so they make way for its share of the gradients: dR
// in `entering`, d log λ in `leaving`. `reach` is that of pieces, [batch, min(taps - 1, length), 3·width].
template <class T, int N, bool piece>
__global__ __launch_bounds__(kLanes) void backward_kernel(const Arguments<T> a,
                                                          const ProjectionGradient<T> out, T* reach,
                                                          float* skip_partials) {
  __shared__ float keys[kChunk][kLanes], values[kChunk][kLanes], gradients[kChunk][kLanes];
  const Place p;
  if (p.channel >= a.tensors.width) return;
  const int lane = threadIdx.x;
  const Filter<N> filter(a.modes, p.channel);
  const OutputGradient<T> dy(a.tensors, p.batch, p.channel);
  const float skip = a.skip == nullptr ? 0.0f : a.skip[p.channel];
  const std::int64_t at = p.state(a.modes.order, a.tensors.width), width = a.tensors.width;
  const int rows = piece ? min(kChunk, a.tensors.length - p.first) : kChunk;
  const auto write = [&](int t, int part, float d) {
    const int token = p.first + t, edge = min(out.taps - 1, out.length);
    out.write(p.batch, token, part, p.channel, d);
    if (!piece || token >= edge) return;
    reach[((static_cast<std::int64_t>(p.batch) * edge + token) * 3 + part) * width + p.channel] =
        from_float<T>(d);
  };
  float p_next[N];
  float d_skip = 0;
  {
    const Projection<T, piece> q(a.tensors, p.batch, 0, p.channel), k(a.tensors, p.batch, 1, p.channel),
        v(a.tensors, p.batch, 2, p.channel);
    float s[N], m[N] = {}, d_residue[N] = {}, d_pole[N] = {};
#pragma unroll
    for (int n = 0; n < N; ++n) s[n] = n < a.modes.order ? a.entering[at + n * width] : 0.0f;
    for (int t = 0; t < kChunk; t += kStep) {
      float gate[kStep], key[kStep], value[kStep];
      q.run(p.first + t, gate);
      k.run(p.first + t, key);
      v.run(p.first + t, value);
#pragma unroll
      for (int i = 0; i < kStep; ++i) {
        if (piece && t + i >= rows) break;
        const float u = key[i] * value[i], d_out = dy(p.first + t + i), g = d_out * gate[i];
        keys[t + i][lane] = key[i];
        values[t + i][lane] = value[i];
        gradients[t + i][lane] = g;
        d_skip += g * u;
        float sum = skip * u;
#pragma unroll
        for (int n = 0; n < N; ++n) {
          m[n] = filter.pole[n] * (m[n] + s[n]);
          s[n] = filter.pole[n] * s[n] + u;
          sum += filter.residue[n] * s[n];
          d_residue[n] += g * s[n];
          d_pole[n] += g * m[n];
        }
        write(t + i, 0, d_out * sum);
      }
    }
#pragma unroll
    for (int n = 0; n < N; ++n) {
      p_next[n] = 0;
      if (n >= a.modes.order) continue;
      p_next[n] = a.leaving[at + n * width];
      a.entering[at + n * width] = d_residue[n];
      a.leaving[at + n * width] = filter.residue[n] * (d_pole[n] + filter.pole[n] * p_next[n] * m[n]);
    }
  }
  for (int t = rows - 1; t >= 0; --t) {
    const float g = gradients[t][lane];
    float du = skip * g;
#pragma unroll
    for (int n = 0; n < N; ++n) {
      p_next[n] = filter.pole[n] * p_next[n] + g;
      du += filter.residue[n] * p_next[n];
    }
    write(t, 1, du * values[t][lane]);
    write(t, 2, du * keys[t][lane]);
  }
  if (skip_partials != nullptr) {
    skip_partials[(static_cast<std::int64_t>(p.batch) * gridDim.y + p.chunk) * width + p.channel] = d_skip;
  }
}

struct Sizes {
  std::int64_t parts, states, reach, featurizer, skip;  // floats but for `parts`
  explicit Sizes(const HyenaShape& s)
      : parts(s.batch * ceil_div(s.length, kChunk)),
        states(parts * s.order * s.width),
        reach(reach_size(s, kChunk)),
        featurizer(featurizer_partials_size(s, kChunk)),
        skip(parts * s.width) {}
};

dim3 grid_of(const HyenaShape& shape) {
  return dim3(static_cast<unsigned>(ceil_div(shape.width, kLanes)),
              static_cast<unsigned>(ceil_div(shape.length, kChunk)), static_cast<unsigned>(shape.batch));
}

template <class T>
Arguments<T> arguments_of(const HyenaShape& shape, const HyenaWeights& weights,
                          const HyenaSurroundings* around, const void* z, const void* dy, void* workspace) {
  float* states = static_cast<float*>(workspace);
  return {tensors_of<T>(shape, weights, z, dy, around == nullptr ? nullptr : around->projections),
          {static_cast<const float*>(weights.residues), static_cast<const float*>(weights.log_poles),
           shape.order, static_cast<int>(shape.width / shape.groups)},
          shape.has_skip ? static_cast<const float*>(weights.skip) : nullptr,
          states,
          states + Sizes(shape).states};
}

enum class Direction { forwards, backwards, both };

template <class T, int N, bool piece>
void find_states(const HyenaShape& shape, const Arguments<T>& a, const Ends& ends, const Arrived& arrived,
                 Direction direction, cudaStream_t stream) {
  const dim3 grid = grid_of(shape);
  launch<states_kernel<T, N, piece>>(grid, kLanes, 0, stream, a, direction != Direction::forwards);
  arrived();
  const dim3 combine(static_cast<unsigned>(ceil_div(shape.width * shape.order, 128)),
                     static_cast<unsigned>(shape.batch), direction == Direction::both ? 2 : 1);
  launch<combine_kernel<T>>(combine, 128, 0, stream, a, ends, static_cast<int>(grid.y),
                            direction == Direction::backwards ? 1 : 0);
}

Ends ends_of(const HyenaSurroundings* around) {
  if (around == nullptr) return {};
  return {static_cast<const float*>(around->before), static_cast<const float*>(around->after), nullptr};
}

template <class T, int N, bool piece>
void forward(const HyenaShape& shape, const HyenaWeights& weights, const HyenaSurroundings* around,
             const Arrived& arrived, const void* z, void* y, void* workspace, cudaStream_t stream) {
  const Arguments<T> a = arguments_of<T>(shape, weights, around, z, nullptr, workspace);
  find_states<T, N, piece>(shape, a, ends_of(around), arrived, Direction::forwards, stream);
  launch<forward_kernel<T, N, piece>>(grid_of(shape), kLanes, 0, stream, a, static_cast<T*>(y));
}

template <class T, int N, bool piece>
void backward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type,
              const HyenaSurroundings* around, const Arrived& arrived, const void* z, const void* dy,
              void* dz, void* reach, const HyenaGradients& gradients, void* workspace, cudaStream_t stream) {
  const Sizes sizes(shape);
  const Arguments<T> a = arguments_of<T>(shape, weights, around, z, dy, workspace);
  float* next = a.leaving + sizes.states;
  const auto take = [&](std::int64_t count) { return std::exchange(next, next + count); };
  const FeaturizerScratch scratch{take(sizes.reach), take(sizes.featurizer)};
  float* skip = shape.has_skip ? take(sizes.skip) : nullptr;

  find_states<T, N, piece>(shape, a, ends_of(around), arrived, Direction::both, stream);
  launch<backward_kernel<T, N, piece>>(grid_of(shape), kLanes, 0, stream, a,
                                       projection_gradient<T>(shape, dz, scratch.reach, kChunk),
                                       static_cast<T*>(reach), skip);
  featurizer_backward(shape, weights, type, a.tensors.projections, z, dz, kChunk, scratch,
                      gradients.featurizer, stream);
  reduce({{a.entering, sizes.parts, shape.order, shape.width, shape.groups, gradients.residues},
          {a.leaving, sizes.parts, shape.order, shape.width, shape.groups, gradients.log_poles},
          {skip, sizes.parts, 1, shape.width, shape.width, gradients.skip}},
         stream);
}

// Calls f<T, N, piece>() for the element type, the registers that the modes need, and pieces or not.
template <bool piece, class F>
void with_types(const HyenaShape& shape, ElementType type, const F& f) {
  const bool narrow = shape.order <= 16;
  if (type == ElementType::bf16) {
    narrow ? f.template operator()<bf16, 16, piece>() : f.template operator()<bf16, kMaxOrder, piece>();
  } else {
    narrow ? f.template operator()<float, 16, piece>() : f.template operator()<float, kMaxOrder, piece>();
  }
}
template <class F>
void with_types(const HyenaShape& shape, ElementType type, bool piece, const F& f) {
  piece ? with_types<true>(shape, type, f) : with_types<false>(shape, type, f);
}

}  // namespace

std::size_t scan_workspace(const HyenaShape& shape) {
  const Sizes sizes(shape);
  return static_cast<std::size_t>(2 * sizes.states + sizes.reach + sizes.featurizer + sizes.skip) *
         sizeof(float);
}

void scan_forward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type,
                  const HyenaSurroundings* around, const Arrived& arrived, const void* z, void* y,
                  void* workspace, cudaStream_t stream) {
  with_types(shape, type, around != nullptr, [&]<class T, int N, bool piece>() {
    forward<T, N, piece>(shape, weights, around, arrived, z, y, workspace, stream);
  });
}

void scan_backward(const HyenaShape& shape, const HyenaWeights& weights, ElementType type,
                   const HyenaSurroundings* around, const Arrived& arrived, const void* z, const void* dy,
                   void* dz, void* reach, const HyenaGradients& gradients, void* workspace,
                   cudaStream_t stream) {
  with_types(shape, type, around != nullptr, [&]<class T, int N, bool piece>() {
    backward<T, N, piece>(shape, weights, type, around, arrived, z, dy, dz, reach, gradients, workspace,
                          stream);
  });
}

void scan_states(const HyenaShape& shape, const HyenaWeights& weights, ElementType type,
                 const void* projections, const void* z, const void* dy, float* states, void* workspace,
                 cudaStream_t stream) {
  const HyenaSurroundings around{projections, nullptr, nullptr};
  with_types<true>(shape, type, [&]<class T, int N, bool piece>() {
    find_states<T, N, piece>(
        shape, arguments_of<T>(shape, weights, &around, z, dy, workspace), {nullptr, nullptr, states}, [] {},
        dy == nullptr ? Direction::forwards : Direction::backwards, stream);
  });
}

}  // namespace striped::cuda::modal
