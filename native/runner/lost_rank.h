// How a process of several ends when another rank is lost.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

namespace striped::runner {

// At once: nothing of this process may wait for the others any more.
inline void end_of_ranks(const std::string& code, const std::string& message) {
  if (!message.empty())
    std::fprintf(stderr, "striped-runner: error: %s [%s]\n", message.c_str(), code.c_str());
  std::_Exit(1);
}

}  // namespace striped::runner
