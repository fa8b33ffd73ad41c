// The engine's whole public surface: the addon and the runner are thin shells over these functions.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace striped {

// Told, on a thread of the engine's, that a run of several ranks is over because one of them failed or was
// lost; must end the process. Code and message are empty on ranks other than the one that tells the user.
// Null: std::_Exit(1).
using LostRank = std::function<void(const std::string& code, const std::string& message)>;

struct TrainOptions {
  std::filesystem::path plan;  // plan.json; copied into the run directory
  std::filesystem::path out;   // run directory; must be new or empty unless resuming
  bool resume = false;         // continue from the newest good checkpoint in `out`
  // A checkpoint's directory that a new run goes on from, under its own plan; empty: from the beginning.
  std::filesystem::path from;
  std::optional<std::int64_t> steps;  // overrides the plan's
  std::string backend = "auto";       // auto | cpu | cuda
  std::string precision;              // empty: the plan's
  int threads = 0;                    // 0: all cores
  int device = 0;
  const std::atomic<bool>* stop = nullptr;  // set: checkpoint, then end in state "stopped"
  // Told what the user should know and the run survives (a damaged checkpoint, another precision); also
  // logged.
  std::function<void(const std::string&)> notice;
  LostRank lost;
};

struct TrainResult {
  std::string state;  // completed | stopped
  std::int64_t step;
  double loss, held_out_loss, composition_entropy;
  bool first_rank;  // of the run's processes: the one that says what came of it
};

// Throws striped::Error; the run directory then says state "failed" and why. Losses are NaN where not known.
// A plan for several ranks is trained by as many processes that mpirun or srun starts; where they fail
// together, the first throws what the user should know and the others throw AlreadyTold.
TrainResult train(const TrainOptions&);

struct ForwardOptions {
  std::filesystem::path plan, weights, tokens, logits;
  std::optional<std::filesystem::path> gradients;
  std::string backend = "auto";
  std::string precision;  // fp64 | fp32 | bf16 | fp8; empty: the plan's
  int threads = 0;
  LostRank lost;
};
struct ForwardResult {
  double loss;  // mean cross-entropy
  bool first_rank;
};
// The numerics probe.
ForwardResult forward(const ForwardOptions&);

// Version of the engine, and one line of how it was built.
std::string version();
std::string build_info();

// JSON texts.
std::string devices();  // what can run here, and what cannot and why
std::string memory_table(const std::filesystem::path& plan,
                         const std::string& backend);  // what would be allocated

}  // namespace striped
