#include "parallel/thread_communicator.h"

#include <condition_variable>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

#include "parallel/sum_ranks.h"
#include "striped/error.h"

namespace striped::parallel {
namespace {

// What the ranks of a group share: a place each to put what the others should see, and a barrier.
class Meeting {
 public:
  explicit Meeting(int size) : shown_(static_cast<std::size_t>(size)) {}

  int size() const { return static_cast<int>(shown_.size()); }

  // Shows `mine` to the others, calls `look` once all have shown theirs, returns once all have looked.
  template <typename Look>
  void meet(int rank, const void* mine, const Look& look) {
    shown_[static_cast<std::size_t>(rank)] = mine;
    wait();
    look();
    wait();
  }
  template <typename T>
  const T* shown(int rank) const {
    return static_cast<const T*>(shown_[static_cast<std::size_t>(rank)]);
  }

  void wait() {
    std::unique_lock lock(mutex_);
    const std::uint64_t round = round_;
    if (++arrived_ == size()) {
      arrived_ = 0;
      ++round_;
      all_here_.notify_all();
    } else {
      all_here_.wait(lock, [&] { return round_ != round || broken_; });
    }
    if (round_ == round) throw Error("rank-lost", "another rank failed");
  }

  void give_up() {
    {
      const std::lock_guard lock(mutex_);
      broken_ = true;
      for (auto& [color, part] : parts_) part->give_up();
    }
    all_here_.notify_all();
  }

  // The meeting of the ranks of one color; the first of them to ask makes it.
  std::shared_ptr<Meeting> part(std::uint64_t split, int color, int size) {
    const std::lock_guard lock(mutex_);
    std::shared_ptr<Meeting>& made = parts_[{split, color}];
    if (!made) made = std::make_shared<Meeting>(size);
    if (broken_) made->give_up();
    return made;
  }

 private:
  std::vector<const void*> shown_;
  std::mutex mutex_;
  std::condition_variable all_here_;
  int arrived_ = 0;
  std::uint64_t round_ = 0;
  bool broken_ = false;
  std::map<std::pair<std::uint64_t, int>, std::shared_ptr<Meeting>> parts_;
};

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<Meeting> meeting, int rank)
      : meeting_(std::move(meeting)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return meeting_->size(); }

  void all_reduce(void* data, std::int64_t count, DType type) override {
    const std::vector<std::byte> own = bytes(data, count, type);
    meeting_->meet(rank_, own.data(), [&] { add_all(0, data, count, type); });
  }
  void all_gather(const void* data, void* out, std::int64_t count, DType type) override {
    const std::vector<std::byte> own = bytes(data, count, type);
    meeting_->meet(rank_, own.data(), [&] {
      for (int from = 0; from < size(); ++from)
        std::memcpy(part(out, from, own.size()), meeting_->shown<std::byte>(from), own.size());
    });
  }
  void reduce_scatter(const void* data, void* out, std::int64_t count, DType type) override {
    const std::vector<std::byte> own = bytes(data, count * size(), type);
    meeting_->meet(rank_, own.data(), [&] { add_all(rank_ * count, out, count, type); });
  }
  void all_to_all(const void* data, void* out, std::int64_t count, DType type) override {
    const std::size_t length = static_cast<std::size_t>(count) * size_of(type);
    meeting_->meet(rank_, data, [&] {
      for (int from = 0; from < size(); ++from)
        std::memcpy(part(out, from, length),
                    meeting_->shown<std::byte>(from) + static_cast<std::size_t>(rank_) * length, length);
    });
  }
  void broadcast(void* data, std::int64_t count, DType type, int root) override {
    meeting_->meet(rank_, data, [&] {
      if (rank_ != root)
        std::memcpy(data, meeting_->shown<void>(root), static_cast<std::size_t>(count) * size_of(type));
    });
  }
  void barrier() override { meeting_->wait(); }

  void exchange(const std::vector<Send>& sends, const std::vector<Receive>& receives, DType type) override {
    meeting_->meet(rank_, &sends, [&] {
      std::map<int, std::size_t> next;
      for (const Receive& receive : receives) {
        const auto& list = *meeting_->shown<std::vector<Send>>(receive.from);
        std::size_t& i = next[receive.from];
        while (i < list.size() && list[i].to != rank_) ++i;
        if (i == list.size() || list[i].count != receive.count)
          throw Error("exchange", "rank " + std::to_string(rank_) + " receives what rank " +
                                      std::to_string(receive.from) + " does not send");
        std::memcpy(receive.data, list[i++].data, static_cast<std::size_t>(receive.count) * size_of(type));
      }
    });
  }

  std::unique_ptr<Communicator> split(int color, int key) override {
    const std::pair<int, int> own{color, key};
    int place = 0, members = 0;
    meeting_->meet(rank_, &own, [&] {
      for (int other = 0; other < size(); ++other) {
        const auto& [its_color, its_key] = *meeting_->shown<std::pair<int, int>>(other);
        if (its_color != color) continue;
        ++members;
        if (std::pair(its_key, other) < std::pair(key, rank_)) ++place;
      }
    });
    return std::make_unique<ThreadCommunicator>(meeting_->part(splits_++, color, members), place);
  }

  void give_up() { meeting_->give_up(); }

 private:
  static std::vector<std::byte> bytes(const void* data, std::int64_t count, DType type) {
    const auto* first = static_cast<const std::byte*>(data);
    return {first, first + static_cast<std::size_t>(count) * size_of(type)};
  }
  static std::byte* part(void* out, int index, std::size_t bytes) {
    return static_cast<std::byte*>(out) + static_cast<std::size_t>(index) * bytes;
  }

  void add_all(std::int64_t first, void* out, std::int64_t count, DType type) const {
    sum_ranks(size(), [&](int from) { return meeting_->shown<std::byte>(from); }, first, out, count, type);
  }

  std::shared_ptr<Meeting> meeting_;
  int rank_;
  std::uint64_t splits_ = 0;
};

}  // namespace

void run_ranks(int size, const std::function<void(Communicator&)>& work) {
  const auto meeting = std::make_shared<Meeting>(size);
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank] {
      ThreadCommunicator communicator(meeting, rank);
      try {
        work(communicator);
      } catch (...) {
        failures[static_cast<std::size_t>(rank)] = std::current_exception();
        communicator.give_up();
      }
    });
  for (std::thread& thread : threads) thread.join();
  std::exception_ptr first;
  for (const std::exception_ptr& failure : failures) {
    if (!failure) continue;
    try {
      std::rethrow_exception(failure);
    } catch (const Error& error) {
      // What only followed from another's failure gives way to it.
      if (!first || error.code() != "rank-lost") first = failure;
      if (error.code() != "rank-lost") break;
    } catch (...) {
      first = failure;
      break;
    }
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace striped::parallel
