// What ranks say to each other. Buffers are device pointers; counts are in elements; calls are ordered with
// the backend's queue. All ranks of a communicator make the same calls in the same order.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "striped/backend.h"

namespace striped {

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // In place: every rank ends with the sum over ranks.
  virtual void all_reduce(void* data, std::int64_t count, DType type) = 0;
  // `out` receives `count` elements of every rank, in rank order; `data` may be this rank's part of `out`.
  virtual void all_gather(const void* data, void* out, std::int64_t count, DType type) = 0;
  // `out` receives this rank's `count` elements of the sum over ranks of data[size · count]; `out` may be
  // this rank's part of `data`.
  virtual void reduce_scatter(const void* data, void* out, std::int64_t count, DType type) = 0;
  // Part r of data[size · count] goes to rank r; part r of `out` comes from rank r. `out` must not overlap
  // `data`.
  virtual void all_to_all(const void* data, void* out, std::int64_t count, DType type) = 0;
  virtual void broadcast(void* data, std::int64_t count, DType type, int root) = 0;
  virtual void barrier() = 0;

  struct Send {
    int to;
    const void* data;
    std::int64_t count;
  };
  struct Receive {
    int from;
    void* data;
    std::int64_t count;
  };
  // All of these messages at once: the n-th that a rank sends to another is the n-th that the other receives
  // from it, of the same count. A rank may send to itself. Every rank calls, if only with nothing. Nothing
  // received may overlap anything sent.
  virtual void exchange(const std::vector<Send>& sends, const std::vector<Receive>& receives, DType type) = 0;

  // Calls between fork() and mark() may run beside the backend's queue, behind what was queued before it.
  // What they read must stay as it is, and what they write is there, only after join() with a mark() taken
  // behind them.
  virtual void fork() {}
  virtual std::uint64_t mark() { return 0; }
  virtual void join(std::uint64_t) {}
  // The mark behind `calls`, made aside.
  template <typename Calls>
  std::uint64_t aside(const Calls& calls) {
    fork();
    calls();
    return mark();
  }

  // Seconds that the backend's queue waited for other ranks since this was last asked.
  virtual double waited() { return 0; }

  // A communicator of the ranks that give the same color (0 or more), ordered by key, then by rank here.
  // Every rank here must call.
  virtual std::unique_ptr<Communicator> split(int color, int key) = 0;
};

// The only rank: its sums are its own.
class SingleRank final : public Communicator {
 public:
  explicit SingleRank(Backend& backend) : backend_(backend) {}
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void all_reduce(void*, std::int64_t, DType) override {}
  void all_gather(const void* data, void* out, std::int64_t count, DType type) override {
    copy(data, out, count, type);
  }
  void reduce_scatter(const void* data, void* out, std::int64_t count, DType type) override {
    copy(data, out, count, type);
  }
  void all_to_all(const void* data, void* out, std::int64_t count, DType type) override {
    copy(data, out, count, type);
  }
  void broadcast(void*, std::int64_t, DType, int) override {}
  void barrier() override {}
  void exchange(const std::vector<Send>& sends, const std::vector<Receive>& receives, DType type) override;
  std::unique_ptr<Communicator> split(int color, int key) override;

 private:
  void copy(const void* data, void* out, std::int64_t count, DType type);
  Backend& backend_;
};

}  // namespace striped
