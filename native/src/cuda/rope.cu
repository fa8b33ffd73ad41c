// Rotary embedding (Su et al. 2021) of the first against the second half of a head's dimensions.
#include <algorithm>

#include "operators.h"
#include "striped/error.h"
#include "vector.cuh"

namespace striped::cuda {
namespace {

constexpr int kFine = 1024;
constexpr int kHeadLanes = 8;

// cos and sin of position·step/scale · base^(-2i/head_dim), in double since angles reach a million radians.
__global__ void build_table(int count, double step, int half, double base, double scale, float2* table) {
  const int index = blockIdx.x * blockDim.x + threadIdx.x;
  if (index >= count * half) return;
  const int position = index / half, i = index % half;
  const double angle = position * step / scale * pow(base, -static_cast<double>(i) / half);
  double sine, cosine;
  sincos(angle, &sine, &cosine);
  table[index] = make_float2(static_cast<float>(cosine), static_cast<float>(sine));
}

// One thread: N pairs of dimensions of one token, for every kHeadLanes-th head. Block: x over pairs, y over
// heads, z over tokens.
template <class T, int N>
__global__ void rotate(std::int64_t tokens, std::int64_t length, int heads, int half, const T* source,
                       std::int64_t source_stride, T* target, std::int64_t target_stride,
                       const float2* coarse, const float2* fine, float sign) {
  const std::int64_t token = static_cast<std::int64_t>(blockIdx.x) * blockDim.z + threadIdx.z;
  if (token >= tokens) return;
  const std::int64_t position = token % length;
  for (int pair = threadIdx.x * N; pair < half; pair += blockDim.x * N) {
    float cosine[N], sine[N];
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float2 a = coarse[position / kFine * half + pair + i],
                   b = fine[position % kFine * half + pair + i];
      cosine[i] = a.x * b.x - a.y * b.y;
      sine[i] = sign * (a.y * b.x + a.x * b.y);
    }
    for (int head = threadIdx.y; head < heads; head += blockDim.y) {
      const T* in = source + token * source_stride + static_cast<std::int64_t>(head) * 2 * half + pair;
      T* out = target + token * target_stride + static_cast<std::int64_t>(head) * 2 * half + pair;
      float first[N], second[N], rotated[N];
      load<N>(in, first);
      load<N>(in + half, second);
#pragma unroll
      for (int i = 0; i < N; ++i) rotated[i] = first[i] * cosine[i] - second[i] * sine[i];
      store<N>(out, rotated);
#pragma unroll
      for (int i = 0; i < N; ++i) rotated[i] = second[i] * cosine[i] + first[i] * sine[i];
      store<N>(out + half, rotated);
    }
  }
}

const RopeTable& table_for(Context& context, const AttentionShape& s) {
  const int coarse = static_cast<int>(ceil_div(s.length, kFine)), half = s.head_dim / 2;
  const std::vector<double> key = {s.rope_base, s.rope_scale, static_cast<double>(s.head_dim),
                                   static_cast<double>(coarse)};
  auto found = context.rope_tables.find(key);
  if (found != context.rope_tables.end()) return found->second;
  if (recording_id(context.stream) != 0) {
    throw Error("cuda-error", "The rotary table of a new shape cannot be built while a step is recorded.");
  }
  RopeTable table;
  table.coarse = static_cast<float2*>(device_allocate(sizeof(float2) * coarse * half));
  table.fine = static_cast<float2*>(device_allocate(sizeof(float2) * kFine * half));
  build_table<<<ceil_div(coarse * half, 128), 128, 0, context.stream>>>(coarse, kFine, half, s.rope_base,
                                                                        s.rope_scale, table.coarse);
  build_table<<<ceil_div(kFine * half, 128), 128, 0, context.stream>>>(kFine, 1, half, s.rope_base,
                                                                       s.rope_scale, table.fine);
  check_launch("build_table");
  return context.rope_tables.emplace(key, table).first->second;
}

template <class T, int N>
void launch(Context& context, const AttentionShape& s, int heads, const T* source, std::int64_t source_stride,
            T* target, std::int64_t target_stride, bool inverse) {
  const RopeTable& table = table_for(context, s);
  const int half = s.head_dim / 2;
  const std::int64_t tokens = s.batch * s.length;
  const unsigned pairs = static_cast<unsigned>(std::min<std::int64_t>(ceil_div(half, N), 32));
  const unsigned depth = std::max(1u, 256 / (pairs * kHeadLanes));
  const dim3 block(pairs, kHeadLanes, depth);
  rotate<T, N><<<static_cast<unsigned>(ceil_div(tokens, depth)), block, 0, context.stream>>>(
      tokens, s.length, heads, half, source, source_stride, target, target_stride, table.coarse, table.fine,
      inverse ? -1.0f : 1.0f);
  check_launch("rope");
}

template <class T>
void dispatch(Context& context, const AttentionShape& s, int heads, const void* source,
              std::int64_t source_stride, void* target, std::int64_t target_stride, bool inverse) {
  const T* in = static_cast<const T*>(source);
  T* out = static_cast<T*>(target);
  const bool wide = is_wide<T>(s.head_dim / 2) && is_wide<T>(source_stride) && is_wide<T>(target_stride);
  if (wide) {
    launch<T, kWide<T>>(context, s, heads, in, source_stride, out, target_stride, inverse);
  } else {
    launch<T, 1>(context, s, heads, in, source_stride, out, target_stride, inverse);
  }
}

}  // namespace

void rope(Context& context, const AttentionShape& s, int heads, const void* source,
          std::int64_t source_stride, void* target, std::int64_t target_stride, bool inverse) {
  if (context.type == ElementType::bf16) {
    dispatch<bf16>(context, s, heads, source, source_stride, target, target_stride, inverse);
  } else {
    dispatch<float>(context, s, heads, source, source_stride, target, target_stride, inverse);
  }
}

}  // namespace striped::cuda
