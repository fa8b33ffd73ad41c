// Gated activation: y = act(g) ⊙ u for rows [g | u], and its gradient.
#include <algorithm>

#include "largest.cuh"
#include "operators.h"

namespace striped::cuda {
namespace {

constexpr int kThreads = 256;

struct Gate {
  float value, slope;
};

template <Activation kActivation>
__device__ __forceinline__ Gate activate(float g) {
  if constexpr (kActivation == Activation::silu) {
    const float sigmoid = __fdividef(1.0f, 1.0f + __expf(-g));
    return {g * sigmoid, sigmoid * (1.0f + g * (1.0f - sigmoid))};
  } else if constexpr (kActivation == Activation::gelu) {
    const float cumulative = 0.5f * (1.0f + erff(g * 0.70710678118654752f));
    const float density = 0.39894228040143268f * __expf(-0.5f * g * g);
    return {g * cumulative, cumulative + g * density};
  } else {
    return {g, 1.0f};
  }
}

// Called by all threads of a block.
template <class T>
__device__ __forceinline__ void tell_largest(float value, unsigned* largest) {
  if constexpr (sizeof(T) == sizeof(bf16)) {
    __shared__ float shared[32];
    if (largest) raise_to_block_max(value, largest, shared);
  }
}

// One thread: N neighbouring columns of one row.
template <class T, int N, Activation kActivation>
__global__ void gate_kernel(std::int64_t packs, std::int64_t packs_a_row, const T* gu, T* y,
                            unsigned* largest) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  float most = 0;
  if (index < packs) {
    const std::int64_t row = index / packs_a_row, inner = packs_a_row * N;
    const T* in = gu + index * N + row * inner;
    float g[N], u[N];
    load<N>(in, g);
    load<N>(in + inner, u);
#pragma unroll
    for (int i = 0; i < N; ++i) g[i] = activate<kActivation>(g[i]).value * u[i];
    store<N>(y + index * N, g);
    if (largest) most = largest_of(most, g);
  }
  tell_largest<T>(most, largest);
}

template <class T, int N, Activation kActivation>
__global__ void gate_backward_kernel(std::int64_t packs, std::int64_t packs_a_row, const T* gu, const T* dy,
                                     T* dgu, unsigned* largest) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  float most = 0;
  if (index < packs) {
    const std::int64_t row = index / packs_a_row, inner = packs_a_row * N;
    const std::int64_t at = index * N + row * inner;
    float g[N], u[N], d[N];
    load<N>(gu + at, g);
    load<N>(gu + at + inner, u);
    load<N>(dy + index * N, d);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const Gate gate = activate<kActivation>(g[i]);
      g[i] = d[i] * u[i] * gate.slope;
      u[i] = d[i] * gate.value;
    }
    store<N>(dgu + at, g);
    store<N>(dgu + at + inner, u);
    if (largest) most = largest_of(largest_of(most, g), u);
  }
  tell_largest<T>(most, largest);
}

template <class T, int N, Activation kActivation>
void launch(Context& context, std::int64_t rows, std::int64_t inner, const void* gu, const void* dy,
            void* out, unsigned* largest) {
  const std::int64_t packs_a_row = inner / N, packs = rows * packs_a_row;
  if (packs == 0) return;
  const unsigned blocks = static_cast<unsigned>(ceil_div(packs, kThreads));
  const T* in = static_cast<const T*>(gu);
  T* target = static_cast<T*>(out);
  if (dy) {
    gate_backward_kernel<T, N, kActivation><<<blocks, kThreads, 0, context.stream>>>(
        packs, packs_a_row, in, static_cast<const T*>(dy), target, largest);
  } else {
    gate_kernel<T, N, kActivation>
        <<<blocks, kThreads, 0, context.stream>>>(packs, packs_a_row, in, target, largest);
  }
  check_launch("gated");
}

template <class T, int N>
void choose_activation(Context& context, std::int64_t rows, std::int64_t inner, Activation activation,
                       const void* gu, const void* dy, void* out, unsigned* largest) {
  switch (activation) {
    case Activation::silu:
      return launch<T, N, Activation::silu>(context, rows, inner, gu, dy, out, largest);
    case Activation::gelu:
      return launch<T, N, Activation::gelu>(context, rows, inner, gu, dy, out, largest);
    case Activation::identity:
      return launch<T, N, Activation::identity>(context, rows, inner, gu, dy, out, largest);
  }
}

template <class T>
void choose_width(Context& context, std::int64_t rows, std::int64_t inner, Activation activation,
                  const void* gu, const void* dy, void* out, unsigned* largest) {
  is_wide<T>(inner) ? choose_activation<T, kWide<T>>(context, rows, inner, activation, gu, dy, out, largest)
                    : choose_activation<T, 1>(context, rows, inner, activation, gu, dy, out, largest);
}

void dispatch(Context& context, std::int64_t rows, std::int64_t inner, Activation activation, const void* gu,
              const void* dy, void* out, unsigned* largest) {
  context.type == ElementType::bf16
      ? choose_width<bf16>(context, rows, inner, activation, gu, dy, out, largest)
      : choose_width<float>(context, rows, inner, activation, gu, dy, out, largest);
}

}  // namespace

void gated(Context& context, std::int64_t rows, std::int64_t inner, Activation activation, const void* gu,
           void* y, unsigned* largest) {
  dispatch(context, rows, inner, activation, gu, nullptr, y, largest);
}

void gated_backward(Context& context, std::int64_t rows, std::int64_t inner, Activation activation,
                    const void* gu, const void* dy, void* dgu, unsigned* largest) {
  dispatch(context, rows, inner, activation, gu, dy, dgu, largest);
}

}  // namespace striped::cuda
