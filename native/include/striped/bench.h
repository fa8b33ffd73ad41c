// Measuring operators, blocks and whole training steps against what the device could do at best.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "striped/engine.h"
#include "striped/plan_parts.h"

namespace striped {

struct BenchOptions {
  std::string what;                           // operators | blocks | stack
  std::vector<std::int64_t> widths, lengths;  // empty: what suits the device
  std::string backend = "auto";               // auto | cpu | cuda
  std::string precision;                      // empty: bf16 on CUDA, fp32 on the CPU
  int threads = 0, device = 0;
  int runs = 0;  // behind each median; 0: 21, fewer where they take long
};

// One measured size, batch 1. `seconds` is the median over runs that each find the cache full of other data;
// `floor` the least time the same bytes and FLOPs could take: for every operator in it the greater of bytes
// over the copy rate and FLOPs over the matrix rate.
struct BenchRow {
  std::string name;
  std::int64_t width, length;
  double seconds, floor, bytes, flops;
};

struct BenchReport {
  std::string what, backend, device, precision;
  double copy_rate = 0;    // bytes read plus written a second, device to device
  double matrix_rate = 0;  // FLOP/s of a large product in the activation type
  double dense_rate = 0;   // the same where FP8 is allowed; else matrix_rate
  std::vector<BenchRow> rows;
};

// Throws striped::Error: "bench-unknown", "bench-size", those of a backend. `told` hears of the report
// without rows once, then of each row as soon as it is there.
BenchReport run_bench(const BenchOptions& options,
                      const std::function<void(const BenchReport&, const BenchRow*)>& told);

struct PlanBenchOptions {
  std::vector<std::filesystem::path> plans;
  std::string backend = "auto";  // auto | cpu | cuda
  int threads = 0, device = 0;
  int steps = 0;      // behind each median; 0: as many as fit into 0.6 s, 3 to 25
  double budget = 0;  // seconds after which no further plan is begun; 0: none
  LostRank lost;      // of several: as in TrainOptions
};

// Bytes. `context` is what the device had in use before anything of the plan was allocated, `used` what it
// has in use after its steps: the difference to the parts is what libraries and rounding take.
struct PlanMemory {
  std::size_t parameters = 0, gradients = 0, optimizer = 0, activations = 0, workspace = 0;
  std::size_t context = 0, used = 0, total = 0;
};

// One plan's training step on random tokens. `skipped` says why it was not measured; then the rest is empty.
struct PlanMeasurement {
  std::filesystem::path file;
  std::string plan, skipped;
  std::string precision, device;
  int ranks = 1;
  std::int64_t tokens = 0;                  // of a step
  double seconds = 0, least = 0, most = 0;  // undisturbed steps: median, and their range
  int steps = 0;
  double waited = 0;            // seconds of the median step in which the first rank waited for others
  double timed_seconds = 0;     // a step while its parts are timed, the shortest
  std::vector<PlanPart> parts;  // none with context ranks, whose operators are not timed
  PlanMemory memory;            // of the first rank
  double loss = 0;              // of the first step
};

struct PlanBenchHead {
  std::string backend, device, driver, version;
  double copy_rate = 0, matrix_rate = 0;  // as in BenchReport, in the activation type
  std::size_t memory = 0;                 // bytes the device has; 0 where unknown
  std::size_t plans = 0;
  int ranks = 1;
};

// Measures plans one after the other; each is told as soon as it is done. A plan that cannot run here, such
// as one for another number of ranks than were started, is skipped with the reason. Every rank that a
// launcher started calls, and the first one tells. Returns how many were not begun for want of time. Throws
// striped::Error where the backend itself is missing, and where ranks fail in the middle.
std::size_t bench_plans(const PlanBenchOptions& options,
                        const std::function<void(const PlanBenchHead&)>& begun,
                        const std::function<void(const PlanMeasurement&)>& told);

// What traffic between ranks takes. Bytes: of all_reduce and all_to_all what a rank holds, of all_gather what
// it ends up with, of send what it hands to its neighbour while it gets as much from the other one.
struct LinkRow {
  std::string collective;  // all_reduce, all_gather, all_to_all, send
  std::int64_t bytes = 0;
  double seconds = 0;  // median
};

struct LinkReport {
  std::string backend, device;
  int ranks = 0;
  bool one_machine = true;
  bool first_rank = true;  // others have nothing to tell
  std::vector<LinkRow> rows;
};

struct LinkBenchOptions {
  std::string backend = "auto";  // auto | cpu | cuda
  int device = 0;
  LostRank lost;  // as in TrainOptions
};

// Every rank that a launcher started calls; where they fail, the first one tells. Throws striped::Error:
// "parallel-ranks" where there is one alone.
LinkReport bench_links(const LinkBenchOptions& options);

}  // namespace striped
