// Measuring operators, blocks and whole training steps against what the device could do at best.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

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

}  // namespace striped
