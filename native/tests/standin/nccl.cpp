// A stand-in for NCCL over the memory of one process, whose ranks are threads: the same functions under the
// same names, built as libnccl.so.2. Calls return at once and are worked off by their stream. Ranks that do
// not make the same calls get an error rather than a result; a call for which others never come waits until
// it is aborted.
#include "nccl.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "cuda_runtime.h"

namespace {

constexpr int kSuccess = 0, kInternal = 3, kInvalidArgument = 4;
constexpr auto kPatience = std::chrono::milliseconds(2);

struct Id {
  char bytes[128];
};

struct Call {
  std::string name;
  const void* in = nullptr;
  std::size_t count = 0;
  int type = 0, root = 0;
  bool operator==(const Call& other) const {
    return name == other.name && count == other.count && type == other.type && root == other.root;
  }
};

struct Message {
  const void* data;
  std::size_t bytes;
  bool taken = false;
};

// What the ranks of a communicator share.
struct Group {
  explicit Group(int ranks) : shown(static_cast<std::size_t>(ranks)), places(ranks) {}
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Call> shown;
  int places, arrived = 0;
  std::uint64_t round = 0;
  std::map<std::pair<int, int>, std::deque<std::shared_ptr<Message>>> mail;  // from, to
  std::map<std::pair<std::uint64_t, int>, std::shared_ptr<Group>> parts;     // split, color
};

struct Communicator {
  std::shared_ptr<Group> group;
  int rank;
  std::atomic<bool> aborted{false};
  std::atomic<int> state{kSuccess};
  std::uint64_t splits = 0;
};

std::mutex registry_mutex;
std::map<std::string, std::shared_ptr<Group>> registry;
std::atomic<int> ids{0}, made{0}, destroyed{0}, aborted{0};
thread_local std::pair<std::string, int> fail_next;
thread_local int group_depth = 0;

struct Transfer {
  Communicator* ranks;
  cudaStream_t stream;
  bool send;
  void* data;
  std::size_t bytes;
  int peer;
};
thread_local std::vector<Transfer> transfers;

bool fails(const char* function, int& status) {
  if (fail_next.first != function) return false;
  status = fail_next.second;
  fail_next.first.clear();
  return true;
}

// Until `holds`, or this rank's communicator is aborted.
template <typename Holds>
bool wait(Communicator& ranks, std::unique_lock<std::mutex>& lock, const Holds& holds) {
  while (!holds()) {
    if (ranks.aborted) return false;
    ranks.group->changed.wait_for(lock, kPatience);
  }
  return true;
}

bool meet(Communicator& ranks) {
  Group& group = *ranks.group;
  std::unique_lock lock(group.mutex);
  const std::uint64_t round = group.round;
  if (++group.arrived == group.places) {
    group.arrived = 0;
    ++group.round;
    group.changed.notify_all();
    return true;
  }
  return wait(ranks, lock, [&] { return group.round != round; });
}

// Shows a call to the others, does `work` when all have come with the same, returns when all are done.
template <typename Work>
void together(Communicator& ranks, const Call& call, const Work& work) {
  Group& group = *ranks.group;
  group.shown[static_cast<std::size_t>(ranks.rank)] = call;
  if (!meet(ranks)) return;
  const bool alike =
      std::all_of(group.shown.begin(), group.shown.end(), [&](const Call& other) { return other == call; });
  if (alike)
    work(group.shown);
  else
    ranks.state = kInvalidArgument;
  meet(ranks);
}

std::size_t size_of(int type) { return type == 8 ? 8 : type == 7 ? 4 : 2; }

float float_of(std::uint16_t half) {
  const std::uint32_t bits = static_cast<std::uint32_t>(half) << 16;
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// The sum over ranks of the values from `first`, in rank order.
void add(const std::vector<Call>& shown, std::size_t first, std::size_t count, int type, void* out) {
  for (std::size_t i = 0; i < count; ++i) {
    double sum = 0;
    for (const Call& call : shown) {
      if (type == 8) sum += static_cast<const double*>(call.in)[first + i];
      if (type == 7) sum += static_cast<const float*>(call.in)[first + i];
      if (type == 9) sum += float_of(static_cast<const std::uint16_t*>(call.in)[first + i]);
    }
    if (type == 8) static_cast<double*>(out)[i] = sum;
    if (type == 7) static_cast<float*>(out)[i] = static_cast<float>(sum);
    if (type == 9) {
      const auto value = static_cast<float>(sum);
      std::uint32_t bits = 0;
      std::memcpy(&bits, &value, sizeof bits);
      static_cast<std::uint16_t*>(out)[i] = static_cast<std::uint16_t>(bits >> 16);
    }
  }
}

void on(cudaStream_t stream, std::function<void()> work) {
  auto* const kept = new std::function<void()>(std::move(work));
  cudaLaunchHostFunc(
      stream,
      [](void* data) {
        const std::unique_ptr<std::function<void()>> job(static_cast<std::function<void()>*>(data));
        (*job)();
      },
      kept);
}

// Sums are taken into memory of their own first: `out` may lie in `in`.
void all_reduce(Communicator& ranks, const Call& call, void* out) {
  std::vector<std::byte> sum(call.count * size_of(call.type));
  together(ranks, call, [&](const auto& shown) { add(shown, 0, call.count, call.type, sum.data()); });
  if (!ranks.aborted) std::memcpy(out, sum.data(), sum.size());
}
void reduce_scatter(Communicator& ranks, const Call& call, void* out) {
  std::vector<std::byte> sum(call.count * size_of(call.type));
  together(ranks, call, [&](const auto& shown) {
    add(shown, static_cast<std::size_t>(ranks.rank) * call.count, call.count, call.type, sum.data());
  });
  if (!ranks.aborted) std::memcpy(out, sum.data(), sum.size());
}
void all_gather(Communicator& ranks, const Call& call, void* out) {
  const std::size_t bytes = call.count * size_of(call.type);
  together(ranks, call, [&](const std::vector<Call>& shown) {
    for (std::size_t from = 0; from < shown.size(); ++from) {
      std::byte* const part = static_cast<std::byte*>(out) + from * bytes;
      // In place, others are reading it.
      if (part != shown[from].in) std::memmove(part, shown[from].in, bytes);
    }
  });
}
void broadcast(Communicator& ranks, const Call& call, void* out) {
  together(ranks, call, [&](const std::vector<Call>& shown) {
    if (ranks.rank != call.root)
      std::memcpy(out, shown[static_cast<std::size_t>(call.root)].in, call.count * size_of(call.type));
  });
}

// All messages of a group at once: they only wait for who has to take or send them.
void transfer(const std::vector<Transfer>& list) {
  std::vector<std::pair<Communicator*, std::shared_ptr<Message>>> sent;
  for (const Transfer& one : list) {
    if (!one.send) continue;
    auto message = std::make_shared<Message>(Message{one.data, one.bytes});
    const std::lock_guard lock(one.ranks->group->mutex);
    one.ranks->group->mail[{one.ranks->rank, one.peer}].push_back(message);
    one.ranks->group->changed.notify_all();
    sent.emplace_back(one.ranks, message);
  }
  for (const Transfer& one : list) {
    if (one.send) continue;
    Group& group = *one.ranks->group;
    std::unique_lock lock(group.mutex);
    auto& box = group.mail[{one.peer, one.ranks->rank}];
    if (!wait(*one.ranks, lock, [&] { return !box.empty(); })) return;
    if (box.front()->bytes == one.bytes)
      std::memcpy(one.data, box.front()->data, one.bytes);
    else
      one.ranks->state = kInvalidArgument;
    box.front()->taken = true;
    box.pop_front();
    group.changed.notify_all();
  }
  for (auto& [ranks, message] : sent) {
    std::unique_lock lock(ranks->group->mutex);
    if (!wait(*ranks, lock, [&, &one = message] { return one->taken; })) return;
  }
}

void flush() {
  std::map<cudaStream_t, std::vector<Transfer>> by_stream;
  for (const Transfer& one : transfers) by_stream[one.stream].push_back(one);
  transfers.clear();
  for (auto& [stream, list] : by_stream) on(stream, [list = std::move(list)] { transfer(list); });
}

Communicator& of(void* handle) { return *static_cast<Communicator*>(handle); }

template <typename Work>
int collective(const char* name, void* handle, Call call, void* out, cudaStream_t stream, Work work) {
  int status = kSuccess;
  if (fails(name, status)) return status;
  call.name = name;
  on(stream, [=] { work(of(handle), call, out); });
  return kSuccess;
}

void* join(std::shared_ptr<Group> group, int rank) {
  ++made;
  return new Communicator{std::move(group), rank};
}

}  // namespace

extern "C" {

int ncclGetVersion(int* version) {
  const char* const given = std::getenv("STANDIN_NCCL_VERSION");
  *version = given != nullptr ? std::atoi(given) : 22703;
  return kSuccess;
}
const char* ncclGetErrorString(int status) {
  return status == kInvalidArgument ? "ranks make different calls" : "made up by a test";
}
int ncclGetUniqueId(Id* id) {
  const std::string text = "stand-in " + std::to_string(++ids);
  std::memset(id, 0, sizeof *id);
  std::memcpy(id->bytes, text.c_str(), text.size());
  return kSuccess;
}
int ncclCommInitRank(void** handle, int ranks, Id id, int rank) {
  int status = kSuccess;
  if (fails("ncclCommInitRank", status)) return status;
  std::shared_ptr<Group> group;
  {
    const std::lock_guard lock(registry_mutex);
    std::shared_ptr<Group>& entry = registry[id.bytes];
    if (!entry) entry = std::make_shared<Group>(ranks);
    group = entry;
  }
  if (group->places != ranks || id.bytes[0] == 0) return kInvalidArgument;
  *handle = join(group, rank);
  meet(of(*handle));
  return kSuccess;
}
int ncclCommSplit(void* handle, int color, int key, void** part, void*) {
  Communicator& ranks = of(handle);
  Group& group = *ranks.group;
  // Colors and keys are shown as a call's numbers.
  group.shown[static_cast<std::size_t>(ranks.rank)] = {"", nullptr, 0, color, key};
  meet(ranks);
  int members = 0, place = 0;
  for (int other = 0; other < group.places; ++other) {
    const Call& its = group.shown[static_cast<std::size_t>(other)];
    if (its.type != color) continue;
    ++members;
    if (std::pair(its.root, other) < std::pair(key, ranks.rank)) ++place;
  }
  std::shared_ptr<Group> made_for;
  {
    const std::lock_guard lock(group.mutex);
    std::shared_ptr<Group>& entry = group.parts[{ranks.splits++, color}];
    if (!entry) entry = std::make_shared<Group>(members);
    made_for = entry;
  }
  meet(ranks);
  *part = join(made_for, place);
  return kSuccess;
}
int ncclCommDestroy(void* handle) {
  ++destroyed;
  delete &of(handle);
  return kSuccess;
}
// Calls that wait return; the communicator itself is kept, for they may still look at it.
int ncclCommAbort(void* handle) {
  ++aborted;
  of(handle).aborted = true;
  return kSuccess;
}
int ncclCommGetAsyncError(void* handle, int* status) {
  *status = of(handle).state;
  return kSuccess;
}
int ncclCommUserRank(void* handle, int* rank) {
  *rank = of(handle).rank;
  return kSuccess;
}
int ncclCommCount(void* handle, int* ranks) {
  *ranks = of(handle).group->places;
  return kSuccess;
}
int ncclAllReduce(const void* in, void* out, std::size_t count, int type, int, void* handle,
                  cudaStream_t stream) {
  return collective("ncclAllReduce", handle, {"", in, count, type}, out, stream, all_reduce);
}
int ncclAllGather(const void* in, void* out, std::size_t count, int type, void* handle, cudaStream_t stream) {
  return collective("ncclAllGather", handle, {"", in, count, type}, out, stream, all_gather);
}
int ncclReduceScatter(const void* in, void* out, std::size_t count, int type, int, void* handle,
                      cudaStream_t stream) {
  return collective("ncclReduceScatter", handle, {"", in, count, type}, out, stream, reduce_scatter);
}
int ncclBroadcast(const void* in, void* out, std::size_t count, int type, int root, void* handle,
                  cudaStream_t stream) {
  return collective("ncclBroadcast", handle, {"", in, count, type, root}, out, stream, broadcast);
}
int ncclSend(const void* data, std::size_t count, int type, int peer, void* handle, cudaStream_t stream) {
  int status = kSuccess;
  if (fails("ncclSend", status)) return status;
  transfers.push_back({&of(handle), stream, true, const_cast<void*>(data), count * size_of(type), peer});
  if (group_depth == 0) flush();
  return kSuccess;
}
int ncclRecv(void* data, std::size_t count, int type, int peer, void* handle, cudaStream_t stream) {
  transfers.push_back({&of(handle), stream, false, data, count * size_of(type), peer});
  if (group_depth == 0) flush();
  return kSuccess;
}
int ncclGroupStart() {
  ++group_depth;
  return kSuccess;
}
int ncclGroupEnd() {
  if (group_depth == 0) return kInternal;
  if (--group_depth == 0) flush();
  return kSuccess;
}

void standin_fail_next(const char* function, int status) { fail_next = {function, status}; }
standin::Counts standin_counts() { return {made, destroyed, aborted}; }

}  // extern "C"
