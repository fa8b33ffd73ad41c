// Twiddle factors of transforms at frequencies a quarter off the integers.
#pragma once

#include <cuda_runtime.h>

#include <cmath>

#include "striped/shard_operators.h"

namespace striped::cuda::fourier {

// exp(-2πi · k·(residue + 1/4) / (pieces·rows)) for place k of a sequence, right to fp32's last bit: turns
// are counted exactly, and the angle is in double precision.
struct Turn {
  unsigned long long quarters;  // in a whole turn

  explicit Turn(const FourierPart& part) : quarters(4ull * part.pieces * part.rows) {}
  __device__ float2 operator()(int residue, std::int64_t k) const {
    const unsigned long long turns = static_cast<unsigned long long>(k) * (4ull * residue + 1) % quarters;
    double sine, cosine;
    sincospi(-2.0 * static_cast<double>(turns) / static_cast<double>(quarters), &sine, &cosine);
    return make_float2(static_cast<float>(cosine), static_cast<float>(sine));
  }
};

}  // namespace striped::cuda::fourier
