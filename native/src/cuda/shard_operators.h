// CUDA's striped::ShardOperators: sequences in pieces, for context parallelism. Each operator lies in a file
// of its own; calls are asynchronous on the context's stream.
#pragma once

#include <functional>
#include <memory>

#include "context.h"
#include "striped/shard_operators.h"

namespace striped::cuda {

class Attention;

// `enter` is called at the start of every call, `changed` before device memory is written by anything but an
// operator whose result no dense layer can have read before.
struct ShardSetting {
  Context& context;
  Attention& attention;
  std::function<void()> enter;
  std::function<void(void* data, std::size_t bytes)> changed;
  FourierPlans& plans;
};
std::unique_ptr<ShardOperators> make_shard_operators(ShardSetting);

}  // namespace striped::cuda
