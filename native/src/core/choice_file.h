// Choices that took time to make, kept for later processes.
#pragma once

#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace striped {

// Short texts by name, in a JSON object. To lose them costs time and nothing else: a file that is missing,
// damaged or cannot be written is as good as an empty one, and of two processes that add at the same time one
// may be forgotten. Whoever reads a choice has to check it: anybody could have written the file.
class ChoiceFile {
 public:
  // An empty path: this process alone remembers.
  explicit ChoiceFile(std::filesystem::path file);

  std::optional<std::string> find(const std::string& name) const;
  void add(const std::string& name, const std::string& choice);

 private:
  using Choices = std::map<std::string, std::string>;
  Choices read() const;

  const std::filesystem::path file_;
  mutable std::mutex mutex_;
  Choices choices_;
};

// $XDG_CACHE_HOME/striped/NAME, else ~/.cache/striped/NAME; empty where neither place is known.
std::filesystem::path cache_file(const std::string& name);

}  // namespace striped
