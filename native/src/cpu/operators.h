// The CPU operators, one file each, for float and double. Shapes and meaning are those of striped::Backend;
// here activations and "real" arrays have the same type T.
#pragma once

#include "context.h"
#include "striped/backend.h"
#include "striped/shard_operators.h"

namespace striped::cpu {

template <class T>
void dense(Context&, const DenseShape&, const T* x, const T* w, const T* bias, T* y);
template <class T>
void dense_input_gradient(Context&, const DenseShape&, const T* dy, const T* w, T* dx, bool accumulate);
template <class T>
void dense_weight_gradient(Context&, const DenseShape&, const T* dy, const T* x, T* dw, T* dbias,
                           bool accumulate);

template <class T>
void embedding(Context&, std::int64_t rows, std::int64_t width, const std::int32_t* tokens, const T* table,
               T* x);
template <class T>
void embedding_gradient(Context&, std::int64_t rows, std::int64_t width, const std::int32_t* tokens,
                        const T* dx, T* dtable);

template <class T>
void rms_norm(Context&, std::int64_t rows, std::int64_t width, T eps, const T* x, const T* branch, const T* w,
              T* sum, T* y, T* reciprocal_rms);
template <class T>
void rms_norm_backward(Context&, std::int64_t rows, std::int64_t width, const T* sum, const T* w,
                       const T* reciprocal_rms, const T* dy, T* dx, T* dw);
template <class T>
void add(Context&, std::int64_t count, T* x, const T* y);

// `piece`: for hyena_piece and hyena_piece_backward.
template <class T>
std::size_t hyena_workspace(const Context&, const HyenaShape&, bool piece);
template <class T>
void hyena(Context&, const HyenaShape&, const HyenaWeights&, const T* z, T* y, T* workspace);
template <class T>
void hyena_backward(Context&, const HyenaShape&, const HyenaWeights&, const T* z, const T* dy, T* dz,
                    const HyenaGradients&, T* workspace);

template <class T>
std::size_t attention_workspace(const Context&, const AttentionShape&);
template <class T>
void attention(Context&, const AttentionShape&, const T* qkv, T* y, T* statistics, T* workspace);
template <class T>
void attention_backward(Context&, const AttentionShape&, const T* qkv, const T* y, const T* statistics,
                        const T* dy, T* dqkv, T* workspace);

// The operators of striped::ShardOperators.
template <class T>
void hyena_piece(Context&, const HyenaShape&, const HyenaWeights&, const HyenaSurroundings&, const T* z, T* y,
                 T* workspace);
template <class T>
void hyena_piece_backward(Context&, const HyenaShape&, const HyenaWeights&, const HyenaSurroundings&,
                          const T* z, const T* dy, T* dz, T* reach, const HyenaGradients&, T* workspace);
template <class T>
void featurizer_reach(Context&, const HyenaShape&, const HyenaWeights&, const T* after, T* dz);
template <class T>
void hyena_gate(Context&, const HyenaShape&, const HyenaWeights&, const T* projections, const T* z, RowRange,
                T* out);
template <class T>
void hyena_query(Context&, const HyenaShape&, const HyenaWeights&, const T* projections, const T* z,
                 const T* x, RowRange, T* out);
template <class T>
void hyena_gate_backward(Context&, const HyenaShape&, const HyenaWeights&, const T* projections, const T* z,
                         const T* c, const T* dy, const T* du, T* dz, T* reach, T* d_featurizer);
template <class T>
void hyena_states(Context&, const HyenaShape&, const HyenaWeights&, const T* projections, const T* z,
                  const T* dy, T* states);
template <class T>
void hyena_carry(Context&, const HyenaShape&, const HyenaWeights&, std::int64_t count, const T* from, T* to);
template <class T>
void fourier_add(Context&, const FourierPart&, int piece, const T* x, std::int64_t stride, T* spectrum);
template <class T>
void fourier_take(Context&, const FourierPart&, int piece, const T* spectrum, T* x, std::int64_t stride);
template <class T>
void fourier_filter(Context&, const FourierPart&, const HyenaShape&, const HyenaWeights&, T* spectrum);
template <class T>
void fourier_filter_backward(Context&, const FourierPart&, const HyenaShape&, const HyenaWeights&, const T* u,
                             T* g, const HyenaGradients&);
template <class T>
void attention_split(Context&, const AttentionShape&, std::int64_t rows, std::int64_t position, const T* qkv,
                     T* q, T* kv);
template <class T>
void attention_join(Context&, const AttentionShape&, std::int64_t rows, std::int64_t position, const T* dq,
                    const T* dkv, T* dqkv);
template <class T>
std::size_t attention_part_workspace(const Context&, const AttentionPart&);
template <class T>
void attention_part(Context&, const AttentionPart&, const T* q, const T* kv, bool first, T* y, T* statistics,
                    T* workspace);
template <class T>
void attention_part_backward(Context&, const AttentionPart&, const T* q, const T* kv, const T* y,
                             const T* statistics, const T* dy, T* dq, T* dkv, T* workspace);

template <class T>
void gated(Context&, std::int64_t rows, std::int64_t inner, Activation, const T* gu, T* y);
template <class T>
void gated_backward(Context&, std::int64_t rows, std::int64_t inner, Activation, const T* gu, const T* dy,
                    T* dgu);

template <class T>
void cross_entropy(Context&, std::int64_t rows, std::int64_t vocab, T* logits, const std::int32_t* targets,
                   const float* weights, float total_weight, bool gradient, T* loss_sum);

template <class T>
void squared_norm(Context&, std::int64_t count, const T* gradients, double* squared_norm);
template <class T>
void adamw(Context&, std::int64_t count, const AdamWSettings&, const OptimizerStep&, double squared_norm,
           const T* gradients, T* parameters, T* moment1, T* moment2, T* compute);

}  // namespace striped::cpu
