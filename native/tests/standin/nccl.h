// What a test may ask of the stand-in for NCCL besides NCCL's own functions; found with dlsym.
#pragma once

namespace standin {

// The next call to `function` on this thread returns `status` and does nothing.
using FailNext = void(const char* function, int status);
struct Counts {
  int made, destroyed, aborted;  // communicators of this process
};
using GetCounts = Counts();

}  // namespace standin
