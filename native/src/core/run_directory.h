// The run directory as `extension/runs/run-directory.ts` describes it; this is its writer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "core/file_io.h"

namespace striped {

struct RunStatus {
  std::string state, run, model, backend, device;
  std::int64_t step = 0, steps = 0;
  std::string exit_reason;
};

class RunDirectory {
 public:
  // Takes the directory, making it where needed. A new run wants it empty (a plan, a log and the status of a
  // launcher that is starting this run may lie in it, or what a start that failed before it had a plan left);
  // a resumed one wants one that a run has used. Errors: "run-directory" (cannot be made or written),
  // "run-exists", "run-missing", "run-alive".
  RunDirectory(std::filesystem::path path, bool resume);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }

  // What a launcher, or the run so far, has said of the run; empty where there is nothing.
  RunStatus said() const;
  void write_plan(const nlohmann::json& plan);
  // The checkpoint that the run starts from (`.branched-from`); empty: from the beginning. Kept, because a
  // run that fails before its own first checkpoint must not start from the beginning when it is resumed.
  void keep_origin(const std::filesystem::path& checkpoint);
  std::filesystem::path origin() const;
  // Atomic. On a full disk the old file is overwritten in place, so that the last word gets out.
  void write_status(const RunStatus& status);
  // Drops events of steps after `step` and a last line that was cut off.
  void rewind_events(std::int64_t step);
  // Adds `time`.
  void append_event(nlohmann::json event);
  void log(const std::string& line);
  // Removes the file by which a watcher asks for a checkpoint (`.checkpoint-request`); whether it was there.
  bool take_checkpoint_request();

 private:
  std::filesystem::path path_;
  std::string started_at_;
  std::unique_ptr<OutputFile> events_, log_;
};

double unix_seconds();
std::string utc_time();

}  // namespace striped
