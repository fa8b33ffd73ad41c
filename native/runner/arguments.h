// The runner's command line.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>

namespace striped::runner {

// Wrong use of the command line; exit code 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Arguments {
 public:
  // `with_value` and `flags` are the options the command knows, without their dashes.
  Arguments(int count, char** values, const std::set<std::string>& with_value,
            const std::set<std::string>& flags);

  bool flag(const std::string& name) const { return options_.count(name) > 0; }
  std::string required(const std::string& name) const;
  std::string text(const std::string& name, const std::string& otherwise) const;
  std::optional<long long> integer(const std::string& name, long long least) const;

 private:
  std::map<std::string, std::string> options_;
};

}  // namespace striped::runner
