#include <cstdio>
#include <nlohmann/json.hpp>

#include "arguments.h"
#include "bench.h"
#include "lost_rank.h"
#include "striped/bench.h"

namespace striped::runner {
namespace {

nlohmann::json to_json(const LinkReport& report) {
  nlohmann::json rows = nlohmann::json::array();
  for (const LinkRow& row : report.rows)
    rows.push_back({{"collective", row.collective}, {"bytes", row.bytes}, {"seconds", row.seconds}});
  return {{"backend", report.backend},
          {"device", report.device},
          {"ranks", report.ranks},
          {"oneMachine", report.one_machine},
          {"rows", rows}};
}

void print(const LinkReport& report) {
  std::printf("%d ranks of %s, %s\n%-12s %12s %11s %9s\n", report.ranks, report.device.c_str(),
              report.one_machine ? "one machine" : "several machines", "", "bytes", "ms", "GB/s");
  for (const LinkRow& row : report.rows)
    std::printf("%-12s %12lld %11.4f %9.2f\n", row.collective.c_str(), static_cast<long long>(row.bytes),
                row.seconds * 1e3, static_cast<double>(row.bytes) / row.seconds * 1e-9);
}

}  // namespace

int bench_links(int count, char** values) {
  const Arguments arguments(count, values, {"backend", "device"}, {"json"});
  LinkBenchOptions options;
  options.backend = arguments.text("backend", "auto");
  options.device = static_cast<int>(arguments.integer("device", 0).value_or(0));
  options.lost = end_of_ranks;
  const LinkReport report = striped::bench_links(options);
  if (!report.first_rank) return 0;
  if (arguments.flag("json"))
    std::printf("%s\n", to_json(report).dump().c_str());
  else
    print(report);
  return 0;
}

}  // namespace striped::runner
