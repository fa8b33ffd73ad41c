// What replicas of the same parameters pass to each other: gradients are summed as soon as a unit's backward
// pass is done, shared-out parameters are gathered before a unit is used and after the optimiser's step.
#pragma once

#include <cstdint>
#include <vector>

#include "core/parameter_store.h"

namespace striped::parallel {

// How a plan's replicas share out what they hold; the parameter table must have as many parts.
Sharing sharing_of(const PlanParallel& parallel, const RankPlace& place);

class ParameterExchange final : public Residence {
 public:
  // Becomes the store's residence where there is anything to exchange. All are kept by reference.
  ParameterExchange(ParameterStore& store, const RankGroups& ranks);
  ~ParameterExchange() override;
  ParameterExchange(const ParameterExchange&) = delete;
  ParameterExchange& operator=(const ParameterExchange&) = delete;

  // Before a micro-batch's forward pass. Gradients that a rank holds whole are summed over the ranks in the
  // last micro-batch of a step.
  void begin_micro_batch(bool last) { last_ = last; }
  void need(int unit) override;
  void begin_gradients(int unit) override;
  void end_gradients(int unit) override;
  // Behind the last backward pass: every sum is there.
  void finish_gradients();
  // From what ParameterStore::measure() found here to the square of the global norm.
  void sum_norm(double* squared_norm);
  // Behind the optimiser's step on a unit: its new weights begin to reach every rank.
  void share_weights(int unit);
  // Behind the step: every rank has the new weights, or knows that its copies are old.
  void finish_weights();

 private:
  static constexpr int kNobody = -1;
  // The slot of a unit: 0 for unit 0, the others take turns in 1 and 2.
  static std::size_t slot_of(int unit) { return unit == 0 ? 0 : 1 + static_cast<std::size_t>(unit % 2); }
  void fetch(int unit);
  void gather(int unit);
  bool keeps_sum(const ParameterStore::Share& share) const;

  ParameterStore& store_;
  const RankGroups& ranks_;
  Backend& backend_;
  bool last_ = true;
  int ahead_ = 1;  // which way the next unit lies: forward 1, backward -1
  int resident_[3] = {kNobody, kNobody, kNobody};
  std::uint64_t fetched_[3] = {}, summed_[3] = {};  // marks by slot
};

}  // namespace striped::parallel
