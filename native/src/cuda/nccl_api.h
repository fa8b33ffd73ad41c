// The part of NCCL's C interface that is used here. Declared by hand, so that building needs no NCCL; the
// numbers are fixed by the library's binary interface.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

namespace striped::cuda::nccl {

using Handle = void*;
struct UniqueId {
  char bytes[128];
};

constexpr int kSuccess = 0;
constexpr int kFloat32 = 7, kFloat64 = 8, kBfloat16 = 9;
constexpr int kSum = 0;
// The first with communicator splits: 2.18.
constexpr int kOldestVersion = 21800;

struct Functions {
  int (*version)(int*);
  const char* (*error_string)(int);
  int (*unique_id)(UniqueId*);
  int (*create)(Handle*, int ranks, UniqueId, int rank);
  int (*split)(Handle, int color, int key, Handle*, void* config);
  int (*destroy)(Handle);
  int (*abort)(Handle);
  int (*state)(Handle, int* status);
  int (*rank)(Handle, int*);
  int (*size)(Handle, int*);
  int (*all_reduce)(const void* in, void* out, std::size_t count, int type, int operation, Handle,
                    cudaStream_t);
  int (*all_gather)(const void* in, void* out, std::size_t count, int type, Handle, cudaStream_t);
  int (*reduce_scatter)(const void* in, void* out, std::size_t count, int type, int operation, Handle,
                        cudaStream_t);
  int (*broadcast)(const void* in, void* out, std::size_t count, int type, int root, Handle, cudaStream_t);
  int (*send)(const void* data, std::size_t count, int type, int peer, Handle, cudaStream_t);
  int (*receive)(void* data, std::size_t count, int type, int peer, Handle, cudaStream_t);
  int (*group_start)();
  int (*group_end)();
};

}  // namespace striped::cuda::nccl
