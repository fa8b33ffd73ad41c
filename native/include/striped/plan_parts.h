// Where the time of a training step goes, by calls of the backend.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace striped {

// Calls of one kind in one pass, of one step. Dense layers are told apart by rows, in and out.
struct PlanPart {
  std::string
      kind;  // gemm, unembedding, SE, MR, LI, MHA, norm, activation, embedding, loss, optimizer, zero ...
  std::string pass;  // forward, recompute, backward, input gradient ...
  std::int64_t rows = 0, in = 0, out = 0;
  std::int64_t calls = 0;
  double seconds = 0;
};

// An array of {kind, calls, ms} and where there is one a pass, and of a dense layer its shape.
nlohmann::json to_json(const std::vector<PlanPart>& parts);

}  // namespace striped
