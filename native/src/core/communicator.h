// What ranks say to each other. Buffers are device pointers; counts are in elements; calls are ordered with
// the backend's queue.
#pragma once

#include <cstdint>

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
  // `out` receives this rank's `count` elements of the sum over ranks of data[size · count].
  virtual void reduce_scatter(const void* data, void* out, std::int64_t count, DType type) = 0;
  virtual void broadcast(void* data, std::int64_t count, DType type, int root) = 0;
  virtual void barrier() = 0;
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
  void broadcast(void*, std::int64_t, DType, int) override {}
  void barrier() override {}

 private:
  void copy(const void* data, void* out, std::int64_t count, DType type);
  Backend& backend_;
};

}  // namespace striped
