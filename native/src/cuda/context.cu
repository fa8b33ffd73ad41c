#include "context.h"

#include <algorithm>
#include <cstdio>

#include "device.h"
#include "striped/error.h"

namespace striped::cuda {
namespace {

std::string gibibytes(std::size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f GiB", static_cast<double>(bytes) / (1u << 30));
  return text;
}

}  // namespace

void* device_allocate(std::size_t bytes) {
  void* pointer = nullptr;
  const cudaError_t status = cudaMalloc(&pointer, std::max<std::size_t>(bytes, 256));
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    const auto [used, total] = device_memory();
    throw Error("out-of-memory",
                "The GPU has no room for " + gibibytes(bytes) + ": " + gibibytes(total - used) + " of " +
                    gibibytes(total) +
                    " are free. Use a smaller micro-batch or sequence, `recompute blocks`, a "
                    "smaller model or a GPU with more memory.");
  }
  check(status, "cudaMalloc");
  return pointer;
}

Scratch::~Scratch() {
  for (void* buffer : buffers_) cudaFree(buffer);
}

void* Scratch::reserve_bytes(std::size_t bytes, const Context& context) {
  if (!buffers_.empty() && bytes <= size_) return buffers_.back();
  if (recording_id(context.stream) != 0) {
    throw Error(
        "cuda-error",
        "Scratch memory would have to grow while a step is recorded; run the step once before recording it.");
  }
  if (!context.recorded) {
    // cudaFree waits for the kernels that still use the buffer.
    for (void* buffer : buffers_) check(cudaFree(buffer), "cudaFree");
    buffers_.clear();
    size_ = 0;
  }
  buffers_.push_back(device_allocate(bytes));
  size_ = bytes;
  return buffers_.back();
}

Context::~Context() {
  for (auto& [key, table] : rope_tables) {
    cudaFree(table.coarse);
    cudaFree(table.fine);
  }
  if (stream) cudaStreamDestroy(stream);
}

unsigned long long recording_id(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  unsigned long long id = 0;
  check(cudaStreamGetCaptureInfo(stream, &status, &id, nullptr, nullptr, nullptr, nullptr),
        "cudaStreamGetCaptureInfo");
  return status == cudaStreamCaptureStatusActive ? id : 0;
}

}  // namespace striped::cuda
