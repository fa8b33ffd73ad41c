// Test cases; with the argument "join", one rank that joins, or says why it cannot.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "nccl_communicator.h"
#include "striped/error.h"

int main(int argc, char** argv) {
  // Before anything looks for NCCL.
  setenv("STRIPED_CUDNN_PATH", STANDIN_DIRECTORY, 0);
  if (argc < 2 || std::strcmp(argv[1], "join") != 0) return doctest::Context(argc, argv).run();
  try {
    cudaStream_t stream = nullptr;
    cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, 0);
    const auto ranks =
        striped::cuda::join_gpus({0, stream, [](void*, std::size_t) {}}, {0, 1, [](void*, std::size_t) {}});
    std::printf("joined\n");
  } catch (const striped::Error& error) {
    std::printf("%s [%s]\n", error.what(), error.code().c_str());
  }
  return 0;
}
