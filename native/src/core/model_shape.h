// The shape of a micro-batch on this rank.
#pragma once

#include <cstdint>

#include "core/ranks.h"

namespace striped {

struct ModelShape {
  std::int64_t batch;
  std::int64_t length;  // of this rank's context shard of each sequence
  std::int64_t width;
  double norm_eps;
  RankPlace place;

  // Inside a sublayer.
  std::int64_t rows() const { return batch * length; }
  // Of the residual stream.
  std::int64_t stream_rows() const { return place.sequence ? rows() / place.tensor.count : rows(); }
  // Of a count that is shared out over the tensor ranks.
  std::int64_t share(std::int64_t count) const { return count / place.tensor.count; }
};

}  // namespace striped
