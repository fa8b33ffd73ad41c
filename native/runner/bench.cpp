#include "bench.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "arguments.h"
#include "striped/bench.h"

namespace striped::runner {
namespace {

// "8K" is 8192, "1M" is 1048576.
std::int64_t size_of_word(const std::string& option, const std::string& word) {
  const auto letter = word.find_first_not_of("0123456789");
  const std::string digits = word.substr(0, letter),
                    unit = letter == std::string::npos ? "" : word.substr(letter);
  const bool known = unit.empty() || unit == "K" || unit == "M";
  if (digits.empty() || digits.size() > 9 || !known)
    throw UsageError("--" + option + " wants sizes such as 4096 or 8K, with commas between them, not " +
                     word);
  return std::stoll(digits) << (unit == "K" ? 10 : unit == "M" ? 20 : 0);
}

std::vector<std::int64_t> sizes(const Arguments& arguments, const std::string& option) {
  std::vector<std::int64_t> result;
  if (!arguments.flag(option)) return result;
  const std::string text = arguments.required(option);
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    result.push_back(size_of_word(option, text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return result;
}

void print_line(const BenchReport& report, const BenchRow* row) {
  if (row == nullptr) {
    std::printf("%s, %s; copy %.3g TB/s, matrix product %.4g TFLOP/s", report.device.c_str(),
                report.precision.c_str(), report.copy_rate * 1e-12, report.matrix_rate * 1e-12);
    if (report.precision == "fp8") std::printf(", in FP8 %.4g", report.dense_rate * 1e-12);
    std::printf("\n%-34s %6s %9s %11s %11s %8s %8s %9s\n", "", "width", "length", "ms", "floor, ms",
                "x floor", "TB/s", "TFLOP/s");
  } else {
    std::printf("%-34s %6lld %9lld %11.4f %11.4f %8.2f %8.3f %9.3f\n", row->name.c_str(),
                static_cast<long long>(row->width), static_cast<long long>(row->length), row->seconds * 1e3,
                row->floor * 1e3, row->seconds / row->floor, row->bytes / row->seconds * 1e-12,
                row->flops / row->seconds * 1e-12);
  }
  std::fflush(stdout);
}

nlohmann::json to_json(const BenchReport& report) {
  nlohmann::json rows = nlohmann::json::array();
  for (const BenchRow& row : report.rows)
    rows.push_back({{"name", row.name},
                    {"width", row.width},
                    {"length", row.length},
                    {"milliseconds", row.seconds * 1e3},
                    {"floorMilliseconds", row.floor * 1e3},
                    {"ratio", row.seconds / row.floor},
                    {"terabytesPerSecond", row.bytes / row.seconds * 1e-12},
                    {"teraflops", row.flops / row.seconds * 1e-12}});
  return {{"bench", report.what},
          {"backend", report.backend},
          {"device", report.device},
          {"precision", report.precision},
          {"copyTerabytesPerSecond", report.copy_rate * 1e-12},
          {"matrixTeraflops", report.matrix_rate * 1e-12},
          {"denseTeraflops", report.dense_rate * 1e-12},
          {"rows", rows}};
}

}  // namespace

int bench(int count, char** values) {
  if (count < 1) throw UsageError("bench wants to know what: operators, blocks, stack, plans or links");
  if (values[0] == std::string("plans")) return bench_plans(count - 1, values + 1);
  if (values[0] == std::string("links")) return bench_links(count - 1, values + 1);
  const Arguments arguments(count - 1, values + 1,
                            {"widths", "lengths", "backend", "precision", "threads", "device", "runs"},
                            {"json"});
  BenchOptions options;
  options.what = values[0];
  options.widths = sizes(arguments, "widths");
  options.lengths = sizes(arguments, "lengths");
  options.backend = arguments.text("backend", "auto");
  options.precision = arguments.text("precision", "");
  options.threads = static_cast<int>(arguments.integer("threads", 0).value_or(0));
  options.device = static_cast<int>(arguments.integer("device", 0).value_or(0));
  options.runs = static_cast<int>(arguments.integer("runs", 1).value_or(0));
  const bool json = arguments.flag("json");
  const BenchReport report = striped::run_bench(options, [&](const BenchReport& so_far, const BenchRow* row) {
    if (!json) print_line(so_far, row);
  });
  if (json) std::printf("%s\n", to_json(report).dump(2).c_str());
  return 0;
}

}  // namespace striped::runner
