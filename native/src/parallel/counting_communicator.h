// Another communicator, with what this rank sends to others counted.
#pragma once

#include "core/communicator.h"

namespace striped::parallel {

class CountingCommunicator final : public Communicator {
 public:
  explicit CountingCommunicator(Communicator& ranks) : ranks_(ranks) {}

  // Bytes sent to other ranks since the last reset(): what the algorithms need, not what a library adds to
  // it.
  std::int64_t sent() const { return sent_; }
  void reset() { sent_ = 0; }

  int rank() const override { return ranks_.rank(); }
  int size() const override { return ranks_.size(); }
  void all_reduce(void* data, std::int64_t count, DType type) override {
    // A reduce-scatter and an all-gather.
    add(2 * count * others() / size(), type);
    ranks_.all_reduce(data, count, type);
  }
  void all_gather(const void* data, void* out, std::int64_t count, DType type) override {
    add(count * others(), type);
    ranks_.all_gather(data, out, count, type);
  }
  void reduce_scatter(const void* data, void* out, std::int64_t count, DType type) override {
    add(count * others(), type);
    ranks_.reduce_scatter(data, out, count, type);
  }
  void all_to_all(const void* data, void* out, std::int64_t count, DType type) override {
    add(count * others(), type);
    ranks_.all_to_all(data, out, count, type);
  }
  void broadcast(void* data, std::int64_t count, DType type, int root) override {
    if (rank() == root) add(count * others(), type);
    ranks_.broadcast(data, count, type, root);
  }
  void barrier() override { ranks_.barrier(); }
  void exchange(const std::vector<Send>& sends, const std::vector<Receive>& receives, DType type) override {
    for (const Send& send : sends)
      if (send.to != rank()) add(send.count, type);
    ranks_.exchange(sends, receives, type);
  }
  void fork() override { ranks_.fork(); }
  std::uint64_t mark() override { return ranks_.mark(); }
  void join(std::uint64_t mark) override { ranks_.join(mark); }
  double waited() override { return ranks_.waited(); }
  std::unique_ptr<Communicator> split(int color, int key) override { return ranks_.split(color, key); }

 private:
  int others() const { return size() - 1; }
  void add(std::int64_t count, DType type) { sent_ += count * static_cast<std::int64_t>(size_of(type)); }

  Communicator& ranks_;
  std::int64_t sent_ = 0;
};

}  // namespace striped::parallel
