// The CPU operators, one file each, for float and double. Shapes and meaning are those of striped::Backend;
// here activations and "real" arrays have the same type T.
#pragma once

#include "context.h"
#include "striped/backend.h"

namespace striped::cpu {

template <class T>
void dense(Context&, const DenseShape&, const T* x, const T* w, const T* bias, T* y);
template <class T>
void dense_input_gradient(Context&, const DenseShape&, const T* dy, const T* w, T* dx, bool accumulate);
template <class T>
void dense_weight_gradient(Context&, const DenseShape&, const T* dy, const T* x, T* dw, T* dbias);

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

template <class T>
std::size_t hyena_workspace(const Context&, const HyenaShape&);
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
