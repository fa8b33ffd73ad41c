// How far results are from what was expected.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace test_values {

// Largest difference over the largest expected magnitude; infinite for NaN and for another number of values.
inline double relative_error(const std::vector<double>& actual, const std::vector<double>& expected) {
  if (actual.size() != expected.size()) return INFINITY;
  double worst = 0, scale = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double difference = std::abs(actual[i] - expected[i]);
    worst = std::isnan(difference) ? INFINITY : std::max(worst, difference);
    scale = std::max(scale, std::abs(expected[i]));
  }
  return worst == 0 ? 0 : worst / std::max(scale, 1e-30);
}

}  // namespace test_values
