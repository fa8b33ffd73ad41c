// FP8 operands of dense layers, scaled per tensor by the largest magnitude of that very tensor ("just in
// time"): nothing is kept between steps, so evaluations do not disturb a run and resuming is exact.
//
// E4M3 (largest 448) for activations and weights, E5M2 (largest 57344) for gradients (Micikevicius et al.
// 2022). Tensor cores take FP8 operands only with the summed dimension contiguous, so some are written
// transposed.
#pragma once

#include "context.h"

namespace striped::cuda {

enum class Fp8Format { e4m3, e5m2 };

struct Fp8Operand {
  const void* data;
  const float* scale;  // of the stored values, on the device
};

class Fp8Quantizer {
 public:
  explicit Fp8Quantizer(Context&);
  ~Fp8Quantizer();

  // Role says where in scratch memory the operand lives; it stays valid until the next call with that role.
  enum class Role : int { left, right, count };
  // x[rows, columns] in bf16 to FP8, row-major.
  Fp8Operand quantize(Role, Fp8Format, std::int64_t rows, std::int64_t columns, const void* x);
  // The same, stored as [columns, rows]. Rows and columns must be multiples of 16.
  Fp8Operand quantize_transposed(Role, Fp8Format, std::int64_t rows, std::int64_t columns, const void* x);

 private:
  struct Scale {
    unsigned largest;  // bits of the largest magnitude, a non-negative float
    float inverse;
  };
  Scale* measure(Role, std::int64_t count, const void* x);

  Context& context_;
  Scale* scales_ = nullptr;
  Scratch operands_[static_cast<int>(Role::count)];
};

}  // namespace striped::cuda
