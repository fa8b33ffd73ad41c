// Ranks as processes of this machine that were forked after a SharedRoom was made: they speak through its
// memory. For tests that need processes and have no launcher.
#pragma once

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "core/communicator.h"
#include "parallel/sum_ranks.h"
#include "striped/error.h"

namespace process_ranks {

using striped::Communicator;
using striped::DType;
using striped::Error;

// Address space for some groups of ranks; only what is touched becomes memory.
class SharedRoom {
 public:
  static constexpr int kGroups = 512;
  static constexpr std::size_t kFirstSlot = std::size_t{1} << 30, kSlot = std::size_t{1} << 24;  // a rank

  explicit SharedRoom(int ranks) : ranks_(ranks) {
    const std::size_t slots = static_cast<std::size_t>(ranks_) * (kFirstSlot + (kGroups - 1) * kSlot);
    bytes_ = kHead + slots;
    memory_ =
        ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory_ == MAP_FAILED) throw Error("memory", "no memory for ranks to share");
    head_ = new (memory_) Head{};
    begin_group(ranks_);
  }
  ~SharedRoom() { ::munmap(memory_, bytes_); }
  SharedRoom(const SharedRoom&) = delete;
  SharedRoom& operator=(const SharedRoom&) = delete;

  int ranks() const { return ranks_; }
  // A group of so many ranks; its number.
  int begin_group(int size) {
    const int group = head_->groups.fetch_add(1);
    if (group >= kGroups) throw Error("memory", "too many groups of ranks");
    pthread_barrierattr_t shared;
    pthread_barrierattr_init(&shared);
    pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&head_->barriers[group], &shared, static_cast<unsigned>(size));
    pthread_barrierattr_destroy(&shared);
    return group;
  }
  void wait(int group) { pthread_barrier_wait(&head_->barriers[group]); }
  std::byte* slot(int group, int rank) {
    const auto index = static_cast<std::size_t>(rank), ranks = static_cast<std::size_t>(ranks_);
    auto* const first = static_cast<std::byte*>(memory_) + kHead;
    if (group == 0) return first + index * kFirstSlot;
    return first + ranks * kFirstSlot + (static_cast<std::size_t>(group - 1) * ranks + index) * kSlot;
  }
  static std::size_t slot_bytes(int group) { return group == 0 ? kFirstSlot : kSlot; }

 private:
  struct Head {
    std::atomic<int> groups;
    pthread_barrier_t barriers[kGroups];
  };
  static constexpr std::size_t kHead = (sizeof(Head) + 4095) / 4096 * 4096;
  int ranks_;
  std::size_t bytes_ = 0;
  void* memory_ = nullptr;
  Head* head_ = nullptr;
};

class SharedCommunicator final : public Communicator {
 public:
  // All ranks of the room.
  SharedCommunicator(SharedRoom& room, int rank) : SharedCommunicator(room, 0, rank, room.ranks()) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void all_reduce(void* data, std::int64_t count, DType type) override {
    show(data, bytes_of(count, type));
    meet([&] { add_all(0, data, count, type); });
  }
  void all_gather(const void* data, void* out, std::int64_t count, DType type) override {
    const std::size_t bytes = bytes_of(count, type);
    show(data, bytes);
    meet([&] {
      for (int from = 0; from < size_; ++from) std::memcpy(part(out, from, bytes), shown(from), bytes);
    });
  }
  void reduce_scatter(const void* data, void* out, std::int64_t count, DType type) override {
    show(data, bytes_of(count * size_, type));
    meet([&] { add_all(rank_ * count, out, count, type); });
  }
  void all_to_all(const void* data, void* out, std::int64_t count, DType type) override {
    const std::size_t bytes = bytes_of(count, type);
    show(data, bytes * static_cast<std::size_t>(size_));
    meet([&] {
      for (int from = 0; from < size_; ++from)
        std::memcpy(part(out, from, bytes), shown(from) + static_cast<std::size_t>(rank_) * bytes, bytes);
    });
  }
  void broadcast(void* data, std::int64_t count, DType type, int root) override {
    if (rank_ == root) show(data, bytes_of(count, type));
    meet([&] {
      if (rank_ != root) std::memcpy(data, shown(root), bytes_of(count, type));
    });
  }
  void barrier() override { room_.wait(group_); }
  // Shown as: how many messages, to whom and of how many bytes, then what they say.
  void exchange(const std::vector<Send>& sends, const std::vector<Receive>& receives, DType type) override {
    std::vector<std::int64_t> heads{static_cast<std::int64_t>(sends.size())};
    for (const Send& send : sends)
      heads.insert(heads.end(), {send.to, static_cast<std::int64_t>(bytes_of(send.count, type))});
    std::size_t at = heads.size() * sizeof(std::int64_t);
    show(heads.data(), at);
    for (const Send& send : sends) {
      show(send.data, bytes_of(send.count, type), at);
      at += bytes_of(send.count, type);
    }
    meet([&] {
      std::vector<std::int64_t> taken(static_cast<std::size_t>(size_));
      for (const Receive& receive : receives)
        take(receive, bytes_of(receive.count, type), taken[static_cast<std::size_t>(receive.from)]++);
    });
  }
  std::unique_ptr<Communicator> split(int color, int key) override {
    const std::pair<int, int> own{color, key};
    std::vector<int> members;
    show(&own, sizeof own);
    meet([&] {
      std::vector<std::pair<int, int>> alike;
      for (int other = 0; other < size_; ++other) {
        std::pair<int, int> its;
        std::memcpy(static_cast<void*>(&its), shown(other), sizeof its);
        if (its.first == color) alike.emplace_back(its.second, other);
      }
      std::sort(alike.begin(), alike.end());
      for (const auto& member : alike) members.push_back(member.second);
    });
    const auto place = static_cast<int>(std::find(members.begin(), members.end(), rank_) - members.begin());
    int group = place == 0 ? room_.begin_group(static_cast<int>(members.size())) : 0;
    show(&group, sizeof group);
    meet([&] { std::memcpy(&group, shown(members[0]), sizeof group); });
    return std::unique_ptr<Communicator>(
        new SharedCommunicator(room_, group, place, static_cast<int>(members.size())));
  }

 private:
  SharedCommunicator(SharedRoom& room, int group, int rank, int size)
      : room_(room), group_(group), rank_(rank), size_(size) {}
  static std::size_t bytes_of(std::int64_t count, DType type) {
    return static_cast<std::size_t>(count) * striped::size_of(type);
  }
  static std::byte* part(void* out, int index, std::size_t bytes) {
    return static_cast<std::byte*>(out) + static_cast<std::size_t>(index) * bytes;
  }
  const std::byte* shown(int rank) const { return room_.slot(group_, rank); }
  void show(const void* data, std::size_t bytes, std::size_t at = 0) {
    if (at + bytes > SharedRoom::slot_bytes(group_))
      throw Error("memory", std::to_string(at + bytes) + " bytes are more than ranks can show each other");
    if (bytes > 0) std::memcpy(room_.slot(group_, rank_) + at, data, bytes);
  }
  // Calls `look` once all have shown theirs; returns once all have looked.
  template <typename Look>
  void meet(const Look& look) {
    room_.wait(group_);
    look();
    room_.wait(group_);
  }
  // The `index`-th message that the other rank sends here.
  void take(const Receive& receive, std::size_t bytes, std::int64_t index) const {
    const std::byte* const its = shown(receive.from);
    const auto number = [&](std::size_t i) {
      std::int64_t value;
      std::memcpy(&value, its + i * sizeof value, sizeof value);
      return value;
    };
    const auto messages = static_cast<std::size_t>(number(0));
    std::size_t at = (1 + 2 * messages) * sizeof(std::int64_t);
    for (std::size_t i = 0; i < messages; ++i) {
      const auto length = static_cast<std::size_t>(number(2 + 2 * i));
      if (number(1 + 2 * i) == rank_ && index-- == 0) {
        if (length != bytes) break;
        if (bytes > 0) std::memcpy(receive.data, its + at, bytes);
        return;
      }
      at += length;
    }
    throw Error("exchange", "rank " + std::to_string(rank_) + " receives what rank " +
                                std::to_string(receive.from) + " does not send");
  }
  void add_all(std::int64_t first, void* out, std::int64_t count, DType type) const {
    striped::parallel::sum_ranks(size_, [&](int from) { return shown(from); }, first, out, count, type);
  }

  SharedRoom& room_;
  int group_, rank_, size_;
};

}  // namespace process_ranks
