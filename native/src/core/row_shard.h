// Which rows of a micro-batch [batch, length] are this rank's rows of the residual stream, in their order
// there.
#pragma once

#include <cstdint>
#include <vector>

#include "core/data.h"
#include "core/model.h"

namespace striped {

class RowShard {
 public:
  RowShard(const RankPlace& place, std::int64_t batch, std::int64_t length);

  const std::vector<std::int64_t>& rows() const { return rows_; }
  // This rank's rows of the micro-batch that starts at row `first` of the windows; valid until the next call.
  MicroBatch take(const SampleBatch& windows, std::int64_t first = 0);

 private:
  std::vector<std::int64_t> rows_;
  bool everything_;
  SampleBatch taken_;
};

}  // namespace striped
