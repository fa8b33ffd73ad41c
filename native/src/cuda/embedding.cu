// Token embedding, and its gradient without atomics: rows are sorted by token (stably), equal shares of the
// sorted rows are summed in order, and tokens whose run crosses a share boundary are added up from the
// partial sums of the shares, again in order. Few distinct tokens (DNA has four) cost no more than many.
#include <algorithm>
#include <cub/device/device_radix_sort.cuh>

#include "operators.h"
#include "vector.cuh"

namespace striped::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kShare = 128;  // sorted rows a block sums
constexpr int kAhead = 8;    // loads in flight

template <class T, int N>
__global__ void gather(std::int64_t packs, std::int64_t packs_a_row, const std::int32_t* tokens,
                       const T* table, T* x) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= packs) return;
  const std::int64_t row = index / packs_a_row, column = index - row * packs_a_row;
  reinterpret_cast<Pack<T, N>*>(x)[index] =
      reinterpret_cast<const Pack<T, N>*>(table)[tokens[row] * packs_a_row + column];
}

__global__ void number_rows(std::int64_t rows, std::int32_t* order) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index < rows) order[index] = static_cast<std::int32_t>(index);
}

// Sums of one share's columns. A run of one token inside the share goes straight to the table; a run that
// began before the share to partial[2·share], one that goes on after it to partial[2·share + 1] (one that
// does both to the former).
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    sum_shares(std::int64_t rows, std::int64_t width, const std::int32_t* sorted, const std::int32_t* order,
               const T* dx, float* partial, float* dtable) {
  __shared__ std::int32_t token_of[kShare + 2], row_of[kShare];
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kShare;
  const int count = static_cast<int>(min(static_cast<std::int64_t>(kShare), rows - first));
  for (int i = threadIdx.x; i < count + 2; i += kThreads) {
    const std::int64_t at = first + i - 1;
    token_of[i] = at < 0 || at >= rows ? -1 : sorted[at];
    if (i < count) row_of[i] = order[first + i];
  }
  __syncthreads();
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.y) * kThreads + threadIdx.x) * N;
  if (column >= width) return;
  float sum[N] = {};
  int begin = 0;  // of the present run
  for (int base = 0; base < count; base += kAhead) {
    Pack<T, N> ahead[kAhead];
#pragma unroll
    for (int k = 0; k < kAhead; ++k) {
      if (base + k < count) {
        ahead[k] = *reinterpret_cast<const Pack<T, N>*>(dx + row_of[base + k] * width + column);
      }
    }
#pragma unroll
    for (int k = 0; k < kAhead; ++k) {
      const int i = base + k;
      if (i >= count) break;
      float values[N];
      unpack<N>(ahead[k], values);
#pragma unroll
      for (int j = 0; j < N; ++j) sum[j] += values[j];
      const std::int32_t token = token_of[i + 1];
      const bool ends_here = token_of[i + 2] != token;
      if (!ends_here && i + 1 < count) continue;
      const bool began_before = begin == 0 && token_of[0] == token;
      if (!began_before && ends_here) {
        float* target = dtable + token * width + column;
        float old[N];
        load_real<N>(target, old);
#pragma unroll
        for (int j = 0; j < N; ++j) sum[j] += old[j];
        store_real<N>(target, sum);
      } else {
        store_real<N>(
            partial + (2 * static_cast<std::int64_t>(blockIdx.x) + (began_before ? 0 : 1)) * width + column,
            sum);
      }
#pragma unroll
      for (int j = 0; j < N; ++j) sum[j] = 0;
      begin = i + 1;
    }
  }
}

// A block for every share whose last run goes on: it adds up that run from there on, in order, a thread a
// column.
__global__ void __launch_bounds__(kThreads)
    sum_runs(std::int64_t rows, std::int64_t width, const std::int32_t* sorted, const float* partial,
             float* dtable) {
  const std::int64_t share = blockIdx.x, last = share * kShare + kShare - 1;
  if (last + 1 >= rows || sorted[last] != sorted[last + 1]) return;
  const std::int32_t token = sorted[last];
  const bool began_before =
      share > 0 && sorted[share * kShare] == token && sorted[share * kShare - 1] == token;
  if (began_before) return;  // the share where the run began does it
  // Most runs are short: double the reach, then halve it. sorted[below] is the token, sorted[above] is not.
  std::int64_t below = last + 1, above = below + kShare;
  while (above < rows && sorted[above] == token) {
    below = above;
    above += 2 * (above - last);
  }
  above = min(above, rows);
  while (above - below > 1) {
    const std::int64_t middle = (below + above) / 2;
    (sorted[middle] == token ? below : above) = middle;
  }
  const std::int64_t end = below / kShare,
                     column = static_cast<std::int64_t>(blockIdx.y) * kThreads + threadIdx.x;
  if (column >= width) return;
  float sum = partial[(2 * share + 1) * width + column];
#pragma unroll 8
  for (std::int64_t s = share + 1; s <= end; ++s) sum += partial[2 * s * width + column];
  dtable[token * width + column] += sum;
}

struct Sorted {
  std::int32_t *tokens, *order;
  float* partial;
};

int bits_of(std::int64_t vocab) {
  int bits = 1;
  while ((std::int64_t{1} << bits) < vocab) ++bits;
  return bits;
}

Sorted sort_rows(Context& context, std::int64_t rows, std::int64_t width, std::int64_t vocab,
                 const std::int32_t* tokens) {
  const int bits = bits_of(vocab), count = static_cast<int>(rows);
  std::size_t temporary = 0;
  check(cub::DeviceRadixSort::SortPairs(nullptr, temporary, tokens, static_cast<std::int32_t*>(nullptr),
                                        static_cast<const std::int32_t*>(nullptr),
                                        static_cast<std::int32_t*>(nullptr), count, 0, bits, context.stream),
        "sort_rows");
  const auto align = [](std::size_t bytes) { return (bytes + 255) / 256 * 256; };
  const std::size_t list = align(rows * sizeof(std::int32_t));
  const std::size_t partials = align(2 * ceil_div(rows, kShare) * width * sizeof(float));
  char* memory = context.scratch.reserve<char>(3 * list + partials + align(temporary), context);
  std::int32_t* numbers = reinterpret_cast<std::int32_t*>(memory);
  const Sorted sorted{reinterpret_cast<std::int32_t*>(memory + list),
                      reinterpret_cast<std::int32_t*>(memory + 2 * list),
                      reinterpret_cast<float*>(memory + 3 * list)};
  number_rows<<<ceil_div(rows, kThreads), kThreads, 0, context.stream>>>(rows, numbers);
  check_launch("number_rows");
  check(cub::DeviceRadixSort::SortPairs(memory + 3 * list + partials, temporary, tokens, sorted.tokens,
                                        static_cast<const std::int32_t*>(numbers), sorted.order, count, 0,
                                        bits, context.stream),
        "sort_rows");
  return sorted;
}

template <class T, int N>
void launch_gradient(Context& context, std::int64_t rows, std::int64_t width, std::int64_t vocab,
                     const std::int32_t* tokens, const T* dx, float* dtable) {
  const Sorted s = sort_rows(context, rows, width, vocab, tokens);
  const std::int64_t shares = ceil_div(rows, kShare);
  sum_shares<T, N><<<dim3(shares, ceil_div(width, kThreads * N)), kThreads, 0, context.stream>>>(
      rows, width, s.tokens, s.order, dx, s.partial, dtable);
  check_launch("sum_shares");
  sum_runs<<<dim3(shares, ceil_div(width, kThreads)), kThreads, 0, context.stream>>>(rows, width, s.tokens,
                                                                                     s.partial, dtable);
  check_launch("sum_runs");
}

template <class T, int N>
void launch_gather(Context& context, std::int64_t rows, std::int64_t width, const std::int32_t* tokens,
                   const T* table, T* x) {
  const std::int64_t packs_a_row = width / N, packs = rows * packs_a_row;
  gather<T, N><<<static_cast<unsigned>(ceil_div(packs, kThreads)), kThreads, 0, context.stream>>>(
      packs, packs_a_row, tokens, table, x);
  check_launch("embedding");
}

template <class T>
void dispatch(Context& context, std::int64_t rows, std::int64_t width, const std::int32_t* tokens,
              const void* table, void* x) {
  const T* source = static_cast<const T*>(table);
  T* target = static_cast<T*>(x);
  is_wide<T>(width) ? launch_gather<T, kWide<T>>(context, rows, width, tokens, source, target)
                    : launch_gather<T, 1>(context, rows, width, tokens, source, target);
}

template <class T>
void dispatch_gradient(Context& context, std::int64_t rows, std::int64_t width, std::int64_t vocab,
                       const std::int32_t* tokens, const void* dx, float* dtable) {
  const T* source = static_cast<const T*>(dx);
  is_wide<T>(width) ? launch_gradient<T, kWide<T>>(context, rows, width, vocab, tokens, source, dtable)
                    : launch_gradient<T, 1>(context, rows, width, vocab, tokens, source, dtable);
}

}  // namespace

void embedding(Context& context, std::int64_t rows, std::int64_t width, const std::int32_t* tokens,
               const void* table, void* x) {
  if (rows == 0) return;
  context.type == ElementType::bf16 ? dispatch<bf16>(context, rows, width, tokens, table, x)
                                    : dispatch<float>(context, rows, width, tokens, table, x);
}

void embedding_gradient(Context& context, std::int64_t rows, std::int64_t width, std::int64_t vocab,
                        const std::int32_t* tokens, const void* dx, float* dtable) {
  if (rows == 0) return;
  context.type == ElementType::bf16
      ? dispatch_gradient<bf16>(context, rows, width, vocab, tokens, dx, dtable)
      : dispatch_gradient<float>(context, rows, width, vocab, tokens, dx, dtable);
}

}  // namespace striped::cuda
