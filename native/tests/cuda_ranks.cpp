// Several ranks on GPUs, one process a GPU: what they say to each other through NCCL, operators over context
// ranks, and training, against one processor in fp64. Needs no launcher and no test framework.
//
//   test_cuda_ranks [communicator] [context] [large] [training]
//       --ranks N      so many (without it 2, and 4 where there are as many GPUs)
//       --share        all ranks on the first GPU, through this machine's memory instead of NCCL
//       --cpu          on the CPU backend, for the test itself
//       --rows N       rows a rank of the large shapes (4096)      --limit S   seconds for everything (240)
//
// One line a check. Exit code 0: all passed; 1: something failed; 2: nothing failed, but strategies are
// missing; 77: no two GPUs, or no NCCL.
#include <cstdlib>
#include <map>
#include <sstream>

#include "communicator_checks.h"
#include "context_large.h"
#include "parallel_training.h"
#include "rank_processes.h"
#include "relay_communicator.h"

namespace {

using namespace striped;
using process_ranks::Arrays;
using process_ranks::Findings;
using process_ranks::Missing;
using process_ranks::Rank;
using process_ranks::RelayCommunicator;

constexpr int kSkipped = 77;  // what ctest and the test suite take for "skipped"
constexpr int kBroken = 255;  // how the process that looks for GPUs says that something failed

struct Options {
  bool cuda = true, share = false;
  double limit = 240;
  std::vector<int> ranks;
  std::vector<std::string> subjects;
};

// What a rank computes on.
class Device {
 public:
  Device(const Options& options, Rank& rank, const std::string& precision)
      : options_(options),
        rank_(rank),
        backend_(options.cuda ? make_cuda_backend(precision, options.share ? 0 : rank.world.rank())
                              : make_cpu_backend(precision, 1)),
        reference_(make_cpu_backend("fp64", rank.world.rank() == 0 ? 0 : 1)) {}

  Backend& backend() { return *backend_; }
  Backend& reference() { return *reference_; }
  // A communicator over its memory; all ranks call.
  std::unique_ptr<Communicator> join() {
    process_ranks::SharedCommunicator& world = rank_.world;
    const auto share = [&](void* data, std::size_t bytes) {
      world.broadcast(data, static_cast<std::int64_t>(bytes / size_of(DType::bf16)), DType::bf16, 0);
    };
    if (!options_.cuda) return world.split(0, world.rank());
    if (!options_.share) return backend_->join({world.rank(), world.size(), share});
    return std::make_unique<RelayCommunicator>(world.split(0, world.rank()), *backend_, Arrays::on_device);
  }

 private:
  const Options& options_;
  Rank& rank_;
  std::unique_ptr<Backend> backend_, reference_;
};

// Sums and messages between calls of the backend, none of which is waited for, some of them made aside.
void check_order(Backend& backend, Communicator& ranks) {
  using communicator_checks::value;
  constexpr std::int64_t kCount = 1 << 20;
  constexpr int kRounds = 8;
  const int size = ranks.size(), left = (ranks.rank() + size - 1) % size, right = (ranks.rank() + 1) % size;
  const std::vector<float> own = communicator_checks::values<float>(ranks.rank(), kCount, 3);
  DeviceBuffer mine(backend, kCount * sizeof(float)), sum(backend, mine.bytes()),
      from_left(backend, mine.bytes()), total(backend, mine.bytes()), aside(backend, mine.bytes());
  backend.upload(mine.at(), own.data(), mine.bytes());
  total.zero();
  for (int round = 0; round < kRounds; ++round) {
    sum.zero();
    backend.add(kCount, sum.at(), mine.at());
    ranks.all_reduce(sum.at(), kCount, DType::f32);
    ranks.exchange({{right, mine.at(), kCount}}, {{left, from_left.at(), kCount}}, DType::f32);
    aside.zero();
    backend.add(kCount, aside.at(), mine.at());
    ranks.fork();
    ranks.all_reduce(aside.at(), kCount, DType::f32);
    const std::uint64_t mark = ranks.mark();
    backend.add(kCount, total.at(), sum.at());
    backend.add(kCount, total.at(), from_left.at());
    ranks.join(mark);
    backend.add(kCount, total.at(), aside.at());
  }
  std::vector<float> result(kCount);
  backend.download(result.data(), total.at(), total.bytes());
  for (std::int64_t i = 0; i < kCount; ++i) {
    const float once = 2 * communicator_checks::sum<float>(ranks, i, 3) + value<float>(left, i, 3);
    communicator_checks::require(result[static_cast<std::size_t>(i)] == kRounds * once, ranks,
                                 "computing and communicating in turn");
  }
}

void communicator_section(const Options& options, Rank& rank) {
  Device device(options, rank, "fp32");
  const auto ranks = device.join();
  RelayCommunicator relay(device.join(), device.backend(), Arrays::on_host);
  rank.check("communicator: every call", [&](Findings& f) {
    communicator_checks::check(relay);
    f.note(true, "");
  });
  rank.check("communicator: parts of the ranks", [&](Findings& f) {
    communicator_checks::check_split(relay);
    f.note(true, "");
  });
  rank.check("communicator: in turn with computing", [&](Findings& f) {
    check_order(device.backend(), *ranks);
    ranks->waited();
    f.note(true, "");
  });
}

// Throws Missing where the backend has no operators for the strategy.
void require_operators(Device& device, const context_checks::ContextCheck& check,
                       parallel::ContextStrategy strategy) {
  SingleRank alone(device.reference()), alone_there(device.backend());
  Findings ignored;
  try {
    check.attempt({alone, alone_there, device.backend(), device.reference(), ignored}, strategy);
    device.backend().synchronize();
  } catch (const Error& error) {
    if (error.code() == std::string("context-strategy")) throw Missing(error.what());
    throw;
  }
}

void context_section(const Options& options, Rank& rank, const std::string& precision,
                     const std::vector<context_checks::ContextCheck>& suite) {
  Device device(options, rank, precision);
  const auto ranks = device.join();
  for (const auto& check : suite)
    for (const auto strategy : check.strategies)
      for (const auto order : context_checks::kOrders)
        rank.check(precision + " " + check.name + ", " + context_checks::name_of(strategy) + ", " +
                       context_checks::name_of(order),
                   [&](Findings& findings) {
                     require_operators(device, check, strategy);
                     check.run({rank.world, *ranks, device.backend(), device.reference(), findings}, strategy,
                               order);
                   });
}

// The operators that a layout with context ranks needs.
void require_operators(Device& device, const PlanParallel& degrees) {
  if (degrees.context == 1) return;
  const parallel::Spread& spread = degrees.spread;
  for (const auto& check : context_checks::context_suite()) {
    if (check.name == "explicit filters") {
      require_operators(device, check, spread.se);
      require_operators(device, check, spread.mr);
    }
    if (check.name == "implicit filters") require_operators(device, check, spread.li);
    if (check.name == "attention") require_operators(device, check, spread.mha);
  }
}

// Gradients that are all but rounding must not decide where a parameter goes.
Plan training_plan(const training::Degrees& degrees) {
  auto plan = training::plan_of(degrees);
  plan["run"]["optimizer"]["eps"] = 1e-4;
  return parse_plan(plan);
}

void compare_training(const training::Trained& trained, const training::Trained& expected, bool exact,
                      Findings& findings) {
  // A small parameter is off by a share of the way it may have gone. In bf16 the curve alone: single
  // parameters follow rounding.
  constexpr double kWay = training::kSteps * training::kLearningRate;
  const double error = exact ? training::largest_error(trained, expected, kWay)
                             : training::largest_error(trained.losses, expected.losses);
  const double limit = exact ? 1e-3 : 2e-2;
  findings.largest = error;
  char text[64];
  std::snprintf(text, sizeof text, "training is off by %.3g, more than %.3g", error, limit);
  findings.note(error < limit, text);
}

void training_section(const Options& options, Rank& rank, const std::string& precision) {
  Device device(options, rank, precision);
  const bool exact = precision != "bf16";
  training::Trained expected;
  if (rank.world.rank() == 0)
    expected = training::train(training_plan({1, 1, 0, false, false}), device.reference(),
                               std::make_unique<SingleRank>(device.reference()));
  for (const auto* list : {&training::layouts(), &training::context_layouts()}) {
    for (const training::Degrees& degrees : *list) {
      const Plan plan = training_plan(degrees);
      if (rank_count(plan.run.parallel) != rank.world.size()) continue;
      std::ostringstream name;
      name << precision << " training, " << degrees;
      rank.check(name.str(), [&](Findings& findings) {
        require_operators(device, plan.run.parallel);
        const training::Trained trained = training::train(plan, device.backend(), device.join());
        if (rank.world.rank() == 0) compare_training(trained, expected, exact, findings);
      });
    }
  }
}

void section(const Options& options, const std::string& subject, const std::string& precision, Rank& rank) {
  if (subject == "communicator") communicator_section(options, rank);
  if (subject == "context") context_section(options, rank, precision, context_checks::context_suite());
  if (subject == "large") context_section(options, rank, precision, context_checks::large_suite());
  if (subject == "training") training_section(options, rank, precision);
  rank.leave();
}

// In a process of its own, since one that has met CUDA cannot be forked. GPUs there are, or -1 where CUDA or
// NCCL is missing.
int usable_gpus(const Options& options) {
  std::fflush(stdout);
  const pid_t process = ::fork();
  if (process == 0) {
    int count = 0;
    try {
      count = cuda_device_count();
      if (count > 0) {
        const auto backend = make_cuda_backend("fp32", 0);
        if (!options.share && count > 1) backend->join({0, 1, [](void*, std::size_t) {}});
      }
    } catch (const Error& error) {
      const bool missing = error.code() == "no-cuda" || error.code() == "no-nccl";
      std::printf("%s: %s\n", missing ? "SKIPPED" : "FAILED", error.what());
      std::fflush(stdout);
      std::_Exit(missing ? kSkipped : kBroken);
    }
    std::_Exit(std::min(count, kSkipped - 1));
  }
  int status = 0;
  ::waitpid(process, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) == kBroken) throw Error("gpus", "looking for GPUs failed");
  return WEXITSTATUS(status) == kSkipped ? -1 : WEXITSTATUS(status);
}

Options parse(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string word = arguments[i];
    const auto value = [&] {
      if (++i == count) throw Error("usage", word + " wants a value");
      return std::atoi(arguments[i]);
    };
    if (word == "--ranks")
      options.ranks = {value()};
    else if (word == "--share")
      options.share = true;
    else if (word == "--cpu")
      options.cuda = false;
    else if (word == "--rows")
      context_checks::large_rows() = value();
    else if (word == "--limit")
      options.limit = value();
    else if (word == "communicator" || word == "context" || word == "large" || word == "training")
      options.subjects.push_back(word);
    else
      throw Error("usage", "unknown argument " + word);
  }
  if (options.subjects.empty()) options.subjects = {"communicator", "training", "context", "large"};
  return options;
}

std::vector<std::string> precisions(const Options& options, const std::string& subject) {
  if (subject == "communicator") return {"fp32"};
  if (subject == "large") return {options.cuda ? "bf16" : "fp32"};
  return options.cuda ? std::vector<std::string>{"fp32", "bf16"} : std::vector<std::string>{"fp64", "fp32"};
}

int run(Options options) {
  if (options.cuda) {
    const int gpus = usable_gpus(options);
    if (gpus < 0) return kSkipped;
    if (gpus < (options.share ? 1 : 2)) {
      std::printf("SKIPPED: ranks on GPUs need two of them, and there %s %d\n", gpus == 1 ? "is" : "are",
                  gpus);
      return kSkipped;
    }
    if (options.ranks.empty()) options.ranks = gpus >= 4 ? std::vector<int>{2, 4} : std::vector<int>{2};
  }
  if (options.ranks.empty()) options.ranks = {2, 4};
  process_ranks::Tally all;
  const double deadline = process_ranks::now() + options.limit;
  for (const std::string& subject : options.subjects) {
    for (const int ranks : options.ranks) {
      for (const std::string& precision : precisions(options, subject)) {
        const std::string what = subject + " on " + std::to_string(ranks) + " ranks in " + precision;
        std::printf("== %s\n", what.c_str());
        const auto tally = process_ranks::run_processes(
            ranks, what, deadline, [&](Rank& rank) { section(options, subject, precision, rank); });
        all.passed += tally.passed;
        all.failed += tally.failed;
        all.missing += tally.missing;
      }
    }
  }
  std::printf("%d passed, %d failed, %d MISSING\n", all.passed, all.failed, all.missing);
  return all.failed > 0 ? 1 : all.missing > 0 ? 2 : 0;
}

}  // namespace

int main(int count, char** arguments) {
  try {
    return run(parse(count, arguments));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "test_cuda_ranks: %s\n", error.what());
    return 1;
  }
}
