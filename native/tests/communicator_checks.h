// What every communicator on this machine's memory must do, told by its own results. Values are whole numbers
// that floats hold exactly, so every comparison is for equality.
#pragma once

#include <string>
#include <vector>

#include "core/communicator.h"
#include "striped/error.h"

namespace communicator_checks {

using striped::Communicator;
using striped::DType;

inline void require(bool holds, const Communicator& ranks, const std::string& what) {
  if (!holds)
    throw striped::Error(
        "check", what + " on rank " + std::to_string(ranks.rank()) + " of " + std::to_string(ranks.size()));
}

// A value that tells rank, place and seed apart.
template <typename Real>
Real value(int rank, std::int64_t i, int seed) {
  return static_cast<Real>((rank * 131 + i * 7 + seed) % 1009);
}

template <typename Real>
std::vector<Real> values(int rank, std::int64_t count, int seed) {
  std::vector<Real> result;
  for (std::int64_t i = 0; i < count; ++i) result.push_back(value<Real>(rank, i, seed));
  return result;
}

template <typename Real>
Real sum(const Communicator& ranks, std::int64_t i, int seed) {
  Real result = 0;
  for (int rank = 0; rank < ranks.size(); ++rank) result += value<Real>(rank, i, seed);
  return result;
}

template <typename Real>
void check_sums(Communicator& ranks, DType type, std::int64_t count, int seed) {
  const std::int64_t first = ranks.rank() * count;
  std::vector<Real> data = values<Real>(ranks.rank(), count, seed);
  ranks.all_reduce(data.data(), count, type);
  for (std::int64_t i = 0; i < count; ++i)
    require(data[static_cast<std::size_t>(i)] == sum<Real>(ranks, i, seed), ranks, "all_reduce");
  std::vector<Real> all = values<Real>(ranks.rank(), count * ranks.size(), seed), part(data.size());
  ranks.reduce_scatter(all.data(), part.data(), count, type);
  ranks.reduce_scatter(all.data(), all.data() + first, count, type);
  for (std::int64_t i = 0; i < count; ++i) {
    const Real expected = sum<Real>(ranks, first + i, seed);
    require(part[static_cast<std::size_t>(i)] == expected, ranks, "reduce_scatter");
    require(all[static_cast<std::size_t>(first + i)] == expected, ranks, "reduce_scatter in place");
  }
}

template <typename Real>
void check_moves(Communicator& ranks, DType type, std::int64_t count, int seed) {
  const int size = ranks.size(), rank = ranks.rank();
  const auto length = static_cast<std::size_t>(count);
  const std::vector<Real> own = values<Real>(rank, count * size, seed);
  std::vector<Real> gathered(own.size()), in_place(own.size()), swapped(own.size());
  ranks.all_gather(own.data(), gathered.data(), count, type);
  std::copy_n(own.data(), length, in_place.data() + static_cast<std::size_t>(rank) * length);
  ranks.all_gather(in_place.data() + static_cast<std::size_t>(rank) * length, in_place.data(), count, type);
  ranks.all_to_all(own.data(), swapped.data(), count, type);
  for (int from = 0; from < size; ++from)
    for (std::int64_t i = 0; i < count; ++i) {
      const auto place = static_cast<std::size_t>(from * count + i);
      require(gathered[place] == value<Real>(from, i, seed), ranks, "all_gather");
      require(in_place[place] == gathered[place], ranks, "all_gather in place");
      require(swapped[place] == value<Real>(from, rank * count + i, seed), ranks, "all_to_all");
    }
  for (int root = 0; root < size; ++root) {
    std::vector<Real> told = values<Real>(rank, count, seed);
    ranks.broadcast(told.data(), count, type, root);
    require(told == values<Real>(root, count, seed), ranks, "broadcast");
  }
}

// A ring both ways at once, twice to the right with different lengths, and a message to itself.
inline void check_exchange(Communicator& ranks, std::int64_t count, int seed) {
  const int size = ranks.size(), rank = ranks.rank();
  const int left = (rank + size - 1) % size, right = (rank + 1) % size;
  const auto length = static_cast<std::size_t>(count);
  const auto first = values<float>(rank, count, seed), second = values<float>(rank, count + 1, seed + 1),
             back = values<float>(rank, count, seed + 2), kept = values<float>(rank, 3, seed + 3);
  std::vector<float> got_first(length), got_second(length + 1), got_back(length), got_kept(3);
  std::vector<Communicator::Send> sends{{rank, kept.data(), 3}};
  std::vector<Communicator::Receive> receives{{rank, got_kept.data(), 3}};
  if (size > 1) {
    sends.insert(sends.end(), {{right, first.data(), count}, {right, second.data(), count + 1}});
    receives.insert(receives.end(), {{left, got_first.data(), count}, {left, got_second.data(), count + 1}});
  }
  if (size > 2) {
    sends.push_back({left, back.data(), count});
    receives.push_back({right, got_back.data(), count});
  }
  ranks.exchange(sends, receives, DType::f32);
  require(got_kept == kept, ranks, "a message to itself");
  if (size > 1) {
    require(got_first == values<float>(left, count, seed), ranks, "the first message from the left");
    require(got_second == values<float>(left, count + 1, seed + 1), ranks, "the second one");
  }
  if (size > 2)
    require(got_back == values<float>(right, count, seed + 2), ranks, "the message from the right");
  // A chain: the first rank receives nothing, the last sends nothing.
  std::vector<Communicator::Send> on;
  std::vector<Communicator::Receive> from;
  if (rank + 1 < size) on.push_back({rank + 1, first.data(), count});
  if (rank > 0) from.push_back({rank - 1, got_first.data(), count});
  ranks.exchange(on, from, DType::f32);
  if (rank > 0) require(got_first == values<float>(rank - 1, count, seed), ranks, "a message along a chain");
}

// Half-precision values are only moved.
inline void check_halves(Communicator& ranks) {
  const auto own = static_cast<std::uint16_t>(1000 + ranks.rank());
  std::vector<std::uint16_t> all(static_cast<std::size_t>(ranks.size()));
  ranks.all_gather(&own, all.data(), 1, DType::bf16);
  for (int rank = 0; rank < ranks.size(); ++rank)
    require(all[static_cast<std::size_t>(rank)] == 1000 + rank, ranks, "all_gather of bf16");
}

inline void check(Communicator& ranks) {
  for (const std::int64_t count : {1, 5, 1000}) {
    check_sums<float>(ranks, DType::f32, count, 3);
    check_sums<double>(ranks, DType::f64, count, 5);
    check_moves<float>(ranks, DType::f32, count, 7);
    check_moves<double>(ranks, DType::f64, count, 11);
    check_exchange(ranks, count, 13);
  }
  check_halves(ranks);
  ranks.barrier();
}

// The ranks of one parity, in falling order.
inline void check_split(Communicator& ranks) {
  const auto part = ranks.split(ranks.rank() % 2, -ranks.rank());
  const int members = (ranks.size() + 1 - ranks.rank() % 2) / 2;
  require(part->size() == members, ranks, "the size of a part");
  require(part->rank() == members - 1 - ranks.rank() / 2, ranks, "the order within a part");
  check(*part);
}

}  // namespace communicator_checks
