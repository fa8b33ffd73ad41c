// A communicator that makes every call between fork() and mark() as late as it may: in join(). What is
// changed or looked at too early shows in the results. Calls that are made at once come from the communicator
// it wraps, whose own fork() makes everything as early as it may.
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
  explicit DeferringCommunicator(std::unique_ptr<Communicator> ranks) : ranks_(std::move(ranks)) {}
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
  void barrier() override { ranks_->barrier(); }
  void exchange(const std::vector<Send>& sends, const std::vector<Receive>& receives, DType type) override {
    call([=, this] { ranks_->exchange(sends, receives, type); });
  }
  void fork() override { aside_ = true; }
  std::uint64_t mark() override {
    aside_ = false;
    return made_ + waiting_.size();
  }
  void join(std::uint64_t mark) override {
    while (made_ < mark) make_next();
  }
  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<DeferringCommunicator>(ranks_->split(color, key));
  }

 private:
  void call(std::function<void()> work) {
    waiting_.push_back(std::move(work));
    // Calls of one communicator follow each other.
    if (!aside_) join(made_ + waiting_.size());
  }
  void make_next() {
    waiting_.front()();
    waiting_.erase(waiting_.begin());
    ++made_;
  }

  std::unique_ptr<Communicator> ranks_;
  bool aside_ = false;
  std::vector<std::function<void()>> waiting_;
  std::uint64_t made_ = 0;
};

}  // namespace fixture
