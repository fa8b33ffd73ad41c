// The part of cuBLASLt's C interface that is used here. Declared by hand, so that building needs no cuBLAS
// and one binary serves versions 12 and 13; the numbers are fixed by the library's binary interface.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace striped::cuda::cublaslt {

using Handle = void*;
using MatmulDescriptor = void*;
using Layout = void*;
using Preference = void*;

struct Algorithm {
  std::uint64_t data[8];
};
struct HeuristicResult {
  Algorithm algorithm;
  std::size_t workspace;
  int status;
  float waves;
  int reserved[4];
};

constexpr int kSuccess = 0;
constexpr int kCompute32F = 68;
constexpr std::int32_t kNoTranspose = 0, kTranspose = 1;
constexpr std::int32_t kEpilogueBias = 4;
// Reductions of split sums: none, or in the compute type (fp32) through the workspace.
constexpr std::uint32_t kReductionNone = 0, kReductionComputeType = 2;

enum MatmulAttribute : int {
  kTransposeA = 3,
  kTransposeB = 4,
  kEpilogue = 7,
  kBiasPointer = 8,
  kScaleA = 17,
  kScaleB = 18,
  kFastAccumulation = 25,
};
enum PreferenceAttribute : int { kMaxWorkspace = 1, kReductionSchemes = 3 };

struct Functions {
  std::size_t (*version)();
  int (*create)(Handle*);
  int (*destroy)(Handle);
  int (*matmul_descriptor_create)(MatmulDescriptor*, int compute_type, cudaDataType_t scale_type);
  int (*matmul_descriptor_destroy)(MatmulDescriptor);
  int (*matmul_descriptor_set)(MatmulDescriptor, int attribute, const void* value, std::size_t bytes);
  int (*layout_create)(Layout*, cudaDataType_t type, std::uint64_t rows, std::uint64_t columns,
                       std::int64_t ld);
  int (*layout_destroy)(Layout);
  int (*preference_create)(Preference*);
  int (*preference_destroy)(Preference);
  int (*preference_set)(Preference, int attribute, const void* value, std::size_t bytes);
  int (*heuristics)(Handle, MatmulDescriptor, Layout a, Layout b, Layout c, Layout d, Preference,
                    int requested, HeuristicResult*, int* returned);
  int (*matmul)(Handle, MatmulDescriptor, const void* alpha, const void* a, Layout, const void* b, Layout,
                const void* beta, const void* c, Layout, void* d, Layout, const Algorithm*, void* workspace,
                std::size_t workspace_bytes, cudaStream_t);
};

}  // namespace striped::cuda::cublaslt
