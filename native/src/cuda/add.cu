// Element-wise sums and conversions, and sums over rows in a fixed order.
#include <algorithm>

#include "operators.h"
#include "vector.cuh"

namespace striped::cuda {
namespace {

constexpr int kThreads = 256;

template <class T, int N>
__global__ void add_kernel(std::int64_t packs, T* x, const T* y) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= packs) return;
  float a[N], b[N];
  load<N>(x + index * N, a);
  load<N>(y + index * N, b);
#pragma unroll
  for (int i = 0; i < N; ++i) a[i] += b[i];
  store<N>(x + index * N, a);
}

template <class T>
void launch_add(Context& context, std::int64_t count, T* x, const T* y) {
  const std::int64_t packs = count / kWide<T>, rest = count - packs * kWide<T>;
  if (packs > 0) {
    add_kernel<T, kWide<T>><<<ceil_div(packs, kThreads), kThreads, 0, context.stream>>>(packs, x, y);
  }
  if (rest > 0)
    add_kernel<T, 1><<<1, kThreads, 0, context.stream>>>(rest, x + count - rest, y + count - rest);
  check_launch("add");
}

// Blocks of 32 columns by 32 row groups; group g sums rows g, g + 32, ... and the groups are added in order.
__global__ void add_partial_rows_kernel(std::int64_t parts, std::int64_t columns, const float* partial,
                                        float* target) {
  __shared__ float sums[32][33];
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * 32 + threadIdx.x;
  float sum = 0;
  if (column < columns) {
#pragma unroll 8
    for (std::int64_t row = threadIdx.y; row < parts; row += 32) sum += partial[row * columns + column];
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y == 0 && column < columns) {
    float total = 0;
#pragma unroll
    for (int group = 0; group < 32; ++group) total += sums[group][threadIdx.x];
    target[column] += total;
  }
}

// partial[blockIdx.y, columns]: the sum of this block row's share of the rows of x.
template <class T, int N>
__global__ void column_sums(std::int64_t rows, std::int64_t columns, std::int64_t rows_a_part, const T* x,
                            float* partial) {
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) * N;
  if (column >= columns) return;
  float sum[N] = {};
  const std::int64_t end = min(rows, (blockIdx.y + 1) * rows_a_part);
#pragma unroll 4
  for (std::int64_t row = blockIdx.y * rows_a_part; row < end; ++row) {
    float values[N];
    load<N>(x + row * columns + column, values);
#pragma unroll
    for (int i = 0; i < N; ++i) sum[i] += values[i];
  }
  store_real<N>(partial + blockIdx.y * columns + column, sum);
}

template <class T, int N>
void launch_column_sums(Context& context, std::int64_t rows, std::int64_t columns, const T* x,
                        float* target) {
  const std::int64_t across = ceil_div(columns, kThreads * N);
  const std::int64_t wanted = std::min<std::int64_t>(
      std::max<std::int64_t>(1, context.multiprocessors * 4 / across), ceil_div(rows, 16));
  const std::int64_t rows_a_part = ceil_div(rows, wanted), parts = ceil_div(rows, rows_a_part);
  float* partial = context.scratch.reserve<float>(static_cast<std::size_t>(parts * columns), context);
  column_sums<T, N>
      <<<dim3(across, parts), kThreads, 0, context.stream>>>(rows, columns, rows_a_part, x, partial);
  check_launch("column_sums");
  add_partial_rows(context, parts, columns, partial, target);
}

template <class T>
void dispatch_column_sums(Context& context, std::int64_t rows, std::int64_t columns, const void* x,
                          float* target) {
  const T* values = static_cast<const T*>(x);
  is_wide<T>(columns) ? launch_column_sums<T, kWide<T>>(context, rows, columns, values, target)
                      : launch_column_sums<T, 1>(context, rows, columns, values, target);
}

__global__ void convert_kernel(std::int64_t count, const float* source, bf16* target) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index < count) target[index] = __float2bfloat16_rn(source[index]);
}

__global__ void negative_exponential_kernel(std::int64_t count, const float* x, float* y) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index < count) y[index] = -expf(x[index]);
}

__global__ void multiply_kernel(std::int64_t count, float* x, const float* y) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index < count) x[index] *= y[index];
}

}  // namespace

void add(Context& context, std::int64_t count, void* x, const void* y) {
  if (count == 0) return;
  if (context.type == ElementType::bf16) {
    launch_add(context, count, static_cast<bf16*>(x), static_cast<const bf16*>(y));
  } else {
    launch_add(context, count, static_cast<float*>(x), static_cast<const float*>(y));
  }
}

void add_partial_rows(Context& context, std::int64_t parts, std::int64_t columns, const float* partial,
                      float* target) {
  add_partial_rows_kernel<<<ceil_div(columns, 32), dim3(32, 32), 0, context.stream>>>(parts, columns, partial,
                                                                                      target);
  check_launch("add_partial_rows");
}

void add_column_sums(Context& context, std::int64_t rows, std::int64_t columns, const void* x,
                     float* target) {
  if (rows == 0) return;
  if (context.type == ElementType::bf16) {
    dispatch_column_sums<bf16>(context, rows, columns, x, target);
  } else {
    dispatch_column_sums<float>(context, rows, columns, x, target);
  }
}

void negative_exponential(Context& context, std::int64_t count, const float* x, float* y) {
  if (count == 0) return;
  negative_exponential_kernel<<<ceil_div(count, kThreads), kThreads, 0, context.stream>>>(count, x, y);
  check_launch("negative_exponential");
}

void multiply(Context& context, std::int64_t count, float* x, const float* y) {
  if (count == 0) return;
  multiply_kernel<<<ceil_div(count, kThreads), kThreads, 0, context.stream>>>(count, x, y);
  check_launch("multiply");
}

void convert_real(Context& context, std::int64_t count, const float* source, void* target) {
  if (context.type == ElementType::bf16) {
    convert_kernel<<<ceil_div(count, kThreads), kThreads, 0, context.stream>>>(count, source,
                                                                               static_cast<bf16*>(target));
    check_launch("convert_real");
  } else {
    check(cudaMemcpyAsync(target, source, count * sizeof(float), cudaMemcpyDeviceToDevice, context.stream),
          "convert_real");
  }
}

}  // namespace striped::cuda
