// Checkpoints: a directory a step, complete or absent.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "core/parameter_files.h"

namespace striped {

struct CheckpointState {
  std::int64_t step = 0;
  std::uint64_t samples = 0;  // training windows seen
  std::string training_hash;  // of the plan
  std::string backend, precision;
  std::string parallel;  // parallel_text() of the run
  int threads = 0;
  double loss = 0;
  std::string data;           // Dataset::fingerprint(); empty in checkpoints of older engines
  std::int64_t sequence = 0;  // tokens of a window; 0 in checkpoints of older engines
};

// Writes `checkpoints/step-000200` (model.safetensors, optimizer.safetensors, state.json): into a directory
// beside, synced, then renamed. Returns its name. On failure nothing of it stays. All ranks of a run call;
// the one that has the files writes. Errors: "disk-full", "write-failed".
std::string write_checkpoint(const std::filesystem::path& checkpoints, const CheckpointState& state,
                             const ParameterStore& store, WholeTensors& whole);

struct FoundCheckpoint {
  std::filesystem::path path;
  CheckpointState state;
};

// The newest checkpoint whose files are whole; each one passed over is reported in words. None where there
// are none. Errors: "checkpoint-corrupt" (none is whole), "checkpoint-version", "read-failed".
std::optional<FoundCheckpoint> newest_checkpoint(const std::filesystem::path& checkpoints,
                                                 const std::function<void(const std::string&)>& report);

// Removes what a process that was killed while it wrote a checkpoint has left; it may be large, and is
// hidden.
void remove_unfinished(const std::filesystem::path& checkpoints);

// One checkpoint's directory. Errors: "checkpoint-missing", "checkpoint-corrupt", "checkpoint-version".
FoundCheckpoint read_checkpoint(const std::filesystem::path& path);

// All ranks of a run call; `checkpoint` matters on the one that has the files.
void load_checkpoint(const FoundCheckpoint& checkpoint, const ParameterStore& store, WholeTensors& whole);

}  // namespace striped
