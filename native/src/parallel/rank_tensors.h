// Whole tensors of parameters that the ranks of a run hold in parts. The first rank has the files.
#pragma once

#include "core/parameter_files.h"

namespace striped::parallel {

class RankTensors final : public WholeTensors {
 public:
  RankTensors(ParameterStore& store, const RankGroups& ranks) : store_(store), ranks_(ranks) {}
  bool has_files() const override { return ranks_.all->rank() == 0; }
  std::vector<double> collect(const StoredTensor& tensor) override;
  void spread(const StoredTensor& tensor, const std::vector<double>& values, ThreadPool& threads) override;

 private:
  ParameterStore& store_;
  const RankGroups& ranks_;
};

}  // namespace striped::parallel
