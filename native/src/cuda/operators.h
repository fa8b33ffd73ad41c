// The CUDA operators, one file each. Shapes and meaning are those of striped::Backend; activations have the
// context's element type, everything "real" is fp32. Calls are asynchronous on the context's stream.
#pragma once

#include "context.h"

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

// Rotates `heads` heads of head_dim of every token, from rows of source_stride values to rows of
// target_stride; source may be target. `inverse` rotates back (the gradient).
void rope(Context&, const AttentionShape&, int heads, const void* source, std::int64_t source_stride,
          void* target, std::int64_t target_stride, bool inverse);

// One of the packed projections of an attention: head h of token t of sequence b lies at
// data + (b·length + t)·stride + h·head_dim.
struct HeadView {
  const void* data;
  std::int64_t stride;
};
struct MutableHeadView {
  void* data;
  std::int64_t stride;
};

// Attention without the rotary embedding, by kernels of ours in fp32 arithmetic; head_dim up to 256.
void attention_plain(Context&, const AttentionShape&, HeadView q, HeadView k, HeadView v, void* y,
                     float* statistics);
// `delta` is scratch, [batch, heads, length].
void attention_plain_backward(Context&, const AttentionShape&, HeadView q, HeadView k, HeadView v,
                              const void* y, const float* statistics, const void* dy, MutableHeadView dq,
                              MutableHeadView dk, MutableHeadView dv, float* delta);

}  // namespace striped::cuda
