// Where a rank stands in a parallel run, and whom it speaks to. Ranks are numbered tensor first, then
// context, then data, so that those that speak most are neighbours and share a node.
#pragma once

#include <memory>
#include <string>

#include "core/communicator.h"
#include "core/device_buffer.h"
#include "core/plan.h"

namespace striped {

// One of `count`.
struct Place {
  int index = 0, count = 1;
};

struct RankPlace {
  Place tensor, context, data;
  bool sequence = false;  // the residual stream is shared out over the tensor ranks
  parallel::Spread spread;
  // Of sequences of so many tokens over the context ranks.
  parallel::Sharding sharding(std::int64_t length) const { return {context.count, spread.order, length}; }
  // Ranks with the same shards of the parameters, which sum their gradients: data, then context.
  Place replicas() const { return {data.index * context.count + context.index, data.count * context.count}; }
};

int rank_count(const PlanParallel& parallel);
// "tensor 2, context 1, data 4, zero 1", or "one device".
std::string parallel_text(const PlanParallel& parallel);
RankPlace place_of(const PlanParallel& parallel, int rank);

struct RankGroups {
  RankPlace place;
  std::unique_ptr<Communicator> all, tensor, context, data, replicas;
  // Ranks whose rows of the residual stream together are every row of the batch, each once.
  Communicator& rows() const { return place.sequence ? *all : *replicas; }
  // Communicator::waited() of all.
  double waited() const {
    return all->waited() + tensor->waited() + context->waited() + data->waited() + replicas->waited();
  }
};

// The sum over ranks of a number that each has on the host.
class HostSum {
 public:
  explicit HostSum(Backend& backend) : backend_(backend), value_(backend, sizeof(double)) {}
  double over(Communicator& ranks, double value);

 private:
  Backend& backend_;
  DeviceBuffer value_;
};

// The groups of a run of one rank.
RankGroups only_rank(Backend& backend);
// Every rank of `all`, of which there are rank_count(parallel), must call.
RankGroups split_ranks(std::unique_ptr<Communicator> all, const PlanParallel& parallel);

}  // namespace striped
