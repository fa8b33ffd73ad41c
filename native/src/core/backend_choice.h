// Which backend computes.
#pragma once

#include <memory>
#include <string>

#include "striped/backend.h"

namespace striped {

struct BackendChoice {
  std::unique_ptr<Backend> backend;
  std::string precision;  // what it computes in
  std::string note;       // for the user, where it is not what was asked for; else empty
  int threads = 0;
};

// `name`: auto (CUDA where it works, else the CPU), cpu or cuda. The CPU computes in fp32 (or fp64) whatever
// the plan's precision. Errors: "backend-unknown", "no-cuda", "precision-unknown".
BackendChoice choose_backend(const std::string& name, const std::string& precision, int threads, int device);

}  // namespace striped
