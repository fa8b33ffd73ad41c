#include "tensor_map.h"

#include <cudaTypedefs.h>
#include <cuda_runtime.h>

#include <string>

#include "striped/error.h"

namespace striped::cuda {
namespace {

// Fetched from the driver at run time, so that nothing links against libcuda.
PFN_cuTensorMapEncodeTiled_v12000 encode_function() {
  static const auto function = [] {
    void* entry = nullptr;
    cudaDriverEntryPointQueryResult result{};
    cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000, cudaEnableDefault, &result);
    if (result != cudaDriverEntryPointSuccess || entry == nullptr) {
      throw Error("cuda-error", "this NVIDIA driver lacks cuTensorMapEncodeTiled; update it to 525 or later");
    }
    return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(entry);
  }();
  return function;
}

}  // namespace

CUtensorMap bf16_tensor_map(const void* data, std::int64_t batch, std::int64_t rows, std::int64_t columns,
                            int box_rows, int box_columns) {
  CUtensorMap map;
  const cuuint64_t dimensions[3] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows),
                                    static_cast<cuuint64_t>(batch)};
  const cuuint64_t strides[2] = {static_cast<cuuint64_t>(columns) * 2,
                                 static_cast<cuuint64_t>(columns * rows) * 2};
  const cuuint32_t box[3] = {static_cast<cuuint32_t>(box_columns), static_cast<cuuint32_t>(box_rows), 1};
  const cuuint32_t steps[3] = {1, 1, 1};
  const CUresult status =
      encode_function()(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<void*>(data), dimensions,
                        strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                        CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) {
    throw Error("cuda-error", "cannot describe a [" + std::to_string(batch) + ", " + std::to_string(rows) +
                                  ", " + std::to_string(columns) +
                                  "] array to the copy engine (driver error " +
                                  std::to_string(static_cast<int>(status)) + ")");
  }
  return map;
}

}  // namespace striped::cuda
