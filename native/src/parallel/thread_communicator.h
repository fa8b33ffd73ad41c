// Ranks as threads of one process, each with a backend of its own in this machine's memory: for tests of what
// ranks do together that need no launcher.
#pragma once

#include <functional>

#include "core/communicator.h"

namespace striped::parallel {

// Calls `work` on `size` threads, each with its communicator, and waits for all. What the lowest rank that
// failed threw is thrown again; the other ranks' waiting ends with an Error then.
void run_ranks(int size, const std::function<void(Communicator&)>& work);

}  // namespace striped::parallel
