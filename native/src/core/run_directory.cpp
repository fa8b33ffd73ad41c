#include "core/run_directory.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <ctime>
#include <fstream>
#include <sstream>

#include "striped/error.h"

namespace striped {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kOrigin = ".branched-from";

// Kernel start time of a process, 0 where there is none or it has ended: field 22 of its stat, counted behind
// the command's name.
std::int64_t process_start(std::int64_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(in)), {});
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(text.substr(name_end + 1));
  std::string field;
  for (int i = 3; i <= 22 && fields >> field; ++i) {
    if (i == 3 && (field == "Z" || field == "X")) return 0;
    if (i == 22) return std::stoll(field);
  }
  return 0;
}

std::string host_name() {
  char name[256] = "";
  ::gethostname(name, sizeof name - 1);
  return name;
}

// Null where there is none that can be read.
json status_in(const fs::path& run) {
  std::ifstream in(run / "status.json");
  const json status = json::parse(in, nullptr, false);
  return status.is_object() ? status : json();
}

std::string text_of(const json& status, const char* key) {
  return status.contains(key) && status[key].is_string() ? status[key].get<std::string>() : "";
}

std::int64_t number_of(const json& status, const char* key) {
  return status.contains(key) && status[key].is_number_integer() ? status[key].get<std::int64_t>() : 0;
}

// What a launcher may have put there before the engine starts, and without a plan what a start has left that
// failed before it had one.
bool is_launchers(const fs::path& entry, bool has_plan) {
  const std::string name = entry.filename();
  if (name == "plan.json" || name.starts_with(".") || name.ends_with(".log") || name == "log.txt")
    return true;
  if (name == "events.jsonl") return !has_plan;
  if (name != "status.json") return false;
  const std::string state = text_of(status_in(entry.parent_path()), "state");
  return state == "starting" || (state == "failed" && !has_plan);
}

// Two engines in one directory would write over each other's events and checkpoints.
void require_alone(const fs::path& run) {
  const json status = status_in(run);
  const std::string state = text_of(status, "state");
  const std::int64_t pid = number_of(status, "pid"), start = number_of(status, "pidStart");
  if (state != "starting" && state != "running" && state != "stopping") return;
  if (pid <= 0 || pid == ::getpid() || start == 0 || text_of(status, "host") != host_name()) return;
  if (process_start(pid) == start)
    throw Error("run-alive", "process " + std::to_string(pid) + " is training the run in " + run.string() +
                                 "; stop it first");
}

// Names of files, which messages quote, need not be UTF-8.
std::string line_of(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

void require_writable(const fs::path& path) {
  const fs::path probe = path / (".probe-" + std::to_string(::getpid()));
  try {
    OutputFile file(probe);
    file.write("x");
    file.close();
  } catch (const Error& error) {
    ::unlink(probe.c_str());
    if (error.code() == "disk-full") throw;
    throw Error("run-directory", "cannot write in the run directory " + path.string() + " (" + error.what() +
                                     "); choose another with --out or mend its permissions");
  }
  ::unlink(probe.c_str());
}

}  // namespace

double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string utc_time() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto millis =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[64];
  const std::size_t length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text + length, sizeof text - length, ".%03dZ", static_cast<int>(millis));
  return text;
}

RunDirectory::RunDirectory(fs::path path, bool resume) : path_(std::move(path)), started_at_(utc_time()) {
  std::error_code error;
  const bool used = fs::exists(path_ / "plan.json", error);
  if (resume && !used)
    throw Error("run-missing", path_.string() + " holds no run to resume (no plan.json); is the path right?");
  fs::create_directories(path_, error);
  if (error || !fs::is_directory(path_, error))
    throw Error("run-directory", "cannot make the run directory " + path_.string() + ": " +
                                     (error ? error.message() : "there is a file of that name") +
                                     "; choose another with --out");
  if (!resume)
    for (const auto& entry : fs::directory_iterator(path_))
      if (!is_launchers(entry.path(), used))
        throw Error("run-exists", "the run directory " + path_.string() + " is not empty (it holds " +
                                      entry.path().filename().string() +
                                      "); choose a new one, or continue the run in it with --resume");
  require_alone(path_);
  require_writable(path_);
  if (!resume) fs::remove(path_ / "events.jsonl", error);
  events_ = std::make_unique<OutputFile>(path_ / "events.jsonl", true);
  log_ = std::make_unique<OutputFile>(path_ / "log.txt", true);
}

RunStatus RunDirectory::said() const {
  const json status = status_in(path_);
  RunStatus said;
  said.run = text_of(status, "run");
  said.model = text_of(status, "model");
  said.step = number_of(status, "step");
  said.steps = number_of(status, "steps");
  return said;
}

void RunDirectory::write_plan(const json& plan) {
  replace_file(path_ / "plan.json", plan.dump(2) + "\n", true);
}

void RunDirectory::keep_origin(const fs::path& checkpoint) {
  if (checkpoint.empty())
    fs::remove(path_ / kOrigin);
  else
    replace_file(path_ / kOrigin, fs::absolute(checkpoint).string(), true);
}

fs::path RunDirectory::origin() const {
  const fs::path file = path_ / kOrigin;
  return fs::exists(file) ? fs::path(read_text(file)) : fs::path();
}

void RunDirectory::write_status(const RunStatus& status) {
  const json text = {{"state", status.state},
                     {"pid", ::getpid()},
                     {"host", host_name()},
                     {"pidStart", process_start(::getpid())},
                     {"run", status.run},
                     {"model", status.model},
                     {"backend", status.backend},
                     {"device", status.device},
                     {"step", status.step},
                     {"steps", status.steps},
                     {"startedAt", started_at_},
                     {"updatedAt", utc_time()},
                     {"exitReason", status.exit_reason}};
  const std::string line = line_of(text);
  const fs::path file = path_ / "status.json";
  try {
    replace_file(file, line, false);
  } catch (const Error& error) {
    if (error.code() != "disk-full" || !fs::exists(file)) throw;
    const int descriptor = ::open(file.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor < 0) throw;
    const bool written =
        ::pwrite(descriptor, line.data(), line.size(), 0) == static_cast<ssize_t>(line.size()) &&
        ::ftruncate(descriptor, static_cast<off_t>(line.size())) == 0;
    ::close(descriptor);
    if (!written) throw;
  }
}

void RunDirectory::rewind_events(std::int64_t step) {
  const fs::path file = path_ / "events.jsonl";
  std::ifstream in(file, std::ios::binary);
  std::string line;
  std::streamoff keep = 0;
  while (std::getline(in, line) && !in.eof()) {
    const json event = json::parse(line, nullptr, false);
    if (!event.is_object() || event.value("step", std::int64_t{0}) > step) break;
    keep += static_cast<std::streamoff>(line.size()) + 1;
  }
  in.close();
  if (::truncate(file.c_str(), keep) != 0) throw_io_error("write", file, errno);
}

void RunDirectory::append_event(json event) {
  event["time"] = unix_seconds();
  events_->write(line_of(event));
}

void RunDirectory::log(const std::string& line) { log_->write(utc_time() + " " + line + "\n"); }

bool RunDirectory::take_checkpoint_request() {
  return ::unlink((path_ / ".checkpoint-request").c_str()) == 0;
}

}  // namespace striped
