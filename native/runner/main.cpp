// striped-runner: the engine as a program, for remote nodes and scripts.
// Exit codes: 0 done (also when stopped on request), 1 failure, 2 wrong usage.
#include <atomic>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <set>

#include "arguments.h"
#include "bench.h"
#include "lost_rank.h"
#include "striped/engine.h"
#include "striped/error.h"

namespace {

using striped::runner::Arguments;
using striped::runner::end_of_ranks;
using striped::runner::UsageError;

constexpr const char* kUsage =
    "usage: striped-runner train --plan PLAN --out DIR [--resume | --from CHECKPOINT] [--steps N] [--backend "
    "auto|cpu|cuda]\n"
    "                            [--precision fp32|bf16|fp8] [--threads N] [--device N]\n"
    "       striped-runner forward --plan PLAN --weights W.safetensors --tokens T.bin --logits "
    "L.safetensors\n"
    "                              [--grads G.safetensors] [--precision fp64|fp32|bf16|fp8]\n"
    "                              [--backend auto|cpu|cuda] [--threads N]\n"
    "       striped-runner bench operators|blocks|stack [--widths 4096,...] [--lengths 8K,...] [--json]\n"
    "                              [--backend auto|cpu|cuda] [--precision fp64|fp32|bf16|fp8] [--threads N]\n"
    "                              [--device N] [--runs N]\n"
    "       [mpirun -n N] striped-runner bench plans --plans FILE|FOLDER[,...] [--budget SECONDS] [--steps "
    "N] [--json]\n"
    "                              [--backend auto|cpu|cuda] [--threads N] [--device N]\n"
    "       mpirun -n N striped-runner bench links [--backend auto|cpu|cuda] [--device N] [--json]\n"
    "       striped-runner devices\n"
    "       striped-runner memory --plan PLAN [--backend auto|cpu|cuda]\n"
    "       striped-runner --version\n";

std::atomic<bool> stop{false};
static_assert(std::atomic<bool>::is_always_lock_free);

// A signal asks for a checkpoint and an orderly end. A second SIGINT ends at once, as impatient hands at a
// terminal expect; SIGTERM may come from several who ask for the same.
void ask_to_stop(int signal) {
  stop = true;
  if (signal == SIGINT) std::signal(signal, SIG_DFL);
}

void number(const char* name, double value, const char* behind) {
  if (std::isfinite(value))
    std::printf("\"%s\":%.9g%s", name, value, behind);
  else
    std::printf("\"%s\":null%s", name, behind);
}

int train(const Arguments& arguments) {
  striped::TrainOptions options;
  options.plan = arguments.required("plan");
  options.out = arguments.required("out");
  options.resume = arguments.flag("resume");
  options.from = arguments.text("from", "");
  if (const auto steps = arguments.integer("steps", 1)) options.steps = *steps;
  options.backend = arguments.text("backend", "auto");
  options.precision = arguments.text("precision", "");
  options.threads = static_cast<int>(arguments.integer("threads", 0).value_or(0));
  options.device = static_cast<int>(arguments.integer("device", 0).value_or(0));
  options.stop = &stop;
  options.lost = end_of_ranks;
  options.notice = [](const std::string& text) {
    std::fprintf(stderr, "striped-runner: note: %s\n", text.c_str());
  };
  std::signal(SIGTERM, ask_to_stop);
  std::signal(SIGINT, ask_to_stop);
#if defined(SIGHUP)
  // The terminal is gone; under nohup that is to mean nothing.
  if (std::signal(SIGHUP, ask_to_stop) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);
#endif
  const striped::TrainResult result = striped::train(options);
  if (!result.first_rank) return 0;
  std::printf("{\"state\":\"%s\",\"step\":%lld,", result.state.c_str(), static_cast<long long>(result.step));
  number("loss", result.loss, ",");
  number("heldOutLoss", result.held_out_loss, ",");
  number("compositionEntropy", result.composition_entropy, "}\n");
  return 0;
}

int forward(const Arguments& arguments) {
  striped::ForwardOptions options;
  options.plan = arguments.required("plan");
  options.weights = arguments.required("weights");
  options.tokens = arguments.required("tokens");
  options.logits = arguments.required("logits");
  if (arguments.flag("grads")) options.gradients = arguments.required("grads");
  options.backend = arguments.text("backend", "auto");
  options.precision = arguments.text("precision", "");
  options.threads = static_cast<int>(arguments.integer("threads", 0).value_or(0));
  options.lost = end_of_ranks;
  const striped::ForwardResult result = striped::forward(options);
  if (!result.first_rank) return 0;
  std::printf("{");
  number("loss", result.loss, "}\n");
  return 0;
}

int run(int count, char** values) {
  const std::string command = count > 1 ? values[1] : "";
  if (command == "bench") return striped::runner::bench(count - 2, values + 2);
  const auto rest = [&](const std::set<std::string>& with_value, const std::set<std::string>& flags = {}) {
    return Arguments(count - 2, values + 2, with_value, flags);
  };
  if (command == "train")
    return train(
        rest({"plan", "out", "from", "steps", "backend", "precision", "threads", "device"}, {"resume"}));
  if (command == "forward")
    return forward(rest({"plan", "weights", "tokens", "logits", "grads", "precision", "backend", "threads"}));
  if (command == "devices") {
    rest({});
    std::cout << striped::devices() << "\n";
    return 0;
  }
  if (command == "memory") {
    const Arguments arguments = rest({"plan", "backend"});
    std::cout << striped::memory_table(arguments.required("plan"), arguments.text("backend", "auto")) << "\n";
    return 0;
  }
  if (command == "--version") {
    std::cout << "striped-runner " << striped::version() << " (" << striped::build_info() << ")\n";
    return 0;
  }
  if (command == "--help") {
    std::cout << kUsage;
    return 0;
  }
  throw UsageError(command.empty() ? "a command is missing" : "unknown command " + command);
}

// After a failure, at once: exit handlers of MPI and CUDA may wait for other ranks, or crash.
[[noreturn]] void leave(int code) {
  std::cout.flush();
  std::fflush(nullptr);
  std::_Exit(code);
}

}  // namespace

int main(int count, char** values) {
  try {
    return run(count, values);
  } catch (const UsageError& error) {
    std::fprintf(stderr, "striped-runner: error: %s [usage]\n%s", error.what(), kUsage);
    return 2;
  } catch (const striped::AlreadyTold&) {
    // The first rank says it.
  } catch (const striped::Error& error) {
    std::fprintf(stderr, "striped-runner: error: %s [%s]\n", error.what(), error.code().c_str());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "striped-runner: error: %s [internal]\n", error.what());
  }
  leave(1);
}
