#include "parallel/parameter_exchange.h"

namespace striped::parallel {

Sharing sharing_of(const PlanParallel& parallel, const RankPlace& place) {
  const Place replicas = place.replicas();
  if (parallel.zero == 0 || replicas.count == 1) return {};
  return {parallel.zero, replicas};
}

ParameterExchange::ParameterExchange(ParameterStore& store, const RankGroups& ranks)
    : store_(store), ranks_(ranks), backend_(store.backend()) {
  if (ranks_.all->size() > 1) store_.set_residence(this);
}

ParameterExchange::~ParameterExchange() { store_.set_residence(nullptr); }

void ParameterExchange::gather(int unit) {
  for (const ParameterStore::Share& share : store_.weight_shares(unit))
    ranks_.replicas->all_gather(share.own, share.whole, share.count, share.type);
}

// Starts gathering a unit into its slot, behind the last use of what is there.
void ParameterExchange::fetch(int unit) {
  const std::size_t slot = slot_of(unit);
  if (resident_[slot] == unit) return;
  fetched_[slot] = ranks_.replicas->aside([&] { gather(unit); });
  resident_[slot] = unit;
}

void ParameterExchange::need(int unit) {
  if (store_.sharing().zero < 3) return;
  if (unit == 0) ahead_ = 1;
  fetch(unit);
  ranks_.replicas->join(fetched_[slot_of(unit)]);
  const int next = unit + ahead_;
  if (next > 0 && next < store_.table().units()) fetch(next);
}

// Whether this rank's own part stands for sums that no other rank has.
bool ParameterExchange::keeps_sum(const ParameterStore::Share& share) const {
  return share.split || !ranks_.place.sequence || ranks_.place.tensor.index == 0;
}

void ParameterExchange::begin_gradients(int unit) {
  if (unit == 0) ahead_ = -1;
  if (store_.sharing().zero < 2) return;
  // What earlier micro-batches came to starts off this rank's part; the sum over ranks takes it up again.
  ranks_.replicas->join(summed_[slot_of(unit)]);
  const auto part = static_cast<std::size_t>(store_.sharing().part.index);
  for (const ParameterStore::Share& share : store_.gradient_shares(unit)) {
    const std::size_t bytes = static_cast<std::size_t>(share.count) * size_of(share.type);
    backend_.zero(share.whole, bytes * static_cast<std::size_t>(store_.sharing().part.count));
    if (keeps_sum(share))
      backend_.copy(static_cast<std::byte*>(share.whole) + part * bytes, share.own, bytes);
  }
}

void ParameterExchange::end_gradients(int unit) {
  const Sharing& sharing = store_.sharing();
  if (sharing.zero < 2 && !last_) return;
  const std::vector<ParameterStore::Share> shares = store_.gradient_shares(unit);
  // Parameters that every tensor rank holds have seen its rows only.
  if (ranks_.place.sequence)
    for (const ParameterStore::Share& share : shares)
      if (!share.split) ranks_.tensor->all_reduce(share.whole, share.count * sharing.part.count, share.type);
  if (ranks_.replicas->size() == 1) return;
  summed_[slot_of(unit)] = ranks_.replicas->aside([&] {
    for (const ParameterStore::Share& share : shares) {
      if (sharing.zero == 0)
        ranks_.replicas->all_reduce(share.whole, share.count, share.type);
      else
        ranks_.replicas->reduce_scatter(share.whole, share.own, share.count, share.type);
    }
  });
}

void ParameterExchange::finish_gradients() { ranks_.replicas->join(ranks_.replicas->mark()); }

void ParameterExchange::sum_norm(double* squared_norm) {
  Communicator& parts = store_.sharing().zero > 0 ? *ranks_.all : *ranks_.tensor;
  if (parts.size() > 1) parts.all_reduce(squared_norm, 1, DType::f64);
}

void ParameterExchange::share_weights(int unit) {
  const int zero = store_.sharing().zero;
  if (zero == 1 || zero == 2) ranks_.replicas->aside([&] { gather(unit); });
}

void ParameterExchange::finish_weights() {
  if (store_.sharing().zero == 0) return;
  ranks_.replicas->join(ranks_.replicas->mark());
  for (int& resident : resident_) resident = kNobody;
}

}  // namespace striped::parallel
