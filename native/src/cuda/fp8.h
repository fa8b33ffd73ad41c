// FP8 operands of dense layers, scaled per tensor by the largest magnitude of that very tensor ("just in
// time"): nothing is kept between steps, so evaluations do not disturb a run and resuming is exact.
//
// E4M3 (largest 448) for activations and weights, E5M2 (largest 57344) for gradients (Micikevicius et al.
// 2022). Tensor cores take FP8 operands only with the summed dimension contiguous, so some are written
// transposed.
#pragma once

#include <array>
#include <vector>

#include "context.h"

namespace striped::cuda {

// Dense layers beyond this many run in bf16.
constexpr int kMaxSites = 4096;

enum class Fp8Role : int { input, weight, gradient, count };

// A bf16 array[rows, columns] of dense layer `site`, rows and columns multiples of 16.
struct Fp8Source {
  Fp8Role role;
  int site;
  std::int64_t rows, columns;
  const void* data;
};

struct Fp8Operand {
  const void* data;
  const float* scale;  // of the stored values, on the device
};

// Operands stay valid until the next call with the same role.
class Fp8Quantizer {
 public:
  explicit Fp8Quantizer(Context&);
  ~Fp8Quantizer();

  // An input to a forward pass is measured anew, a weight only after it has changed.
  Fp8Operand row_major(const Fp8Source&);
  // Stored as [columns, rows]. An input is scaled as in its forward pass, if that was the last of this site.
  Fp8Operand transposed(const Fp8Source&);
  // A gradient is wanted in both layouts by two calls in a row: the first of them writes both.
  Fp8Operand gradient(const Fp8Source&, bool transposed);

  // Where whoever now writes data[count] raises the largest magnitude (raise_to_block_max): a dense layer
  // that takes the array in the very next call of the backend need not read it for that.
  unsigned* watch(const void* data, std::int64_t count);

  // The values in [data, data + bytes) change: measurements of them no longer hold.
  void forget(const void* data, std::size_t bytes);
  void forget_all();

 private:
  // cuBLASLt wants the factors 16-byte aligned.
  struct alignas(16) Scale {
    float inverse;
    unsigned largest;  // bits of the largest magnitude, a non-negative float
  };
  // What a scale was measured of; in a recording it holds within that recording only.
  struct Known {
    const void* data = nullptr;
    unsigned long long recording = 0;
  };
  struct Watch {
    const void* data = nullptr;
    std::int64_t count = 0;
    std::uint64_t call = 0;
    unsigned long long recording = 0;
  };
  struct GradientPair {
    Fp8Source source{};
    std::uint64_t call = 0;
    unsigned long long recording = 0;
    Fp8Operand rows{}, columns{};
  };

  Scale* scale_of(const Fp8Source&) const;
  bool watched(const Fp8Source&) const;
  Scale* measure(const Fp8Source&);
  Scale* measure_if_changed(const Fp8Source&);
  Known& known(const Fp8Source&);
  // Writes the layouts whose target is given.
  void convert(const Fp8Source&, Scale*, std::uint8_t* rows, std::uint8_t* columns);

  Context& context_;
  Scale* scales_ = nullptr;
  unsigned* watched_ = nullptr;
  Watch watch_;
  std::vector<Known> known_;
  std::array<Scratch, static_cast<int>(Fp8Role::count)> operands_;
  Scratch gradient_columns_;
  GradientPair pair_;
};

}  // namespace striped::cuda
