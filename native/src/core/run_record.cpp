#include "core/run_record.h"

#include <algorithm>

namespace striped {
namespace {

constexpr double kStatusInterval = 0.25;  // seconds

}  // namespace

void RunRecord::state(const std::string& state, const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (!directory_ || failed_) return;
  status_.state = state;
  status_.exit_reason = reason;
  directory_->write_status(status_);
  last_status_ = unix_seconds();
}

void RunRecord::progress(std::int64_t step) {
  status_.step = step;
  if (unix_seconds() - last_status_ > kStatusInterval) state("running");
}

void RunRecord::begin(const nlohmann::json& plan, std::int64_t step, bool resumed, bool from_checkpoint) {
  if (!directory_) return;
  if (resumed) directory_->rewind_events(from_checkpoint ? step : -1);
  directory_->write_plan(plan);
  tensorboard_.emplace(directory_->path(), step + 1);
  status_.step = step;
}

void RunRecord::event(nlohmann::json event) {
  const std::lock_guard lock(mutex_);
  if (directory_ && !failed_) directory_->append_event(std::move(event));
}

void RunRecord::scalars(std::int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  if (tensorboard_) tensorboard_->scalars(step, values);
}

void RunRecord::log(const std::string& line) {
  const std::lock_guard lock(mutex_);
  if (directory_) directory_->log(line);
}

// Each part on its own: the disk may be what failed.
void RunRecord::fail(std::int64_t step, const std::string& reason) noexcept {
  const auto attempt = [](const auto& action) {
    try {
      action();
    } catch (...) {  // NOLINT: there is nobody left to tell
    }
  };
  const std::lock_guard lock(mutex_);
  if (failed_) return;
  status_.step = std::max(status_.step, step);
  attempt([&] { state("failed", reason); });
  attempt([&] { event({{"type", "end"}, {"step", step}, {"state", "failed"}, {"reason", reason}}); });
  attempt([&] { log("failed: " + reason); });
  failed_ = true;
}

}  // namespace striped
