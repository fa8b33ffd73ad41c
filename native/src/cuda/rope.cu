// Rotary embedding (Su et al. 2021) of the first against the second half of a head's dimensions, on the way
// to where an attention wants its heads.
#include <algorithm>
#include <type_traits>

#include "launch.h"
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

template <int N, class T>
__device__ __forceinline__ void load_values(const T* source, float (&target)[N]) {
  if constexpr (std::is_same_v<T, float>) {
    load_real<N>(source, target);
  } else {
    load<N>(source, target);
  }
}

// One thread: N pairs of dimensions of one row, for every kHeadLanes-th head. Block: x over pairs, y over
// heads, z over rows. Where nothing is rotated head_dim may be odd; its middle has no partner then.
template <class From, class To, int N>
__global__ void rotate(RopeRows r, int head_dim, const From* source, HeadStrides from, To* target,
                       HeadStrides to, const float2* coarse, const float2* fine, float sign) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * blockDim.z + threadIdx.z;
  if (index >= r.sequences * r.rows) return;
  const std::int64_t sequence = index / r.rows, row = index % r.rows, position = r.position + row;
  const int half = (head_dim + 1) / 2;
  for (int pair = threadIdx.x * N; pair < half; pair += blockDim.x * N) {
    const bool partner = pair + half < head_dim;
    float cosine[N] = {}, sine[N] = {};
#pragma unroll
    for (int i = 0; i < N && r.rotated > 0; ++i) {
      const float2 a = coarse[position / kFine * half + pair + i],
                   b = fine[position % kFine * half + pair + i];
      cosine[i] = a.x * b.x - a.y * b.y;
      sine[i] = sign * (a.y * b.x + a.x * b.y);
    }
    for (int head = threadIdx.y; head < r.heads; head += blockDim.y) {
      const From* in = source + sequence * from.sequence + head * from.head + row * from.row + pair;
      To* out = target + sequence * to.sequence + head * to.head + row * to.row + pair;
      float first[N], second[N] = {};
      load_values<N>(in, first);
      if (partner) load_values<N>(in + half, second);
      if (head < r.rotated) {
#pragma unroll
        for (int i = 0; i < N; ++i) {
          const float x = first[i], y = second[i];
          first[i] = x * cosine[i] - y * sine[i];
          second[i] = y * cosine[i] + x * sine[i];
        }
      }
      store<N>(out, first);
      if (partner) store<N>(out + half, second);
    }
  }
}

// Serves positions below `length`.
const RopeTable& table_for(Context& context, const AttentionShape& s, std::int64_t length) {
  const int coarse = static_cast<int>(ceil_div(length, kFine)), half = s.head_dim / 2;
  const std::vector<double> key = {s.rope_base, s.rope_scale, static_cast<double>(s.head_dim),
                                   static_cast<double>(coarse)};
  // The shortest of those that are long enough.
  const auto found = context.rope_tables.lower_bound(key);
  if (found != context.rope_tables.end() && std::equal(key.begin(), key.end() - 1, found->first.begin())) {
    return found->second;
  }
  if (recording_id(context.stream) != 0) {
    throw Error("cuda-error", "The rotary table of a new shape cannot be built while a step is recorded.");
  }
  RopeTable table;
  table.coarse = static_cast<float2*>(device_allocate(sizeof(float2) * coarse * half));
  table.fine = static_cast<float2*>(device_allocate(sizeof(float2) * kFine * half));
  const auto build = [&](int count, double step, float2* target) {
    launch<build_table>(static_cast<unsigned>(ceil_div(count * half, 128)), 128, 0, context.stream, count,
                        step, half, s.rope_base, s.rope_scale, target);
  };
  build(coarse, kFine, table.coarse);
  build(kFine, 1, table.fine);
  return context.rope_tables.emplace(key, table).first->second;
}

template <class From, class To, int N>
void start(Context& context, const AttentionShape& s, const RopeRows& rows, HeadView source,
           MutableHeadView target, bool inverse) {
  const RopeTable table = rows.rotated > 0 ? table_for(context, s, rows.position + rows.rows) : RopeTable{};
  const unsigned pairs = static_cast<unsigned>(std::min<std::int64_t>(ceil_div((s.head_dim + 1) / 2, N), 32));
  const unsigned depth = std::max(1u, 256 / (pairs * kHeadLanes));
  launch<rotate<From, To, N>>(
      static_cast<unsigned>(ceil_div(rows.sequences * rows.rows, depth)), dim3(pairs, kHeadLanes, depth), 0,
      context.stream, rows, s.head_dim, static_cast<const From*>(source.data), source.strides,
      static_cast<To*>(target.data), target.strides, table.coarse, table.fine, inverse ? -1.0f : 1.0f);
}

template <class From, class To>
void choose_width(Context& context, const AttentionShape& s, const RopeRows& rows, HeadView source,
                  MutableHeadView target, bool inverse) {
  if (rows.sequences * rows.rows == 0) return;
  const auto wide = [](const HeadStrides& strides) {
    return is_wide<To>(strides.sequence) && is_wide<To>(strides.head) && is_wide<To>(strides.row);
  };
  if (s.head_dim % (2 * kWide<To>) == 0 && wide(source.strides) && wide(target.strides)) {
    start<From, To, kWide<To>>(context, s, rows, source, target, inverse);
  } else {
    start<From, To, 1>(context, s, rows, source, target, inverse);
  }
}

// A piece's q, k and v: packed rows of one array, and arrays with the heads outermost.
struct Piece {
  RopeRows q, kv;
  HeadStrides packed, apart;
  std::int64_t kv_column;  // of a packed row

  Piece(const AttentionShape& s, std::int64_t rows, std::int64_t position)
      : q{1, rows, position, s.heads, s.rope_base != 0 ? s.heads : 0},
        kv{1, rows, position, 2 * s.kv_heads, s.rope_base != 0 ? s.kv_heads : 0},
        packed{0, s.head_dim, (s.heads + 2 * std::int64_t{s.kv_heads}) * s.head_dim},
        apart{0, rows * s.head_dim, s.head_dim},
        kv_column(std::int64_t{s.heads} * s.head_dim) {}
};

template <class T>
void split(Context& context, const AttentionShape& s, const Piece& piece, const T* qkv, void* q, void* kv) {
  choose_width<T, T>(context, s, piece.q, {qkv, piece.packed}, {q, piece.apart}, false);
  choose_width<T, T>(context, s, piece.kv, {qkv + piece.kv_column, piece.packed}, {kv, piece.apart}, false);
}

template <class T>
void join(Context& context, const AttentionShape& s, const Piece& piece, const float* dq, const float* dkv,
          T* dqkv) {
  choose_width<float, T>(context, s, piece.q, {dq, piece.apart}, {dqkv, piece.packed}, true);
  choose_width<float, T>(context, s, piece.kv, {dkv, piece.apart}, {dqkv + piece.kv_column, piece.packed},
                         true);
}

}  // namespace

void rope(Context& context, const AttentionShape& s, const RopeRows& rows, HeadView source,
          MutableHeadView target, bool inverse) {
  if (context.type == ElementType::bf16) {
    choose_width<bf16, bf16>(context, s, rows, source, target, inverse);
  } else {
    choose_width<float, float>(context, s, rows, source, target, inverse);
  }
}

void attention_split(Context& context, const AttentionShape& s, std::int64_t rows, std::int64_t position,
                     const void* qkv, void* q, void* kv) {
  const Piece piece(s, rows, position);
  if (context.type == ElementType::bf16) {
    split(context, s, piece, static_cast<const bf16*>(qkv), q, kv);
  } else {
    split(context, s, piece, static_cast<const float*>(qkv), q, kv);
  }
}

void attention_join(Context& context, const AttentionShape& s, std::int64_t rows, std::int64_t position,
                    const float* dq, const float* dkv, void* dqkv) {
  const Piece piece(s, rows, position);
  if (context.type == ElementType::bf16) {
    join(context, s, piece, dq, dkv, static_cast<bf16*>(dqkv));
  } else {
    join(context, s, piece, dq, dkv, static_cast<float*>(dqkv));
  }
}

}  // namespace striped::cuda
