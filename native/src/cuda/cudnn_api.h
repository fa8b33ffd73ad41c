// The part of cuDNN 9's C graph interface that is used here. Declared by hand, so that building needs no
// cuDNN; the numbers are fixed by the library's binary interface.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace striped::cuda::cudnn {

using Handle = void*;
using RawDescriptor = void*;

constexpr int kSuccess = 0;

enum class Kind : int {
  pointwise = 0,
  engine = 2,
  engine_configuration = 3,
  engine_heuristics = 4,
  execution_plan = 5,
  pointwise_operation = 13,
  operation_graph = 15,
  variant_pack = 16,
  tensor = 17,
  matmul = 18,
  matmul_operation = 19,
  reduction = 21,
  reduction_operation = 22,
  reshape_operation = 31,
};

enum class Type : int {
  handle = 0,
  data_type = 1,
  boolean = 2,
  int64 = 3,
  float32 = 4,
  pointer = 6,
  heuristic_mode = 8,
  numerical_note = 11,
  pointwise_mode = 14,
  descriptor = 15,
  reduction_operator = 18,
};

enum class Attribute : int {
  pointwise_mode = 0,
  pointwise_precision = 1,
  pointwise_axis = 9,
  heuristics_mode = 200,
  heuristics_graph = 201,
  heuristics_results = 202,
  configuration_engine = 300,
  plan_handle = 400,
  plan_configuration = 401,
  plan_workspace = 402,
  pointwise_operation_descriptor = 750,
  pointwise_operation_x = 751,
  pointwise_operation_b = 752,
  pointwise_operation_y = 753,
  pointwise_operation_t = 758,
  graph_handle = 800,
  graph_operations = 801,
  tensor_alignment = 900,
  tensor_type = 901,
  tensor_dimensions = 902,
  tensor_strides = 903,
  tensor_id = 906,
  tensor_is_virtual = 907,
  tensor_is_by_value = 908,
  pack_ids = 1000,
  pack_pointers = 1001,
  pack_workspace = 1003,
  engine_numerical_notes = 1303,
  matmul_precision = 1500,
  matmul_a = 1520,
  matmul_b = 1521,
  matmul_c = 1522,
  matmul_descriptor = 1523,
  reduction_operator = 1600,
  reduction_precision = 1601,
  reduction_x = 1610,
  reduction_y = 1611,
  reduction_descriptor = 1612,
  reshape_x = 2200,
  reshape_y = 2201,
};

enum class Data : int { float32 = 0, int32 = 4, bfloat16 = 9, boolean = 11 };

enum class Pointwise : int {
  add = 0,
  multiply = 1,
  divide = 6,
  subtract = 9,
  exponential = 13,
  logarithm = 15,
  identity = 21,
  greater = 302,
  greater_or_equal = 303,
  index = 501,
  select = 601,
};

enum class Reduction : int { sum = 0, maximum = 3 };

constexpr int kHeuristicModeA = 3;
constexpr int kNondeterministic = 4;

struct Functions {
  std::size_t (*version)();
  const char* (*error_string)(int);
  void (*last_error)(char*, std::size_t);
  int (*create)(Handle*);
  int (*destroy)(Handle);
  int (*set_stream)(Handle, cudaStream_t);
  int (*descriptor_create)(int kind, RawDescriptor*);
  int (*descriptor_destroy)(RawDescriptor);
  int (*descriptor_finalize)(RawDescriptor);
  int (*descriptor_set)(RawDescriptor, int attribute, int type, std::int64_t count, const void* values);
  int (*descriptor_get)(RawDescriptor, int attribute, int type, std::int64_t requested, std::int64_t* count,
                        void* values);
  int (*execute)(Handle, RawDescriptor plan, RawDescriptor variant_pack);
};

}  // namespace striped::cuda::cudnn
