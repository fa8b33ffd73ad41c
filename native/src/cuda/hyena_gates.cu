#include "hyena_gates.h"

#include <algorithm>

#include "device.h"
#include "hyena_general.h"
#include "launch.h"
#include "vector.cuh"

// Bound by memory: a thread has N channels side by side, 16 bytes of them where the width and the pointers
// allow, of four tokens at a time, and a warp 32·N channels. Rows that the featurizer reads again come from
// the caches.
namespace striped::cuda {
namespace {

using general::kMaxFeaturizerTaps;

constexpr int kLanes = 32, kWarps = 8, kRun = 4, kTile = kWarps * kRun;
constexpr int kBlockRows = 128;  // of featurizer_backward
constexpr int kThreads = 256;

template <class T>
struct Arguments {
  const T *z, *projections;
  const float* featurizer;
  int length, width, taps;
  int first, end;  // the tokens that are computed

  // Null where there is none.
  __device__ const T* row(int batch, int token) const {
    const std::int64_t columns = std::int64_t{3} * width;
    if (token >= 0) return z + (static_cast<std::int64_t>(batch) * length + token) * columns;
    if (projections == nullptr) return nullptr;
    return projections + (static_cast<std::int64_t>(batch + 1) * (taps - 1) + token) * columns;
  }
};

// The block's channels and the featurizer's taps for them.
template <int N>
struct alignas(16) Taps {
  float values[2][kMaxFeaturizerTaps][kLanes * N];

  // Of `parts` projections from part `first` on.
  template <class T>
  __device__ void fetch(const Arguments<T>& a, int first, int parts) {
    const int channel = static_cast<int>(blockIdx.x) * kLanes * N;
    const int count = min(kLanes * N, a.width - channel) * a.taps;
    for (int part = 0; part < parts; ++part) {
      const float* from =
          a.featurizer + (static_cast<std::int64_t>(first + part) * a.width + channel) * a.taps;
      for (int i = threadIdx.y * kLanes + threadIdx.x; i < count; i += kLanes * kWarps)
        values[part][i % a.taps][i / a.taps] = from[i];
    }
    __syncthreads();
  }
};

// Features of tokens first … first + 3 of this thread's channels: part 0, 1, 2 for q, k, v; `index`: the
// part's taps in `taps`.
template <class T, int N>
__device__ void featurize(const Arguments<T>& a, const Taps<N>& taps, int index, int part, int channel,
                          int first, float (&out)[kRun][N]) {
#pragma unroll
  for (int r = 0; r < kRun; ++r) {
#pragma unroll
    for (int i = 0; i < N; ++i) out[r][i] = 0;
  }
  for (int f = 0; f < a.taps; ++f) {
    float tap[N];
    load_real<N>(taps.values[index][f] + threadIdx.x * N, tap);
#pragma unroll
    for (int r = 0; r < kRun; ++r) {
      if (first + r >= a.end) break;
      const T* row = a.row(blockIdx.z, first + r - f);
      if (row == nullptr) continue;
      float z[N];
      load<N>(row + static_cast<std::int64_t>(part) * a.width + channel, z);
#pragma unroll
      for (int i = 0; i < N; ++i) out[r][i] += tap[i] * z[i];
    }
  }
}

// work(first token, channel) for the tokens and channels of this thread, four tokens a call.
template <int N, class T, class Work>
__device__ void for_tokens(const Arguments<T>& a, const Work& work) {
  const int channel = (static_cast<int>(blockIdx.x) * kLanes + static_cast<int>(threadIdx.x)) * N;
  if (channel >= a.width) return;
  const int stride = static_cast<int>(gridDim.y) * kTile;
  for (int begin = a.first + static_cast<int>(blockIdx.y) * kTile; begin < a.end; begin += stride) {
    const int first = begin + static_cast<int>(threadIdx.y) * kRun;
    if (first < a.end) work(first, channel);
  }
}

template <class T, int N>
__global__ __launch_bounds__(kLanes* kWarps) void gate_kernel(const Arguments<T> a, T* out) {
  __shared__ Taps<N> taps;
  taps.fetch(a, 1, 2);
  for_tokens<N>(a, [&](int first, int channel) {
    float u[kRun][N], value[kRun][N];
    featurize<T, N>(a, taps, 0, 1, channel, first, u);
    featurize<T, N>(a, taps, 1, 2, channel, first, value);
    const std::int64_t row = static_cast<std::int64_t>(blockIdx.z) * (a.end - a.first) + first - a.first;
#pragma unroll
    for (int r = 0; r < kRun; ++r) {
      if (first + r >= a.end) break;
#pragma unroll
      for (int i = 0; i < N; ++i) u[r][i] *= value[r][i];
      store<N>(out + (row + r) * a.width + channel, u[r]);
    }
  });
}

template <class T, int N>
__global__ __launch_bounds__(kLanes* kWarps) void query_kernel(const Arguments<T> a, const T* x, T* out) {
  __shared__ Taps<N> taps;
  taps.fetch(a, 0, 1);
  for_tokens<N>(a, [&](int first, int channel) {
    float q[kRun][N];
    featurize<T, N>(a, taps, 0, 0, channel, first, q);
    const std::int64_t from = static_cast<std::int64_t>(blockIdx.z) * a.length + first;
    const std::int64_t to = static_cast<std::int64_t>(blockIdx.z) * (a.end - a.first) + first - a.first;
#pragma unroll
    for (int r = 0; r < kRun; ++r) {
      if (first + r >= a.end) break;
      float by[N];
      load<N>(x + (from + r) * a.width + channel, by);
#pragma unroll
      for (int i = 0; i < N; ++i) q[r][i] *= by[i];
      store<N>(out + (to + r) * a.width + channel, q[r]);
    }
  });
}

// Where the gradients of the featurized projections go: all in place of dz, the first rows of each block of
// 128 for featurizer_backward, those of the piece for earlier pieces.
template <class T>
struct Gradients {
  const T *c, *dy, *du;
  T *dz, *reach;
  float* first_rows;

  template <int N>
  __device__ void write(const Arguments<T>& a, int token, int part, int channel, const float (&d)[N]) const {
    const std::int64_t batch = blockIdx.z, columns = std::int64_t{3} * a.width;
    const std::int64_t column = static_cast<std::int64_t>(part) * a.width + channel;
    store<N>(dz + (batch * a.length + token) * columns + column, d);
    const int edge = min(a.taps - 1, a.length), blocks = (a.length + kBlockRows - 1) / kBlockRows;
    if (token < edge) store<N>(reach + (batch * edge + token) * columns + column, d);
    const int row = token % kBlockRows;
    if (row >= a.taps - 1) return;
    const std::int64_t block = batch * blocks + token / kBlockRows;
    store_real<N>(first_rows + (block * (a.taps - 1) + row) * columns + column, d);
  }
};

template <class T, int N>
__global__ __launch_bounds__(kLanes* kWarps) void gate_backward_kernel(const Arguments<T> a,
                                                                       const Gradients<T> g) {
  __shared__ Taps<N> taps;
  taps.fetch(a, 1, 2);
  for_tokens<N>(a, [&](int first, int channel) {
    const std::int64_t from = static_cast<std::int64_t>(blockIdx.z) * a.length + first;
    float gate[kRun][N], x[N], d[N];
#pragma unroll
    for (int r = 0; r < kRun; ++r) {
      if (first + r >= a.end) break;
      load<N>(g.dy + (from + r) * a.width + channel, d);
      load<N>(g.c + (from + r) * a.width + channel, x);
#pragma unroll
      for (int i = 0; i < N; ++i) d[i] *= x[i];
      g.template write<N>(a, first + r, 0, channel, d);
    }
    for (int part = 1; part < 3; ++part) {  // dk has the factor v, dv has k
      featurize<T, N>(a, taps, 2 - part, 3 - part, channel, first, gate);
#pragma unroll
      for (int r = 0; r < kRun; ++r) {
        if (first + r >= a.end) break;
        load<N>(g.du + (from + r) * a.width + channel, d);
#pragma unroll
        for (int i = 0; i < N; ++i) d[i] *= gate[r][i];
        g.template write<N>(a, first + r, part, channel, d);
      }
    }
  });
}

// One column of one of the last rows of a piece (blockIdx.y, from the first that later pieces reach).
template <class T>
__global__ __launch_bounds__(kThreads) void reach_kernel(const float* featurizer, int taps, int length,
                                                         int columns, const T* after, T* dz) {
  const int column = blockIdx.x * kThreads + threadIdx.x;
  if (column >= columns) return;
  const std::int64_t batch = blockIdx.z;
  const int before_end = static_cast<int>(gridDim.y - blockIdx.y);
  T& target = dz[((batch + 1) * length - before_end) * columns + column];
  float sum = to_float(target);
  for (int f = before_end; f < taps; ++f) {
    const std::int64_t row = batch * (taps - 1) + f - before_end;
    sum += featurizer[static_cast<std::int64_t>(column) * taps + f] * to_float(after[row * columns + column]);
  }
  target = from_float<T>(sum);
}

template <class T>
Arguments<T> arguments_of(const HyenaShape& s, const HyenaWeights& w, const void* projections, const void* z,
                          RowRange rows) {
  return {static_cast<const T*>(z),
          static_cast<const T*>(projections),
          static_cast<const float*>(w.featurizer),
          static_cast<int>(s.length),
          static_cast<int>(s.width),
          s.featurizer_taps,
          static_cast<int>(rows.first),
          static_cast<int>(rows.first + rows.count)};
}

// Blocks for some rows of a batch: enough to fill the device, each of them then with several tiles.
template <int N>
dim3 grid_of(const HyenaShape& s, std::int64_t rows) {
  const std::int64_t across = ceil_div(s.width, kLanes * N), tiles = ceil_div(rows, kTile);
  const std::int64_t wanted = ceil_div(std::int64_t{16} * multiprocessors(), across * s.batch);
  return dim3(static_cast<unsigned>(across), static_cast<unsigned>(std::min(tiles, wanted)),
              static_cast<unsigned>(s.batch));
}

// Calls f<T, N>(), N the channels that a thread takes at a time.
template <class F>
void with_types(const HyenaShape& s, ElementType type, std::initializer_list<const void*> arrays,
                const F& f) {
  const bool aligned = std::all_of(arrays.begin(), arrays.end(), [](const void* pointer) {
    return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0;
  });
  if (type == ElementType::bf16) {
    aligned&& is_wide<bf16>(s.width) ? f.template operator()<bf16, kWide<bf16>>()
                                     : f.template operator()<bf16, 1>();
  } else {
    aligned&& is_wide<float>(s.width) ? f.template operator()<float, kWide<float>>()
                                      : f.template operator()<float, 1>();
  }
}

constexpr dim3 block_of() { return dim3(kLanes, kWarps); }

}  // namespace

void hyena_gate(const HyenaShape& s, const HyenaWeights& w, ElementType type, const void* projections,
                const void* z, RowRange rows, void* out, cudaStream_t stream) {
  if (rows.count == 0) return;
  with_types(s, type, {projections, z, out}, [&]<class T, int N>() {
    launch<gate_kernel<T, N>>(grid_of<N>(s, rows.count), block_of(), 0, stream,
                              arguments_of<T>(s, w, projections, z, rows), static_cast<T*>(out));
  });
}

void hyena_query(const HyenaShape& s, const HyenaWeights& w, ElementType type, const void* projections,
                 const void* z, const void* x, RowRange rows, void* out, cudaStream_t stream) {
  if (rows.count == 0) return;
  with_types(s, type, {projections, z, x, out}, [&]<class T, int N>() {
    launch<query_kernel<T, N>>(grid_of<N>(s, rows.count), block_of(), 0, stream,
                               arguments_of<T>(s, w, projections, z, rows), static_cast<const T*>(x),
                               static_cast<T*>(out));
  });
}

std::size_t hyena_gate_workspace(const HyenaShape& s) {
  const std::int64_t floats =
      general::reach_size(s, kBlockRows) + general::featurizer_partials_size(s, kBlockRows);
  return static_cast<std::size_t>(floats) * sizeof(float);
}

void hyena_gate_backward(const HyenaShape& s, const HyenaWeights& w, ElementType type,
                         const void* projections, const void* z, const void* c, const void* dy,
                         const void* du, void* dz, void* reach, void* d_featurizer, void* workspace,
                         cudaStream_t stream) {
  float* const first_rows = static_cast<float*>(workspace);
  const general::FeaturizerScratch scratch{first_rows, first_rows + general::reach_size(s, kBlockRows)};
  with_types(s, type, {projections, z, c, dy, du, dz, reach, workspace}, [&]<class T, int N>() {
    const Gradients<T> gradients{static_cast<const T*>(c),  static_cast<const T*>(dy),
                                 static_cast<const T*>(du), static_cast<T*>(dz),
                                 static_cast<T*>(reach),    first_rows};
    launch<gate_backward_kernel<T, N>>(grid_of<N>(s, s.length), block_of(), 0, stream,
                                       arguments_of<T>(s, w, projections, z, {0, s.length}), gradients);
  });
  general::featurizer_backward(s, w, type, projections, z, dz, kBlockRows, scratch, d_featurizer, stream);
}

void featurizer_reach(const HyenaShape& s, const HyenaWeights& w, ElementType type, const void* after,
                      void* dz, cudaStream_t stream) {
  const std::int64_t rows = std::min<std::int64_t>(s.featurizer_taps - 1, s.length), columns = 3 * s.width;
  if (rows == 0) return;
  const dim3 grid(static_cast<unsigned>(ceil_div(columns, kThreads)), static_cast<unsigned>(rows),
                  static_cast<unsigned>(s.batch));
  const auto call = [&]<class T>() {
    launch<reach_kernel<T>>(grid, kThreads, 0, stream, static_cast<const float*>(w.featurizer),
                            s.featurizer_taps, static_cast<int>(s.length), static_cast<int>(columns),
                            static_cast<const T*>(after), static_cast<T*>(dz));
  };
  type == ElementType::bf16 ? call.template operator()<bf16>() : call.template operator()<float>();
}

}  // namespace striped::cuda
