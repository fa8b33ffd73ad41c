#include "parallel/mpi_communicator.h"

#include <dlfcn.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>

#include "parallel/activity.h"
#include "striped/error.h"

namespace striped::parallel {
namespace {

constexpr const char* kModule = "libstriped_mpi.so";

// Beside the file that this code was loaded from.
std::string module_path() {
  if (const char* given = std::getenv("STRIPED_MPI")) return given;
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&mpi), &info) == 0 || info.dli_fname == nullptr) return kModule;
  std::error_code error;
  // A program may have been called by a name without a directory.
  std::filesystem::path self = std::filesystem::path(info.dli_fname);
  if (!self.has_parent_path()) self = std::filesystem::read_symlink("/proc/self/exe", error);
  return (self.parent_path() / kModule).string();
}

const StripedMpiFunctions* load() {
  const std::string path = module_path();
  // MPI libraries load plugins that look for its symbols globally.
  void* const module = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (module == nullptr) {
    const char* const reason = dlerror();
    throw Error("no-mpi",
                "a run over several ranks needs MPI, and the engine's MPI module cannot be loaded (" +
                    std::string(reason != nullptr ? reason : path) +
                    "); install an MPI with its headers (Debian: libopenmpi-dev, openmpi-bin) and build "
                    "the engine again, or name the module in STRIPED_MPI");
  }
  const auto functions =
      reinterpret_cast<decltype(&striped_mpi_functions)>(dlsym(module, "striped_mpi_functions"));
  if (functions == nullptr || functions()->version != kStripedMpiVersion)
    throw Error("no-mpi", path + " is not of this engine's version; build the engine again");
  return functions();
}

void check(const char* problem, const char* what) {
  if (problem != nullptr) throw Error("mpi", std::string("MPI failed in ") + what + ": " + problem);
}

// Sums know what they add; everything else moves bytes.
int type_of_sum(DType type) {
  if (type == DType::bf16) throw Error("mpi", "MPI cannot add bf16; ranks on GPUs speak through NCCL");
  return type == DType::f64 ? kStripedMpiF64 : kStripedMpiF32;
}

struct Moved {
  std::int64_t count;
  int type;
};

Moved moved(std::int64_t count, DType type) {
  if (type == DType::bf16) return {count * 2, kStripedMpiBytes};
  return {count, type == DType::f64 ? kStripedMpiF64 : kStripedMpiF32};
}

template <typename Message>
std::vector<StripedMpiMessage> messages(const std::vector<Message>& list, DType type) {
  std::vector<StripedMpiMessage> result;
  for (const auto& [peer, data, count] : list)
    result.push_back({const_cast<void*>(static_cast<const void*>(data)), moved(count, type).count, peer});
  return result;
}

}  // namespace

const StripedMpiFunctions& mpi() {
  static const StripedMpiFunctions* const functions = load();
  return *functions;
}

std::unique_ptr<MpiCommunicator> MpiCommunicator::world() {
  void* handle = nullptr;
  check(mpi().start(&handle), "its start");
  return std::make_unique<MpiCommunicator>(handle);
}

MpiCommunicator::MpiCommunicator(void* handle)
    : handle_(handle), rank_(mpi().rank(handle)), size_(mpi().size(handle)) {}

MpiCommunicator::~MpiCommunicator() { mpi().release(handle_); }

template <typename... Parameters, typename... Arguments>
void MpiCommunicator::call(const char* what, const char* (*function)(void*, Parameters...),
                           Arguments... arguments) {
  const Waiting waiting;
  const auto start = std::chrono::steady_clock::now();
  check(function(handle_, arguments...), what);
  waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void MpiCommunicator::all_reduce(void* data, std::int64_t count, DType type) {
  call("all-reduce", mpi().all_reduce, data, count, type_of_sum(type));
}

void MpiCommunicator::all_gather(const void* data, void* out, std::int64_t count, DType type) {
  const Moved what = moved(count, type);
  call("all-gather", mpi().all_gather, data, out, what.count, what.type);
}

void MpiCommunicator::reduce_scatter(const void* data, void* out, std::int64_t count, DType type) {
  call("reduce-scatter", mpi().reduce_scatter, data, out, count, type_of_sum(type));
}

void MpiCommunicator::all_to_all(const void* data, void* out, std::int64_t count, DType type) {
  const Moved what = moved(count, type);
  call("all-to-all", mpi().all_to_all, data, out, what.count, what.type);
}

void MpiCommunicator::broadcast(void* data, std::int64_t count, DType type, int root) {
  const Moved what = moved(count, type);
  call("broadcast", mpi().broadcast, data, what.count, what.type, root);
}

void MpiCommunicator::barrier() { call("barrier", mpi().barrier); }

void MpiCommunicator::exchange(const std::vector<Send>& sends, const std::vector<Receive>& receives,
                               DType type) {
  const std::vector<StripedMpiMessage> out = messages(sends, type), in = messages(receives, type);
  call("exchange", mpi().exchange, out.data(), static_cast<int>(out.size()), in.data(),
       static_cast<int>(in.size()), moved(0, type).type);
}

std::unique_ptr<Communicator> MpiCommunicator::split(int color, int key) {
  void* part = nullptr;
  check(mpi().split(handle_, color, key, &part), "split");
  return std::make_unique<MpiCommunicator>(part);
}

}  // namespace striped::parallel
