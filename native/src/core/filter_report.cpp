#include "core/filter_report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

namespace striped {
namespace {

using nlohmann::json;

constexpr std::array kQuantiles{0.0, 0.1, 0.5, 0.9, 1.0};

// One entry for every layer of an operator, of what `report` makes of one of its parameters.
template <typename Report>
json per_layer(const PlanModel& model, HyenaOperator op, const std::string& name, const ParameterTable& table,
               WholeTensors& tensors, const Report& report) {
  json result = json::array();
  for (std::size_t layer = 0; layer < model.blocks.size(); ++layer) {
    const auto* hyena = std::get_if<PlanHyena>(&model.blocks[layer].mixer);
    if (hyena == nullptr || hyena->op != op) continue;
    const int index = table.find("blocks." + std::to_string(layer) + ".mixer." + name);
    std::vector<double> values = tensors.collect({index, Stored::weight, ""});
    if (!tensors.has_files()) continue;
    json entry = report(*hyena, std::move(values));
    entry["layer"] = layer;
    result.push_back(std::move(entry));
  }
  return result;
}

}  // namespace

json filter_norms(const PlanModel& model, const ParameterTable& table, WholeTensors& tensors) {
  const auto report = [](const PlanHyena& hyena, const std::vector<double>& filter) -> json {
    const std::vector<double> decay = decay_factors(hyena);
    std::vector<double> norms(static_cast<std::size_t>(hyena.taps), 0.0);
    for (std::size_t i = 0; i < filter.size(); ++i)
      norms[i % norms.size()] += filter[i] * decay[i] * filter[i] * decay[i];
    for (double& norm : norms) norm = std::sqrt(norm / static_cast<double>(hyena.groups));
    return {{"norms", norms}};
  };
  return per_layer(model, HyenaOperator::MR, "filter", table, tensors, report);
}

json time_constants(const PlanModel& model, const ParameterTable& table, WholeTensors& tensors) {
  const auto report = [](const PlanHyena&, std::vector<double> tokens) -> json {
    for (double& value : tokens) value = -1 / value;
    std::sort(tokens.begin(), tokens.end());
    std::vector<double> shown;
    for (const double quantile : kQuantiles)
      shown.push_back(
          tokens[static_cast<std::size_t>(std::lround(quantile * static_cast<double>(tokens.size() - 1)))]);
    return {{"tokens", shown}};
  };
  return per_layer(model, HyenaOperator::LI, "log_poles", table, tensors, report);
}

}  // namespace striped
