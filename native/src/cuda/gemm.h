// Dense layers through cuBLASLt: forward, input and weight gradients, in the activation type or in FP8.
#pragma once

#include <map>
#include <memory>
#include <tuple>

#include "context.h"
#include "cublaslt_api.h"
#include "fp8.h"

namespace striped::cuda {

// One product D[m, n] = Aᵒ[m, k] · Bᵒ[k, n] (+ D if accumulate) (+ bias[m]), column-major with dense columns:
// A is [m, k], or [k, m] if transposed; B is [k, n], or [n, k] if transposed.
struct Product {
  std::int64_t m, n, k;
  bool transpose_a, transpose_b, accumulate, bias, fast_accumulation;
  cudaDataType_t a, b, d;
  auto operator<=>(const Product&) const = default;
};

struct ProductPointers {
  const void *a, *b;
  void* d;
  const void* bias;                // in the type of d
  const float *scale_a, *scale_b;  // FP8: factors that undo the scaling, on the device
};

class Gemm {
 public:
  // Throws Error "no-cuda" when cuBLASLt is missing.
  explicit Gemm(Context&, bool fp8);
  ~Gemm();

  void dense(const DenseShape&, const void* x, const void* w, const float* bias, void* y);
  void dense_input_gradient(const DenseShape&, const void* dy, const void* w, void* dx, bool accumulate);
  void dense_weight_gradient(const DenseShape&, const void* dy, const void* x, float* dw, float* dbias,
                             bool accumulate);
  // As Fp8Quantizer::watch; null where nothing runs in FP8.
  unsigned* watch(const void* data, std::int64_t count);
  // The values in [data, data + bytes) change other than by a dense layer.
  void forget(const void* data, std::size_t bytes);
  void forget_all();

 private:
  struct Plan;
  void multiply(const Product&, const ProductPointers&);
  Plan& plan_for(const Product&, const ProductPointers&);
  void tune(Plan&, const Product&);
  void run(const Plan&, const Product&, const ProductPointers&, const cublaslt::Algorithm&);
  static void use_fp8(Product&, ProductPointers&, const Fp8Operand& a, const Fp8Operand& b,
                      cudaDataType_t b_type);
  bool runs_fp8(const DenseShape&) const;
  const void* bias_in_activation_type(const DenseShape&, const float* bias);
  void check(int status, const char* what) const;

  Context& context_;
  cublaslt::Functions lt_{};
  cublaslt::Handle handle_ = nullptr;
  void* workspace_ = nullptr;
  std::map<Product, std::unique_ptr<Plan>> plans_;
  std::unique_ptr<Fp8Quantizer> fp8_;
  Scratch bias_;
};

}  // namespace striped::cuda
