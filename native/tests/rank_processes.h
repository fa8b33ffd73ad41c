// Checks that several processes make together, one a rank, under the eyes of the one that started them: a
// check that hangs or kills a rank is told and ended, and the next one begins with new processes.
#pragma once

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <functional>
#include <thread>

#include "context_fixture.h"
#include "shared_communicator.h"

namespace process_ranks {

using context_checks::Findings;

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Tally {
  int passed = 0, failed = 0, missing = 0;
};

// What the backend cannot do yet, on every rank alike.
struct Missing : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// In memory that all processes share.
struct Board {
  static constexpr std::size_t kRanks = 8;
  std::atomic<int> check;              // the number of the one that runs; 0: none yet
  std::atomic<double> since, failing;  // when it began, and when a rank failed in it, or 0
  std::atomic<int> passed, failed, missing;
  char name[256], failures[kRanks][768];

  void begin(int number, const std::string& what) {
    std::snprintf(name, sizeof name, "%s", what.c_str());
    for (auto& failure : failures) failure[0] = '\0';
    failing = 0;
    since = now();
    check = number;
  }
  void fail(int rank, const std::string& why) {
    std::snprintf(failures[rank], sizeof failures[rank], "%s", why.c_str());
    failing = now();
  }
  std::string why() const {
    for (std::size_t rank = 0; rank < kRanks; ++rank)
      if (failures[rank][0] != '\0') return "rank " + std::to_string(rank) + ": " + failures[rank];
    return "";
  }
};

// How a process ends after a check that threw: the others did too, or were waited for.
constexpr int kBeginAgain = 3;

class Rank {
 public:
  // Checks up to the `done`-th are behind earlier processes.
  Rank(Board& board, SharedCommunicator& ranks, int done) : world(ranks), board_(board), done_(done) {}

  // All ranks call, with the same name. Numbers that are off go on to the next check; what throws ends this
  // process.
  void check(const std::string& name, const std::function<void(Findings&)>& work) {
    if (++number_ <= done_) return;
    begin(name);
    Findings findings;
    std::string failure, missing;
    try {
      work(findings);
    } catch (const Missing& what) {
      missing = what.what();
    } catch (const std::exception& error) {
      failure = error.what();
    }
    if (!failure.empty()) board_.fail(world.rank(), failure);
    double threw = failure.empty() ? 0 : 1;
    world.all_reduce(&threw, 1, DType::f64);
    if (world.rank() == 0) tell(name, findings, missing, threw > 0);
    world.barrier();
    if (threw > 0) std::_Exit(kBeginAgain);
  }
  // Nothing is checked from here on.
  void leave() {
    ++number_;
    begin("the end of the ranks");
  }

  SharedCommunicator& world;

 private:
  void begin(const std::string& name) {
    world.barrier();
    if (world.rank() == 0) board_.begin(number_, name);
    world.barrier();
  }
  void tell(const std::string& name, const Findings& findings, const std::string& missing, bool threw) {
    const double seconds = now() - board_.since;
    if (threw) {
      ++board_.failed;
      std::printf("FAILED  %s: %s\n", name.c_str(), board_.why().c_str());
    } else if (!missing.empty()) {
      ++board_.missing;
      std::printf("MISSING %s: %s\n", name.c_str(), missing.c_str());
    } else if (!findings.wrong.empty()) {
      ++board_.failed;
      std::printf("FAILED  %s: largest error %.3g; first %s\n", name.c_str(), findings.largest,
                  findings.wrong.c_str());
    } else {
      ++board_.passed;
      std::printf("passed  %s: %d compared, largest error %.2g (%.1f s)\n", name.c_str(), findings.compared,
                  findings.largest, seconds);
    }
    std::fflush(stdout);
  }

  Board& board_;
  int done_, number_ = 0;
};

// Limits in seconds: of one check, of what is left of a check once a rank failed in it.
constexpr double kCheckLimit = 75, kFailingLimit = 10;
constexpr int kMostStarts = 16;

// Waits for the processes; what went wrong, or nothing. `again`: they ended after a check that failed.
inline std::string watch(std::vector<pid_t>& processes, Board& board, double deadline, bool& again) {
  again = false;
  std::string wrong;
  std::vector<bool> ended(processes.size());
  const auto left = [&] { return std::count(ended.begin(), ended.end(), false); };
  while (left() > 0) {
    for (std::size_t rank = 0; rank < processes.size(); ++rank) {
      int status = 0;
      if (ended[rank] || ::waitpid(processes[rank], &status, WNOHANG) == 0) continue;
      ended[rank] = true;
      if (WIFEXITED(status) && WEXITSTATUS(status) == kBeginAgain)
        again = true;
      else if (WIFSIGNALED(status))
        wrong = "rank " + std::to_string(rank) + " was ended by signal " + std::to_string(WTERMSIG(status));
      else if (WEXITSTATUS(status) != 0)
        wrong = "rank " + std::to_string(rank) + " ended";
      if (!wrong.empty() && board.failing == 0) board.failing = now();
    }
    const double time = now();
    if (time > deadline)
      wrong = "the time is up";
    else if (board.failing > 0 && time - board.failing > kFailingLimit)
      wrong += (wrong.empty() ? "" : "; ") + std::string("others wait for it in vain");
    else if (time - board.since > kCheckLimit)
      wrong = "no end after " + std::to_string(int(kCheckLimit)) + " s";
    else {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      continue;
    }
    for (std::size_t rank = 0; rank < processes.size(); ++rank) {
      if (ended[rank]) continue;
      ::kill(processes[rank], SIGKILL);
      ::waitpid(processes[rank], nullptr, 0);
      ended[rank] = true;
    }
  }
  return wrong;
}

// One process: never returns.
[[noreturn]] inline void be_rank(SharedRoom& room, Board& board, int rank, int done,
                                 const std::function<void(Rank&)>& work) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  int code = 0;
  try {
    SharedCommunicator world(room, rank);
    Rank me(board, world, done);
    work(me);
  } catch (const std::exception& error) {
    board.fail(rank, error.what());
    code = 1;
  }
  std::fflush(stdout);
  std::_Exit(code);
}

// Calls `work` on so many processes, which ends with Rank::leave(). `subject` is for messages.
inline Tally run_processes(int ranks, const std::string& subject, double deadline,
                           const std::function<void(Rank&)>& work) {
  Tally tally;
  int done = 0;
  for (int start = 0; start < kMostStarts; ++start) {
    SharedRoom room(ranks);
    void* const memory =
        ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    Board& board = *new (memory) Board{};
    board.begin(0, "the start of the ranks");
    std::fflush(stdout);
    std::vector<pid_t> processes;
    for (int rank = 0; rank < ranks; ++rank) {
      const pid_t process = ::fork();
      if (process == 0) be_rank(room, board, rank, done, work);
      processes.push_back(process);
    }
    bool again = false;
    const std::string wrong = watch(processes, board, deadline, again);
    tally.passed += board.passed;
    tally.failed += board.failed;
    tally.missing += board.missing;
    const int reached = board.check;
    if (!wrong.empty()) {
      ++tally.failed;
      const std::string why = board.why();
      std::printf("FAILED  %s, %s: %s%s%s\n", subject.c_str(), board.name, wrong.c_str(),
                  why.empty() ? "" : "; ", why.c_str());
      std::fflush(stdout);
    }
    ::munmap(memory, sizeof(Board));
    if ((wrong.empty() && !again) || reached <= done || now() > deadline) return tally;
    done = reached;
  }
  ++tally.failed;
  std::printf("FAILED  %s: too many failures, the rest was not run\n", subject.c_str());
  return tally;
}

}  // namespace process_ranks
