#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "arguments.h"
#include "bench.h"
#include "lost_rank.h"
#include "striped/bench.h"
#include "striped/error.h"

namespace striped::runner {
namespace {

using nlohmann::json;

// Files as they are, folders as the *.json files in them, by name.
std::vector<std::filesystem::path> plan_files(const std::string& list) {
  namespace fs = std::filesystem;
  std::vector<fs::path> files;
  if (fs::is_regular_file(list)) return {list};
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    const fs::path path = list.substr(begin, end - begin);
    begin = end + 1;
    if (!fs::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    std::vector<fs::path> inside;
    for (const auto& entry : fs::directory_iterator(path))
      if (entry.path().extension() == ".json") inside.push_back(entry.path());
    if (inside.empty())
      throw Error("bench-plans", "there is no plan (*.json) in the folder " + path.string());
    std::sort(inside.begin(), inside.end());
    files.insert(files.end(), inside.begin(), inside.end());
  }
  return files;
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  char text[16];
  std::strftime(text, sizeof text, "%Y-%m-%d", std::gmtime(&now));
  return text;
}

json to_json(const PlanBenchHead& head) {
  return {{"bench", "plans"},
          {"backend", head.backend},
          {"device", head.device},
          {"driver", head.driver},
          {"version", head.version},
          {"date", today()},
          {"copyTerabytesPerSecond", head.copy_rate * 1e-12},
          {"matrixTeraflops", head.matrix_rate * 1e-12},
          {"memoryBytes", head.memory},
          {"ranks", head.ranks},
          {"plans", head.plans}};
}

json to_json(const PlanMeasurement& row) {
  json result = {{"file", row.file.filename().string()}, {"plan", row.plan}};
  if (!row.skipped.empty()) {
    result["skipped"] = row.skipped;
    return result;
  }
  const PlanMemory& memory = row.memory;
  result.update({{"device", row.device},
                 {"precision", row.precision},
                 {"ranks", row.ranks},
                 {"tokens", row.tokens},
                 {"stepTimeMs", row.seconds * 1e3},
                 {"stepTimeMsRange", {row.least * 1e3, row.most * 1e3}},
                 {"steps", row.steps},
                 {"loss", row.loss},
                 {"memoryBytes",
                  {{"parameters", memory.parameters},
                   {"gradients", memory.gradients},
                   {"optimizer", memory.optimizer},
                   {"activations", memory.activations},
                   {"workspace", memory.workspace},
                   {"context", memory.context},
                   {"used", memory.used},
                   {"deviceTotal", memory.total}}}});
  if (!row.parts.empty())
    result.update({{"timedStepTimeMs", row.timed_seconds * 1e3}, {"parts", striped::to_json(row.parts)}});
  if (row.ranks > 1) result["communicationMs"] = row.waited * 1e3;
  return result;
}

void print(const PlanBenchHead& head) {
  if (head.ranks > 1) std::printf("%d ranks of ", head.ranks);
  std::printf("%s%s%s; copy %.3g TB/s, matrix product %.4g TFLOP/s; %zu plans\n%-44s %11s %9s %11s %9s%s\n",
              head.device.c_str(), head.driver.empty() ? "" : ", driver ", head.driver.c_str(),
              head.copy_rate * 1e-12, head.matrix_rate * 1e-12, head.plans, "", "ms", "+-", "tokens/s", "GiB",
              head.ranks > 1 ? "  waited, ms" : "");
}

void print(const PlanMeasurement& row) {
  const std::string name = row.plan.empty() ? row.file.string() : row.plan;
  if (!row.skipped.empty()) {
    std::printf("%-44s skipped: %s\n", name.c_str(), row.skipped.c_str());
    return;
  }
  std::printf("%-44s %11.3f %8.1f%% %11.0f %9.2f", name.c_str(), row.seconds * 1e3,
              50 * (row.most - row.least) / row.seconds, static_cast<double>(row.tokens) / row.seconds,
              static_cast<double>(row.memory.used) / (1u << 30));
  if (row.ranks > 1) std::printf(" %11.3f", row.waited * 1e3);
  std::printf("\n");
}

}  // namespace

int bench_plans(int count, char** values) {
  const Arguments arguments(count, values, {"plans", "backend", "threads", "device", "steps", "budget"},
                            {"json"});
  PlanBenchOptions options;
  options.plans = plan_files(arguments.required("plans"));
  options.backend = arguments.text("backend", "auto");
  options.threads = static_cast<int>(arguments.integer("threads", 0).value_or(0));
  options.device = static_cast<int>(arguments.integer("device", 0).value_or(0));
  options.steps = static_cast<int>(arguments.integer("steps", 1).value_or(0));
  options.budget = static_cast<double>(arguments.integer("budget", 1).value_or(0));
  options.lost = end_of_ranks;
  const bool as_json = arguments.flag("json");
  const auto tell = [&](const auto& what) {
    if (as_json)
      std::printf("%s\n", to_json(what).dump().c_str());
    else
      print(what);
    std::fflush(stdout);
  };
  const std::size_t left = striped::bench_plans(
      options, [&](const PlanBenchHead& head) { tell(head); },
      [&](const PlanMeasurement& row) { tell(row); });
  if (left > 0)
    std::fprintf(stderr, "striped-runner: note: the time was up with %zu of %zu plans not begun\n", left,
                 options.plans.size());
  return 0;
}

}  // namespace striped::runner
