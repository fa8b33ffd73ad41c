#include "core/choice_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <system_error>

#include "core/file_io.h"
#include "striped/error.h"

namespace striped {

namespace {

// Ranks that start on a new device choose at the same time. Without the lock, where it cannot be had.
class FileLock {
 public:
  explicit FileLock(const std::filesystem::path& file)
      : descriptor_(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
    if (descriptor_ >= 0) ::flock(descriptor_, LOCK_EX);
  }
  ~FileLock() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int descriptor_;
};

}  // namespace

ChoiceFile::ChoiceFile(std::filesystem::path file) : file_(std::move(file)), choices_(read()) {}

ChoiceFile::Choices ChoiceFile::read() const {
  Choices found;
  if (file_.empty()) return found;
  try {
    const auto content = nlohmann::json::parse(read_text(file_), nullptr, false);
    if (!content.is_object()) return found;
    for (const auto& [name, choice] : content.items())
      if (choice.is_string()) found.emplace(name, choice);
  } catch (const Error&) {
    // Not there, or not to be read.
  }
  return found;
}

std::optional<std::string> ChoiceFile::find(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = choices_.find(name);
  return found == choices_.end() ? std::nullopt : std::optional(found->second);
}

void ChoiceFile::add(const std::string& name, const std::string& choice) {
  const std::lock_guard lock(mutex_);
  choices_.insert_or_assign(name, choice);
  if (file_.empty()) return;
  std::error_code ignored;
  std::filesystem::create_directories(file_.parent_path(), ignored);
  const FileLock among_processes(file_.string() + ".lock");
  choices_.merge(read());  // what others have added since
  try {
    replace_file(file_, nlohmann::json(choices_).dump(1) + "\n", false);
  } catch (const Error&) {
    // A full disk or a folder of someone else's: it is chosen again next time.
  }
}

std::filesystem::path cache_file(const std::string& name) {
  const auto place = [](const char* variable) {
    const char* const value = std::getenv(variable);
    const std::filesystem::path path = value == nullptr ? "" : value;
    return path.is_absolute() ? path : std::filesystem::path();
  };
  if (const auto cache = place("XDG_CACHE_HOME"); !cache.empty()) return cache / "striped" / name;
  if (const auto home = place("HOME"); !home.empty()) return home / ".cache" / "striped" / name;
  return {};
}

}  // namespace striped
