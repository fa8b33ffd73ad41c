// A communicator that makes every call between fork() and mark() as late as it may: in join(). What is
// changed or looked at too early shows in the results. Calls that are made at once come from the communicator
// it wraps, whose own fork() makes everything as early as it may. For what a missing join would do, one call
// can be told to come later still.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "core/communicator.h"

namespace fixture {

using striped::Communicator;
using striped::DType;

class DeferringCommunicator final : public Communicator {
 public:
  static constexpr std::uint64_t kNone = ~std::uint64_t{0};
  // The first join() that waits for the call of number `forgotten` makes neither it nor those behind it.
  explicit DeferringCommunicator(std::unique_ptr<Communicator> ranks, std::uint64_t forgotten = kNone)
      : ranks_(std::move(ranks)), forgotten_(forgotten) {}
  // The numbers of the calls that were made aside.
  const std::vector<std::uint64_t>& made_aside() const { return made_aside_; }
  int rank() const override { return ranks_->rank(); }
  int size() const override { return ranks_->size(); }
  void all_reduce(void* data, std::int64_t count, DType type) override {
    call([=, this] { ranks_->all_reduce(data, count, type); });
  }
  void all_gather(const void* data, void* out, std::int64_t count, DType type) override {
    call([=, this] { ranks_->all_gather(data, out, count, type); });
  }
  void reduce_scatter(const void* data, void* out, std::int64_t count, DType type) override {
    call([=, this] { ranks_->reduce_scatter(data, out, count, type); });
  }
  void all_to_all(const void* data, void* out, std::int64_t count, DType type) override {
    call([=, this] { ranks_->all_to_all(data, out, count, type); });
  }
  void broadcast(void* data, std::int64_t count, DType type, int root) override {
    call([=, this] { ranks_->broadcast(data, count, type, root); });
  }
  void barrier() override {
    make_until(calls());
    ranks_->barrier();
  }
  void exchange(const std::vector<Send>& sends, const std::vector<Receive>& receives, DType type) override {
    call([=, this] { ranks_->exchange(sends, receives, type); });
  }
  void fork() override { aside_ = true; }
  std::uint64_t mark() override {
    aside_ = false;
    return calls();
  }
  void join(std::uint64_t mark) override {
    const bool forgets = made_ <= forgotten_ && forgotten_ < mark;
    make_until(forgets ? forgotten_ : mark);
    if (forgets) forgotten_ = kNone;
  }
  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<DeferringCommunicator>(ranks_->split(color, key));
  }

 private:
  std::uint64_t calls() const { return made_ + waiting_.size(); }
  void call(std::function<void()> work) {
    if (aside_) made_aside_.push_back(calls());
    waiting_.push_back(std::move(work));
    // Calls of one communicator follow each other.
    if (!aside_) make_until(calls());
  }
  void make_until(std::uint64_t mark) {
    while (made_ < mark) make_next();
  }
  void make_next() {
    waiting_.front()();
    waiting_.erase(waiting_.begin());
    ++made_;
  }

  std::unique_ptr<Communicator> ranks_;
  bool aside_ = false;
  std::vector<std::function<void()>> waiting_;
  std::uint64_t made_ = 0, forgotten_;
  std::vector<std::uint64_t> made_aside_;
};

}  // namespace fixture
