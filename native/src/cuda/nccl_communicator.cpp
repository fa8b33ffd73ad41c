#include "nccl_communicator.h"

#include <exception>
#include <string>
#include <utility>

#include "context.h"
#include "library_loader.h"
#include "striped/error.h"

namespace striped::cuda {
namespace {

nccl::Functions load() {
  nccl::Functions f{};
  try {
    const Library library({"libnccl.so.2"}, "runs over several GPUs");
    library.bind(f.version, "ncclGetVersion");
    library.bind(f.error_string, "ncclGetErrorString");
    int version = 0;
    f.version(&version);
    if (version < nccl::kOldestVersion)
      throw Error("no-nccl", "NCCL is of version " + std::to_string(version / 10000) + "." +
                                 std::to_string(version / 100 % 100) + ", and 2.18 or later is needed");
    library.bind(f.unique_id, "ncclGetUniqueId");
    library.bind(f.create, "ncclCommInitRank");
    library.bind(f.split, "ncclCommSplit");
    library.bind(f.destroy, "ncclCommDestroy");
    library.bind(f.abort, "ncclCommAbort");
    library.bind(f.state, "ncclCommGetAsyncError");
    library.bind(f.rank, "ncclCommUserRank");
    library.bind(f.size, "ncclCommCount");
    library.bind(f.all_reduce, "ncclAllReduce");
    library.bind(f.all_gather, "ncclAllGather");
    library.bind(f.reduce_scatter, "ncclReduceScatter");
    library.bind(f.broadcast, "ncclBroadcast");
    library.bind(f.send, "ncclSend");
    library.bind(f.receive, "ncclRecv");
    library.bind(f.group_start, "ncclGroupStart");
    library.bind(f.group_end, "ncclGroupEnd");
  } catch (const Error& error) {
    throw Error("no-nccl", std::string("Ranks on GPUs speak through NCCL: ") + error.what());
  }
  return f;
}

const nccl::Functions& functions() {
  static const nccl::Functions loaded = load();
  return loaded;
}

void require(int status, const char* what) {
  if (status != nccl::kSuccess)
    throw Error("nccl", std::string("NCCL failed in ") + what + ": " + functions().error_string(status) +
                            "; NCCL_DEBUG=WARN in the environment has it say more");
}

int type_of(DType type) {
  return type == DType::f64 ? nccl::kFloat64 : type == DType::f32 ? nccl::kFloat32 : nccl::kBfloat16;
}

class Event {
 public:
  explicit Event(unsigned flags) { check(cudaEventCreateWithFlags(&event_, flags), "cudaEventCreate"); }
  ~Event() {
    if (event_ != nullptr) cudaEventDestroy(event_);
  }
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&&) = delete;

  void record(cudaStream_t stream) const { check(cudaEventRecord(event_, stream), "cudaEventRecord"); }
  void hold(cudaStream_t stream) const {
    check(cudaStreamWaitEvent(stream, event_, 0), "cudaStreamWaitEvent");
  }
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

// How long the backend's stream stood still for others: pairs of places in it, from the end of its work to
// where it goes on.
class StandStill {
 public:
  // Around what makes `stream` wait.
  template <typename Wait>
  void time(cudaStream_t stream, const Wait& wait) {
    if (used_ + 2 > kMost) return wait();
    next().record(stream);
    wait();
    next().record(stream);
  }
  // Waits for the last of the places.
  double take() {
    double seconds = 0;
    for (std::size_t i = 0; i + 1 < used_; i += 2) {
      float milliseconds = 0;
      check(cudaEventSynchronize(events_[i + 1].get()), "cudaEventSynchronize");
      check(cudaEventElapsedTime(&milliseconds, events_[i].get(), events_[i + 1].get()),
            "cudaEventElapsedTime");
      seconds += milliseconds * 1e-3;
    }
    used_ = 0;
    return seconds;
  }

 private:
  static constexpr std::size_t kMost = 16384;
  const Event& next() {
    if (used_ == events_.size()) events_.emplace_back(cudaEventDefault);
    return events_[used_++];
  }
  std::vector<Event> events_;
  std::size_t used_ = 0;
};

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(NcclSetting setting, nccl::Handle handle) : setting_(std::move(setting)), handle_(handle) {
    require(functions().rank(handle_, &rank_), "ncclCommUserRank");
    require(functions().size(handle_, &size_), "ncclCommCount");
    int least = 0, greatest = 0;
    enter();
    check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cudaDeviceGetStreamPriorityRange");
    // What others wait for comes first.
    check(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, greatest), "cudaStreamCreate");
    for (std::size_t i = 0; i < kMarks; ++i) marks_.emplace_back(cudaEventDisableTiming);
  }
  // Where something went wrong, other ranks may never come to what this one waits in.
  ~NcclCommunicator() override {
    cudaSetDevice(setting_.device);
    if (failed_ || std::uncaught_exceptions() > exceptions_) {
      functions().abort(handle_);
    } else {
      cudaStreamSynchronize(stream_);
      functions().destroy(handle_);
    }
    cudaStreamDestroy(stream_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void all_reduce(void* data, std::int64_t count, DType type) override {
    if (size_ == 1) return;
    call(data, count, type, [&] {
      return functions().all_reduce(data, data, extent(count), type_of(type), nccl::kSum, handle_, stream_);
    });
  }
  void all_gather(const void* data, void* out, std::int64_t count, DType type) override {
    call(out, count * size_, type,
         [&] { return functions().all_gather(data, out, extent(count), type_of(type), handle_, stream_); });
  }
  void reduce_scatter(const void* data, void* out, std::int64_t count, DType type) override {
    call(out, count, type, [&] {
      return functions().reduce_scatter(data, out, extent(count), type_of(type), nccl::kSum, handle_,
                                        stream_);
    });
  }
  void all_to_all(const void* data, void* out, std::int64_t count, DType type) override {
    std::vector<Send> sends;
    std::vector<Receive> receives;
    const std::size_t bytes = extent(count) * size_of(type);
    for (int peer = 0; peer < size_; ++peer) {
      const std::size_t byte = static_cast<std::size_t>(peer) * bytes;
      sends.push_back({peer, static_cast<const std::byte*>(data) + byte, count});
      receives.push_back({peer, static_cast<std::byte*>(out) + byte, count});
    }
    exchange(sends, receives, type);
  }
  void broadcast(void* data, std::int64_t count, DType type, int root) override {
    if (size_ == 1) return;
    call(data, count, type, [&] {
      return functions().broadcast(data, data, extent(count), type_of(type), root, handle_, stream_);
    });
  }
  void barrier() override {
    void* const token = device_allocate(sizeof(float));
    all_reduce(token, 1, DType::f32);
    check(cudaStreamSynchronize(setting_.stream), "barrier");
    check(cudaFree(token), "cudaFree");
    require_sound();
  }
  void exchange(const std::vector<Send>& sends, const std::vector<Receive>& receives, DType type) override {
    for (const Receive& receive : receives) will_change(receive.data, receive.count, type);
    call(nullptr, 0, type, [&] {
      int status = functions().group_start();
      if (status != nccl::kSuccess) return status;
      for (const auto& [to, data, count] : sends)
        if (status == nccl::kSuccess)
          status = functions().send(data, extent(count), type_of(type), to, handle_, stream_);
      for (const auto& [from, data, count] : receives)
        if (status == nccl::kSuccess)
          status = functions().receive(data, extent(count), type_of(type), from, handle_, stream_);
      // A group that stays open would take up whatever comes after.
      const int ended = functions().group_end();
      return status != nccl::kSuccess ? status : ended;
    });
  }

  void fork() override {
    if (!aside_) follow();
    aside_ = true;
  }
  std::uint64_t mark() override {
    enter();
    aside_ = false;
    ++marked_;
    marks_[marked_ % kMarks].record(stream_);
    return marked_;
  }
  // A mark that was taken over by a later one in its place only waits for more.
  void join(std::uint64_t mark) override {
    if (mark == 0) return;
    enter();
    stand_still_.time(setting_.stream, [&] { marks_[mark % kMarks].hold(setting_.stream); });
  }
  // Failures of what was queued show here, once a step.
  double waited() override {
    enter();
    const double seconds = stand_still_.take();
    require_sound();
    return seconds;
  }

  std::unique_ptr<Communicator> split(int color, int key) override {
    nccl::Handle part = nullptr;
    enter();
    succeed(functions().split(handle_, color, key, &part, nullptr), "ncclCommSplit");
    return std::make_unique<NcclCommunicator>(setting_, part);
  }

 private:
  static constexpr std::size_t kMarks = 64;
  static std::size_t extent(std::int64_t count) { return static_cast<std::size_t>(count); }
  // A thread starts out on device 0.
  void enter() const { check(cudaSetDevice(setting_.device), "cudaSetDevice"); }
  void will_change(void* data, std::int64_t count, DType type) const {
    setting_.will_change(data, extent(count) * size_of(type));
  }
  void succeed(int status, const char* what) {
    failed_ = failed_ || status != nccl::kSuccess;
    require(status, what);
  }
  void require_sound() {
    int status = nccl::kSuccess;
    succeed(functions().state(handle_, &status), "ncclCommGetAsyncError");
    succeed(status, "an exchange between ranks");
  }
  // From here on, this stream is behind all that the backend's has to do.
  void follow() {
    enter();
    ready_.record(setting_.stream);
    ready_.hold(stream_);
  }
  // `written`: what changes, if it is one array.
  template <typename Work>
  void call(void* written, std::int64_t count, DType type, const Work& work) {
    if (written != nullptr) will_change(written, count, type);
    if (!aside_) follow();
    succeed(work(), "a call between ranks");
    if (aside_) return;
    done_.record(stream_);
    stand_still_.time(setting_.stream, [&] { done_.hold(setting_.stream); });
  }

  NcclSetting setting_;
  nccl::Handle handle_;
  int rank_ = 0, size_ = 1;
  cudaStream_t stream_ = nullptr;
  Event ready_{cudaEventDisableTiming}, done_{cudaEventDisableTiming};
  std::vector<Event> marks_;
  std::uint64_t marked_ = 0;
  bool aside_ = false, failed_ = false;
  int exceptions_ = std::uncaught_exceptions();
  StandStill stand_still_;
};

}  // namespace

std::unique_ptr<Communicator> join_gpus(const NcclSetting& setting, const DeviceRanks& ranks) {
  nccl::UniqueId id{};
  if (ranks.rank == 0) require(functions().unique_id(&id), "ncclGetUniqueId");
  ranks.share(&id, sizeof id);
  nccl::Handle handle = nullptr;
  check(cudaSetDevice(setting.device), "cudaSetDevice");
  require(functions().create(&handle, ranks.size, id, ranks.rank), "ncclCommInitRank");
  return std::make_unique<NcclCommunicator>(setting, handle);
}

}  // namespace striped::cuda
