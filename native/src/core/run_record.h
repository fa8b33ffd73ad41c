// What a run tells of itself, in its run directory. Of several ranks the first one tells; others have a
// silent record.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/run_directory.h"
#include "core/tensorboard.h"

namespace striped {

class RunRecord {
 public:
  // Takes the run directory if it `tells`. Errors of RunDirectory; nothing of the run is touched then.
  RunRecord(const std::filesystem::path& path, bool resume, bool tells) {
    if (!tells) return;
    directory_.emplace(path, resume);
    // Stands until the plan is read, and where it never is.
    status_ = directory_->said();
  }

  std::filesystem::path checkpoints() const {
    return directory_ ? directory_->checkpoints() : std::filesystem::path();
  }

  // RunDirectory::keep_origin() and origin(); of a silent record none.
  void keep_origin(const std::filesystem::path& checkpoint) {
    if (directory_) directory_->keep_origin(checkpoint);
  }
  std::filesystem::path origin() const { return directory_ ? directory_->origin() : std::filesystem::path(); }

  // What the status says from the next state on.
  RunStatus& status() { return status_; }
  void state(const std::string& state, const std::string& reason = "");
  // The status of a step, not more often than it is worth.
  void progress(std::int64_t step);
  // Once the plan is known and before the first event: drops what a resumed run does again.
  void begin(const nlohmann::json& plan, std::int64_t step, bool resumed, bool from_checkpoint);
  void event(nlohmann::json event);
  void scalars(std::int64_t step, const std::vector<std::pair<std::string, double>>& values);
  void log(const std::string& line);
  // RunDirectory::take_checkpoint_request(); a silent record gets none.
  bool take_checkpoint_request() { return directory_ && directory_->take_checkpoint_request(); }
  // The last word, as far as it still can be written. Any thread may say it; what follows it is ignored.
  void fail(std::int64_t step, const std::string& reason) noexcept;

 private:
  std::optional<RunDirectory> directory_;
  std::optional<TensorBoard> tensorboard_;
  RunStatus status_;
  double last_status_ = 0;
  std::recursive_mutex mutex_;
  bool failed_ = false;
};

}  // namespace striped
