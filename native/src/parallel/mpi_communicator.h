// Ranks in processes started by mpirun or srun, with buffers in this machine's memory.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "core/communicator.h"
#include "parallel/mpi_api.h"

namespace striped::parallel {

// The module with the MPI calls: libstriped_mpi.so beside the program (or the addon), or the file that the
// environment variable STRIPED_MPI names. Loaded once, never unloaded. Throws Error "no-mpi".
const StripedMpiFunctions& mpi();

class MpiCommunicator final : public Communicator {
 public:
  // All processes of the launch. The first call starts MPI.
  static std::unique_ptr<MpiCommunicator> world();
  // Takes over the handle.
  explicit MpiCommunicator(void* handle);
  ~MpiCommunicator() override;
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void all_reduce(void* data, std::int64_t count, DType type) override;
  void all_gather(const void* data, void* out, std::int64_t count, DType type) override;
  void reduce_scatter(const void* data, void* out, std::int64_t count, DType type) override;
  void all_to_all(const void* data, void* out, std::int64_t count, DType type) override;
  void broadcast(void* data, std::int64_t count, DType type, int root) override;
  void barrier() override;
  void exchange(const std::vector<Send>& sends, const std::vector<Receive>& receives, DType type) override;
  double waited() override { return std::exchange(waited_, 0); }
  std::unique_ptr<Communicator> split(int color, int key) override;

 private:
  // Calls a function of the module, times it and throws what it complains of.
  template <typename... Parameters, typename... Arguments>
  void call(const char* what, const char* (*function)(void*, Parameters...), Arguments... arguments);

  void* handle_;
  int rank_, size_;
  double waited_ = 0;
};

}  // namespace striped::parallel
