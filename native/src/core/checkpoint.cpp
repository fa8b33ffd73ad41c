#include "core/checkpoint.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/file_io.h"
#include "striped/error.h"

namespace striped {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kFormat = "striped-checkpoint";
constexpr int kVersion = 1;
constexpr const char* kModel = "model.safetensors";
constexpr const char* kOptimizer = "optimizer.safetensors";
constexpr const char* kState = "state.json";

std::string step_name(std::int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step-%06lld", static_cast<long long>(step));
  return name;
}

json describe(const fs::path& file, std::uint32_t crc) {
  std::error_code status;
  const std::uintmax_t bytes = fs::file_size(file, status);
  if (status) throw Error("write-failed", "cannot write " + file.string() + ": " + status.message());
  return {{"bytes", bytes}, {"crc32c", crc}};
}

void write_files(const fs::path& directory, const CheckpointState& state, const ParameterStore& store,
                 WholeTensors& whole) {
  const ParameterTable& table = store.table();
  const std::uint32_t model_crc = write_tensors(directory / kModel, weight_tensors(table), store, whole);
  const std::uint32_t optimizer_crc =
      write_tensors(directory / kOptimizer, optimizer_tensors(table), store, whole);
  if (!whole.has_files()) return;
  const json text = {{"format", kFormat},
                     {"version", kVersion},
                     {"step", state.step},
                     {"samples", state.samples},
                     {"trainingHash", state.training_hash},
                     {"backend", state.backend},
                     {"precision", state.precision},
                     {"parallel", state.parallel},
                     {"threads", state.threads},
                     {"loss", state.loss},
                     {"data", state.data},
                     {"sequence", state.sequence},
                     {"files",
                      {{kModel, describe(directory / kModel, model_crc)},
                       {kOptimizer, describe(directory / kOptimizer, optimizer_crc)}}}};
  replace_file(directory / kState, text.dump(2) + "\n", true);
}

// A checkpoint of a step that is reached again was passed over as damaged: out of the way, but not deleted.
void set_aside(const fs::path& checkpoint) {
  const fs::path aside = checkpoint.parent_path() / ("damaged-" + checkpoint.filename().string());
  std::error_code error;
  fs::remove_all(aside, error);
  fs::rename(checkpoint, aside, error);
  if (error) throw_io_error("move", checkpoint, error.value());
}

// Throws json::exception or Error when it is not whole.
CheckpointState read_state(const fs::path& directory) {
  if (!fs::exists(directory / kState)) throw Error("checkpoint-corrupt", "state.json is missing");
  const json text = json::parse(read_text(directory / kState));
  if (text.at("format") != kFormat) throw Error("checkpoint-corrupt", "state.json is of something else");
  if (text.at("version").get<int>() > kVersion)
    throw Error("checkpoint-version",
                "it is of a newer version than this engine reads; go on with the engine that wrote it");
  for (const auto& [name, expected] : text.at("files").items()) {
    const fs::path file = directory / name;
    if (!fs::exists(file)) throw Error("checkpoint-corrupt", name + " is missing");
    if (fs::file_size(file) != expected.at("bytes").get<std::uint64_t>())
      throw Error("checkpoint-corrupt", name + " is cut off");
    if (crc32c_of_file(file) != expected.at("crc32c").get<std::uint32_t>())
      throw Error("checkpoint-corrupt", name + " does not have the checksum it was written with");
  }
  return {text.at("step"),         text.at("samples"),
          text.at("trainingHash"), text.at("backend"),
          text.at("precision"),    text.value("parallel", "one device"),
          text.at("threads"),      text.at("loss"),
          text.value("data", ""),  text.value("sequence", std::int64_t{0})};
}

// What cannot be read is not damaged: it may be whole, and newer than what would be gone on from.
[[noreturn]] void cannot_go_on(const fs::path& checkpoint, const Error& why) {
  throw Error(why.code(), "cannot go on from the checkpoint " + checkpoint.string() + ": " + why.what());
}

std::vector<fs::path> listed(const fs::path& checkpoints, const std::string& prefix) {
  std::vector<fs::path> found;
  std::error_code error;
  fs::directory_iterator entries(checkpoints, error);
  if (error && error != std::errc::no_such_file_or_directory)
    throw Error("read-failed", "cannot list " + checkpoints.string() + ": " + error.message());
  for (const auto& entry : entries)
    if (entry.path().filename().string().starts_with(prefix)) found.push_back(entry.path());
  return found;
}

}  // namespace

std::string write_checkpoint(const fs::path& checkpoints, const CheckpointState& state,
                             const ParameterStore& store, WholeTensors& whole) {
  const std::string name = step_name(state.step);
  if (!whole.has_files()) {
    write_files({}, state, store, whole);
    return name;
  }
  const fs::path target = checkpoints / name, beside = checkpoints / ("." + name + ".tmp");
  std::error_code error;
  fs::create_directories(checkpoints, error);
  if (error) throw_io_error("make", checkpoints, error.value());
  fs::remove_all(beside, error);
  try {
    fs::create_directory(beside, error);
    if (error) throw_io_error("make", beside, error.value());
    write_files(beside, state, store, whole);
    if (fs::exists(target)) set_aside(target);
    if (::rename(beside.c_str(), target.c_str()) != 0) throw_io_error("write", target, errno);
    sync_directory(checkpoints);
  } catch (...) {
    fs::remove_all(beside, error);
    throw;
  }
  return name;
}

std::optional<FoundCheckpoint> newest_checkpoint(const fs::path& checkpoints,
                                                 const std::function<void(const std::string&)>& report) {
  std::vector<fs::path> found = listed(checkpoints, "step-");
  const auto step_of = [](const fs::path& path) { return std::atoll(path.filename().c_str() + 5); };
  std::sort(found.begin(), found.end(),
            [&](const auto& a, const auto& b) { return step_of(a) > step_of(b); });
  const auto pass_over = [&](const fs::path& path, const char* what) {
    report("the checkpoint " + path.string() + " is damaged (" + what +
           ") and is passed over for the one before");
  };
  for (const fs::path& path : found) {
    try {
      return FoundCheckpoint{path, read_state(path)};
    } catch (const json::exception& problem) {
      pass_over(path, problem.what());
    } catch (const Error& problem) {
      if (problem.code() != "checkpoint-corrupt") cannot_go_on(path, problem);
      pass_over(path, problem.what());
    }
  }
  if (!found.empty())
    throw Error("checkpoint-corrupt", "no checkpoint in " + checkpoints.string() +
                                          " is whole; bring one back, or move that folder away to train "
                                          "from the beginning");
  return std::nullopt;
}

void remove_unfinished(const fs::path& checkpoints) {
  std::error_code error;
  for (const fs::path& path : listed(checkpoints, ".step-")) fs::remove_all(path, error);
}

FoundCheckpoint read_checkpoint(const fs::path& path) {
  if (!fs::exists(path / kState))
    throw Error("checkpoint-missing",
                path.string() + " is no checkpoint (it has no " + kState +
                    "); give the directory of one, as checkpoints/step-000200 in a run directory");
  try {
    return {path, read_state(path)};
  } catch (const json::exception&) {
    throw Error("checkpoint-corrupt", "the checkpoint " + path.string() + " is damaged (" + kState +
                                          " is no whole JSON); take another one");
  } catch (const Error& error) {
    if (error.code() != "checkpoint-corrupt") cannot_go_on(path, error);
    throw Error(error.code(),
                "the checkpoint " + path.string() + " is damaged (" + error.what() + "); take another one");
  }
}

void load_checkpoint(const FoundCheckpoint& checkpoint, const ParameterStore& store, WholeTensors& whole) {
  read_tensors(checkpoint.path / kModel, weight_tensors(store.table()), store, whole, true);
  read_tensors(checkpoint.path / kOptimizer, optimizer_tensors(store.table()), store, whole, false);
}

}  // namespace striped
