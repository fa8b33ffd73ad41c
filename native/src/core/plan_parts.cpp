#include "striped/plan_parts.h"

namespace striped {

nlohmann::json to_json(const std::vector<PlanPart>& parts) {
  nlohmann::json result = nlohmann::json::array();
  for (const PlanPart& part : parts) {
    nlohmann::json each = {{"kind", part.kind}, {"calls", part.calls}, {"ms", part.seconds * 1e3}};
    if (!part.pass.empty()) each["pass"] = part.pass;
    if (part.rows > 0) each["shape"] = {part.rows, part.in, part.out};
    result.push_back(std::move(each));
  }
  return result;
}

}  // namespace striped
