// Decoupled AdamW (Loshchilov & Hutter 2019) over flat buffers, clipped by the global norm. Reads gradient,
// parameter and moments, writes parameter, moments and the compute copy: 30 bytes a parameter in bf16.
#include <algorithm>
#include <initializer_list>

#include "operators.h"
#include "vector.cuh"

namespace striped::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kNormBlocks = 1024;

// partial[blockIdx.x] = Σ g² over this block's grid-strided share.
__global__ void partial_norm(std::int64_t packs, std::int64_t count, const float* gradients,
                             double* partial) {
  __shared__ double shared[32];
  double sum = 0;
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * kThreads;
#pragma unroll 4
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < packs;
       i += stride) {
    const float4 g = reinterpret_cast<const float4*>(gradients)[i];
    sum += static_cast<double>(g.x * g.x + g.y * g.y + g.z * g.z + g.w * g.w);
  }
  for (std::int64_t i = packs * 4 + static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count;
       i += stride) {
    sum += static_cast<double>(gradients[i]) * gradients[i];
  }
  sum = block_sum(sum, shared);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void total_norm(int parts, const double* partial, double* squared_norm) {
  __shared__ double shared[32];
  const double sum = block_sum(static_cast<int>(threadIdx.x) < parts ? partial[threadIdx.x] : 0.0, shared);
  if (threadIdx.x == 0) *squared_norm += sum;
}

// Slices of a flat buffer may start anywhere; 16-byte accesses may not.
bool are_aligned(std::initializer_list<const void*> pointers) {
  return std::all_of(pointers.begin(), pointers.end(),
                     [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; });
}

struct Update {
  float factor, beta1, beta2, rate, unbias2, eps, keep;
};

__device__ Update plan_update(const AdamWSettings& settings, const OptimizerStep& step,
                              const double* squared_norm) {
  double factor = step.gradient_scale;
  if (settings.clip > 0) {
    const double norm = sqrt(*squared_norm) * step.gradient_scale;
    if (norm > settings.clip) factor *= settings.clip / norm;
  }
  Update u;
  u.factor = static_cast<float>(factor);
  u.beta1 = settings.beta1;
  u.beta2 = settings.beta2;
  u.rate = step.learning_rate / step.bias_correction1;
  u.unbias2 = 1.0f / step.bias_correction2;
  u.eps = settings.eps;
  u.keep = static_cast<float>(1.0 - static_cast<double>(step.learning_rate) * settings.weight_decay);
  return u;
}

template <class T, int N>
__global__ void adamw_kernel(std::int64_t packs, AdamWSettings settings, const OptimizerStep* step,
                             const double* squared_norm, const float* gradients, float* parameters,
                             float* moment1, float* moment2, T* compute) {
  __shared__ Update shared;
  if (threadIdx.x == 0) shared = plan_update(settings, *step, squared_norm);
  __syncthreads();
  const Update u = shared;
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= packs) return;
  const std::int64_t at = index * N;
  float g[N], p[N], m[N], v[N];
  load<N>(gradients + at, g);
  load<N>(parameters + at, p);
  load<N>(moment1 + at, m);
  load<N>(moment2 + at, v);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const float gradient = g[i] * u.factor;
    m[i] = u.beta1 * m[i] + (1.0f - u.beta1) * gradient;
    v[i] = u.beta2 * v[i] + (1.0f - u.beta2) * gradient * gradient;
    p[i] = u.keep * p[i] - u.rate * m[i] / (sqrtf(v[i] * u.unbias2) + u.eps);
  }
  store<N>(parameters + at, p);
  store<N>(moment1 + at, m);
  store<N>(moment2 + at, v);
  if (compute) store<N>(compute + at, p);
}

template <class T, int N>
void launch(Context& context, std::int64_t first, std::int64_t packs, const AdamWSettings& settings,
            const OptimizerStep* step, const double* squared_norm, const float* gradients, float* parameters,
            float* moment1, float* moment2, T* compute) {
  if (packs == 0) return;
  const std::int64_t blocks = ceil_div(packs, kThreads);
  adamw_kernel<T, N><<<static_cast<unsigned>(blocks), kThreads, 0, context.stream>>>(
      packs, settings, step, squared_norm, gradients + first, parameters + first, moment1 + first,
      moment2 + first, compute ? compute + first : nullptr);
  check_launch("adamw");
}

template <class T>
void update(Context& context, std::int64_t count, const AdamWSettings& settings, const OptimizerStep* step,
            const double* squared_norm, const float* gradients, float* parameters, float* moment1,
            float* moment2, void* compute) {
  T* copy = compute == parameters ? nullptr : static_cast<T*>(compute);
  const bool aligned = are_aligned({gradients, parameters, moment1, moment2, copy});
  const std::int64_t packs = aligned ? count / 4 : 0;
  launch<T, 4>(context, 0, packs, settings, step, squared_norm, gradients, parameters, moment1, moment2,
               copy);
  launch<T, 1>(context, packs * 4, count - packs * 4, settings, step, squared_norm, gradients, parameters,
               moment1, moment2, copy);
}

}  // namespace

void squared_norm(Context& context, std::int64_t count, const float* gradients, double* squared_norm) {
  if (count == 0) return;
  double* partial = context.scratch.reserve<double>(kNormBlocks, context);
  const std::int64_t packs = are_aligned({gradients}) ? count / 4 : 0;
  const int blocks =
      static_cast<int>(std::clamp<std::int64_t>(ceil_div(count / 4, kThreads), 1, kNormBlocks));
  partial_norm<<<blocks, kThreads, 0, context.stream>>>(packs, count, gradients, partial);
  check_launch("partial_norm");
  total_norm<<<1, kNormBlocks, 0, context.stream>>>(blocks, partial, squared_norm);
  check_launch("total_norm");
}

void adamw(Context& context, std::int64_t count, const AdamWSettings& settings, const OptimizerStep* step,
           const double* squared_norm, const float* gradients, float* parameters, float* moment1,
           float* moment2, void* compute) {
  if (context.type == ElementType::bf16) {
    update<bf16>(context, count, settings, step, squared_norm, gradients, parameters, moment1, moment2,
                 compute);
  } else {
    update<float>(context, count, settings, step, squared_norm, gradients, parameters, moment1, moment2,
                  compute);
  }
}

}  // namespace striped::cuda
