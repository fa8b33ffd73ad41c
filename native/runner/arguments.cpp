#include "arguments.h"

namespace striped::runner {

Arguments::Arguments(int count, char** values, const std::set<std::string>& with_value,
                     const std::set<std::string>& flags) {
  for (int i = 0; i < count; ++i) {
    const std::string word = values[i];
    const std::string name = word.starts_with("--") ? word.substr(2) : "";
    if (flags.count(name) > 0) {
      options_[name] = "";
    } else if (with_value.count(name) > 0) {
      if (i + 1 >= count) throw UsageError(word + " wants a value");
      options_[name] = values[++i];
    } else {
      throw UsageError("unknown argument " + word);
    }
  }
}

std::string Arguments::required(const std::string& name) const {
  const auto found = options_.find(name);
  if (found == options_.end()) throw UsageError("--" + name + " is missing");
  return found->second;
}

std::string Arguments::text(const std::string& name, const std::string& otherwise) const {
  const auto found = options_.find(name);
  return found == options_.end() ? otherwise : found->second;
}

std::optional<long long> Arguments::integer(const std::string& name, long long least) const {
  const auto found = options_.find(name);
  if (found == options_.end()) return std::nullopt;
  try {
    std::size_t used = 0;
    const long long value = std::stoll(found->second, &used);
    if (used == found->second.size() && value >= least) return value;
  } catch (const std::exception&) {
    // said below
  }
  throw UsageError("--" + name + " wants a whole number of at least " + std::to_string(least) + ", not " +
                   found->second);
}

}  // namespace striped::runner
