#include "core/ranks.h"

namespace striped {

int rank_count(const PlanParallel& parallel) { return parallel.tensor * parallel.context * parallel.data; }

std::string parallel_text(const PlanParallel& parallel) {
  if (rank_count(parallel) == 1) return "one device";
  return "tensor " + std::to_string(parallel.tensor) + (parallel.sequence ? " with sequence" : "") +
         ", context " + std::to_string(parallel.context) + ", data " + std::to_string(parallel.data) +
         ", zero " + std::to_string(parallel.zero);
}

RankPlace place_of(const PlanParallel& parallel, int rank) {
  RankPlace place;
  place.tensor = {rank % parallel.tensor, parallel.tensor};
  place.context = {rank / parallel.tensor % parallel.context, parallel.context};
  place.data = {rank / parallel.tensor / parallel.context, parallel.data};
  place.sequence = parallel.sequence && parallel.tensor > 1;
  if (parallel.context > 1) place.spread = parallel.spread;
  return place;
}

double HostSum::over(Communicator& ranks, double value) {
  if (ranks.size() == 1) return value;
  backend_.upload(value_.at(), &value, sizeof value);
  ranks.all_reduce(value_.at(), 1, DType::f64);
  backend_.download(&value, value_.at(), sizeof value);
  return value;
}

RankGroups only_rank(Backend& backend) {
  const auto one = [&] { return std::make_unique<SingleRank>(backend); };
  return {{}, one(), one(), one(), one(), one()};
}

RankGroups split_ranks(std::unique_ptr<Communicator> all, const PlanParallel& parallel) {
  const int rank = all->rank();
  RankGroups groups;
  groups.place = place_of(parallel, rank);
  const auto& [tensor, context, data, sequence, spread] = groups.place;
  groups.tensor = all->split(rank / tensor.count, rank);
  groups.context = all->split(data.index * tensor.count + tensor.index, rank);
  groups.data = all->split(rank % (tensor.count * context.count), rank);
  groups.replicas = all->split(tensor.index, rank);
  groups.all = std::move(all);
  return groups;
}

}  // namespace striped
