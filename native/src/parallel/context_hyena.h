// The inner Hyena operators with the sequence spread over context ranks. Each strategy gives the same result
// as one device does on the whole sequence; gradients of weights are this rank's share of the sum over ranks.
#pragma once

#include <memory>

#include "core/communicator.h"
#include "parallel/sharding.h"
#include "striped/shard_operators.h"

namespace striped::parallel {

struct ContextBuffers {
  void* kept;       // kept_bytes(), from the forward pass to the backward pass
  void* workspace;  // workspace_bytes(), scratch
};

class ContextHyena {
 public:
  virtual ~ContextHyena() = default;
  virtual std::size_t kept_bytes() const = 0;
  virtual std::size_t workspace_bytes() const = 0;
  virtual void forward(Communicator& ranks, const HyenaWeights& weights, const void* z, void* y,
                       const ContextBuffers& buffers) = 0;
  virtual void backward(Communicator& ranks, const HyenaWeights& weights, const void* z, const void* dy,
                        void* dz, const HyenaGradients& gradients, const ContextBuffers& buffers) = 0;
};

// `shape` is that of the whole sequences. Throws Error "context-strategy" for what cannot be.
std::unique_ptr<ContextHyena> make_context_hyena(ContextStrategy strategy, const HyenaShape& shape,
                                                 const Sharding& sharding, Backend& backend);

}  // namespace striped::parallel
