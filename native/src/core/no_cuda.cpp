// Stands in for the CUDA backend where the engine is built without it.
#include "striped/backend.h"
#include "striped/error.h"

namespace striped {

std::unique_ptr<Backend> make_cuda_backend(const std::string&, int) {
  throw Error(
      "no-cuda",
      "this engine was built without CUDA; build it on a machine with the CUDA toolkit (nvcc, cuBLASLt) "
      "with -DSTRIPED_CUDA=ON, or use --backend cpu");
}

int cuda_device_count() { return 0; }

}  // namespace striped
