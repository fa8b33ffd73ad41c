#include "striped/bench.h"

#include "bench/subjects.h"
#include "core/backend_choice.h"
#include "striped/error.h"

namespace striped {
namespace {

using Subject = void (*)(Backend&, bench::Measure&, const bench::Size&, const bench::Told&);

Subject subject_of(const std::string& what) {
  if (what == "operators") return bench::operators;
  if (what == "blocks") return bench::blocks;
  if (what == "stack") return bench::stack;
  throw Error("bench-unknown", "\"" + what + "\" cannot be measured; say operators, blocks, stack or plans");
}

void require_sizes(const BenchOptions& options) {
  for (const std::int64_t width : options.widths)
    if (width < 16 || width % 16 != 0)
      throw Error("bench-size", "the width " + std::to_string(width) +
                                    " is not a multiple of 16: filters are shared by 16 channels");
  for (const std::int64_t length : options.lengths)
    if (length < 1) throw Error("bench-size", "a length must be at least 1");
}

BackendChoice choose(const BenchOptions& options) {
  const std::string precision = !options.precision.empty() ? options.precision
                                : options.backend == "cpu" ? "fp32"
                                                           : "bf16";
  return choose_backend(options.backend, precision, options.threads, options.device);
}

}  // namespace

BenchReport run_bench(const BenchOptions& options,
                      const std::function<void(const BenchReport&, const BenchRow*)>& told) {
  const Subject subject = subject_of(options.what);
  require_sizes(options);
  const BackendChoice choice = choose(options);
  Backend& backend = *choice.backend;
  const bool cpu = backend.name() == "cpu";
  bench::Measure measure(backend, choice.precision == "fp8", options.runs);
  BenchReport report{options.what,        backend.name(),        backend.device_name(), choice.precision,
                     measure.copy_rate(), measure.matrix_rate(), measure.dense_rate(),  {}};
  told(report, nullptr);
  using List = std::vector<std::int64_t>;
  const List widths = !options.widths.empty() ? options.widths : cpu ? List{256} : List{4096};
  const List lengths = !options.lengths.empty() ? options.lengths : cpu ? List{1024} : List{8192, 32768};
  for (const std::int64_t width : widths)
    for (const std::int64_t length : lengths)
      subject(backend, measure, {width, length},
              [&](const std::string& name, double seconds, const std::vector<bench::Cost>& costs) {
                BenchRow row{name, width, length, seconds, 0, 0, 0};
                for (const bench::Cost& cost : costs) {
                  row.floor += measure.floor(cost);
                  row.bytes += cost.bytes;
                  row.flops += cost.flops;
                }
                report.rows.push_back(row);
                told(report, &report.rows.back());
              });
  return report;
}

}  // namespace striped
