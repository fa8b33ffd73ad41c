// Traffic between ranks.
#include <algorithm>
#include <chrono>
#include <functional>

#include "core/device_buffer.h"
#include "core/run_setup.h"
#include "striped/bench.h"
#include "striped/error.h"

namespace striped {
namespace {

constexpr std::int64_t kSmallest = std::int64_t{1} << 16, kLargest = std::int64_t{1} << 25, kGrowth = 8;
constexpr int kRuns = 9;

double median_seconds(Communicator& ranks, Backend& backend, const std::function<void()>& work) {
  std::vector<double> times;
  for (int run = -1; run < kRuns; ++run) {  // the first one warms up
    ranks.barrier();
    backend.synchronize();
    const auto start = std::chrono::steady_clock::now();
    work();
    backend.synchronize();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    if (run >= 0) times.push_back(seconds.count());
  }
  std::nth_element(times.begin(), times.begin() + kRuns / 2, times.end());
  return times[kRuns / 2];
}

void measure(Communicator& ranks, Backend& backend, std::int64_t bytes, std::vector<LinkRow>& rows) {
  const int size = ranks.size(), rank = ranks.rank();
  const std::int64_t share = bytes / size / std::int64_t{sizeof(float)}, count = share * size;
  const auto held = static_cast<std::size_t>(count) * sizeof(float);
  DeviceBuffer data(backend, held), out(backend, held);
  data.zero();
  out.zero();
  const auto add = [&](const char* name, const std::function<void()>& work) {
    rows.push_back({name, static_cast<std::int64_t>(held), median_seconds(ranks, backend, work)});
  };
  add("all_reduce", [&] { ranks.all_reduce(data.at(), count, DType::f32); });
  add("all_gather", [&] { ranks.all_gather(data.at(), out.at(), share, DType::f32); });
  add("all_to_all", [&] { ranks.all_to_all(data.at(), out.at(), share, DType::f32); });
  add("send", [&] {
    ranks.exchange({{(rank + 1) % size, data.at(), count}}, {{(rank + size - 1) % size, out.at(), count}},
                   DType::f32);
  });
}

LinkReport report_of(const LinkBenchOptions& options, const parallel::Launch& launch) {
  const BackendChoice choice =
      choose_rank_backend(options.backend, "fp32", /*threads=*/1, options.device, launch);
  Backend& backend = *choice.backend;
  const std::unique_ptr<Communicator> ranks = join_ranks(backend, launch);
  LinkReport report{backend.name(),       backend.device_name(), launch.size(),
                    launch.one_machine(), launch.first(),        {}};
  for (std::int64_t bytes = kSmallest; bytes <= kLargest; bytes *= kGrowth)
    measure(*ranks, backend, bytes, report.rows);
  return report;
}

}  // namespace

LinkReport bench_links(const LinkBenchOptions& options) {
  parallel::Launch launch;
  if (launch.size() == 1)
    throw Error("parallel-ranks", "traffic takes several ranks; start it with mpirun -n 2");
  LinkReport report;
  launch.under_watch(end_of(options.lost), [&](parallel::Lifeline*) { report = report_of(options, launch); });
  return report;
}

}  // namespace striped
