// Channels for sequence: moves columns of local rows [batch, pieces, piece length, width] to whole sequences
// of a part of the columns a rank, and back.
#pragma once

#include <vector>

#include "core/communicator.h"
#include "parallel/sharding.h"
#include "striped/shard_operators.h"

namespace striped::parallel {

// Of a row of `width` values, rank r's part is the ranges {first + r · count, count} one behind the other.
struct ColumnRange {
  std::int64_t first, count;  // of rank 0
};

class Slices {
 public:
  // `ranges` of all parts together; `width`: of the local rows.
  Slices(const Sharding& sharding, std::int64_t batch, std::int64_t width, std::vector<ColumnRange> ranges,
         DType type)
      : sharding_(sharding), batch_(batch), width_(width), ranges_(std::move(ranges)), type_(type) {}

  // Values of a rank's part of a row.
  std::int64_t part() const;
  // Values of the staging area, and of whole sequences of a part (as many).
  std::int64_t values() const { return batch_ * sharding_.length * part(); }

  // Columns of the local rows to the staging area, from all of those to whole[batch, length, part], and back.
  // What the ranks do may run aside.
  void stage(ShardOperators& operators, const void* local, void* staging) const;
  void gather(Communicator& ranks, void* staging, void* whole) const {
    exchange(ranks, staging, whole, true);
  }
  void scatter(Communicator& ranks, void* whole, void* staging) const {
    exchange(ranks, staging, whole, false);
  }
  void unstage(ShardOperators& operators, const void* staging, void* local) const;

 private:
  std::int64_t local_rows() const { return batch_ * sharding_.local_length(); }
  std::size_t bytes(std::int64_t count) const { return static_cast<std::size_t>(count) * size_of(type_); }
  void exchange(Communicator& ranks, void* staging, void* whole, bool to_whole) const;
  // Calls move(staged, local, values) for each range of each rank: where its first row lies in the staging
  // area and in the local rows, in values.
  template <class Move>
  void for_ranges(const Move& move) const;

  Sharding sharding_;
  std::int64_t batch_, width_;
  std::vector<ColumnRange> ranges_;
  DType type_;
};

}  // namespace striped::parallel
