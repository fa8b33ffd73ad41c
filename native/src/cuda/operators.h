// The CUDA operators, one file each. Shapes and meaning are those of striped::Backend; activations have the
// context's element type, everything "real" is fp32. Calls are asynchronous on the context's stream.
#pragma once

#include <compare>

#include "context.h"
#include "striped/shard_operators.h"

namespace striped::cuda {

void embedding(Context&, std::int64_t rows, std::int64_t width, const std::int32_t* tokens, const void* table,
               void* x);
void embedding_gradient(Context&, std::int64_t rows, std::int64_t width, std::int64_t vocab,
                        const std::int32_t* tokens, const void* dx, float* dtable);

// Here and for gated activations: the largest magnitude of y, dx or dgu raises *largest, where it is not null
// (raise_to_block_max); only with bf16 activations.
void rms_norm(Context&, std::int64_t rows, std::int64_t width, float eps, const void* x, const void* branch,
              const float* w, void* sum, void* y, float* reciprocal_rms, unsigned* largest);
void rms_norm_backward(Context&, std::int64_t rows, std::int64_t width, const void* sum, const float* w,
                       const float* reciprocal_rms, const void* dy, void* dx, float* dw, unsigned* largest);
void add(Context&, std::int64_t count, void* x, const void* y);

// target[columns] += the sum of `parts` rows of partial[parts, columns], in a fixed order.
void add_partial_rows(Context&, std::int64_t parts, std::int64_t columns, const float* partial,
                      float* target);
// target[columns] += the sum of the rows of x[rows, columns].
void add_column_sums(Context&, std::int64_t rows, std::int64_t columns, const void* x, float* target);
// target[count] = source[count] in the activation type.
void convert_real(Context&, std::int64_t count, const float* source, void* target);

void negative_exponential(Context&, std::int64_t count, const float* x, float* y);
void multiply(Context&, std::int64_t count, float* x, const float* y);

void gated(Context&, std::int64_t rows, std::int64_t inner, Activation, const void* gu, void* y,
           unsigned* largest);
void gated_backward(Context&, std::int64_t rows, std::int64_t inner, Activation, const void* gu,
                    const void* dy, void* dgu, unsigned* largest);

void cross_entropy(Context&, std::int64_t rows, std::int64_t vocab, void* logits, const std::int32_t* targets,
                   const float* weights, float total_weight, bool gradient, float* loss_sum);

void squared_norm(Context&, std::int64_t count, const float* gradients, double* squared_norm);
void adamw(Context&, std::int64_t count, const AdamWSettings&, const OptimizerStep* step,
           const double* squared_norm, const float* gradients, float* parameters, float* moment1,
           float* moment2, void* compute);

// Where the heads of an array lie, in values: row t of head h of sequence b starts at b·sequence + h·head +
// t·row.
struct HeadStrides {
  std::int64_t sequence, head, row;
  auto operator<=>(const HeadStrides&) const = default;
};
struct HeadView {
  const void* data;
  HeadStrides strides;
};
struct MutableHeadView {
  void* data;
  HeadStrides strides;
};

// The rows of an array of heads: so many of each of `sequences` sequences, the first at `position` in it. The
// first `rotated` heads have the rotary embedding.
struct RopeRows {
  std::int64_t sequences, rows, position;
  int heads, rotated;
};
// Copies heads, rotated where they are to be, or rotated back (`inverse`, the gradient); source may be
// target.
void rope(Context&, const AttentionShape&, const RopeRows&, HeadView source, MutableHeadView target,
          bool inverse);
// As in striped::ShardOperators.
void attention_split(Context&, const AttentionShape&, std::int64_t rows, std::int64_t position,
                     const void* qkv, void* q, void* kv);
void attention_join(Context&, const AttentionShape&, std::int64_t rows, std::int64_t position,
                    const float* dq, const float* dkv, void* dqkv);

// What results become: activations; "real" numbers; or more of "real" numbers that are there already, to
// which gradients are added and with which outputs are merged by their log-sum-exps.
enum class Results { activations, real, more };

// Attention without the rotary embedding of `batch` parts, by kernels of ours in fp32 arithmetic; head_dim up
// to 256. `statistics` is [batch, heads, queries].
void attention_plain(Context&, std::int64_t batch, const AttentionPart&, HeadView q, HeadView k, HeadView v,
                     MutableHeadView y, float* statistics, Results);
// y and dy are activations; dq, dk and dv are not Results::real. `delta` is scratch like `statistics`.
struct AttentionGradients {
  MutableHeadView dq, dk, dv;
  Results results;
};
void attention_plain_backward(Context&, std::int64_t batch, const AttentionPart&, HeadView q, HeadView k,
                              HeadView v, HeadView y, const float* statistics, HeadView dy,
                              const AttentionGradients&, float* delta);
// Takes the result of a part, bf16 with an even head_dim, into the one for the keys before; the arrays of
// both lie as in striped::ShardOperators::attention_part.
void attention_merge(Context&, const AttentionPart&, const void* part, const float* part_statistics,
                     bool first, float* y, float* statistics);

}  // namespace striped::cuda
