// The processes of a run: the ranks that mpirun or srun started, or this one alone.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "parallel/lifeline.h"
#include "parallel/mpi_communicator.h"
#include "striped/error.h"

namespace striped::parallel {

class Launch {
 public:
  // Joins the other processes where a launcher started this one. Errors: "no-mpi", "mpi".
  Launch();
  ~Launch();
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;

  int rank() const { return world_ ? world_->rank() : 0; }
  int size() const { return world_ ? world_->size() : 1; }
  bool first() const { return rank() == 0; }
  // "rank 3 on node7 (process 4711)".
  std::string name(int rank) const;
  std::string host() const;
  // This process among those of its machine.
  int local_rank() const;
  bool one_machine() const;
  // Over this machine's memory; null where there is one process.
  MpiCommunicator* world() const { return world_.get(); }

  // What every rank says, by rank.
  std::vector<std::string> gather(const std::string& own) const;
  double sum(double own) const;
  bool any(bool own) const { return sum(own ? 1 : 0) > 0; }

  // Does `work` on every rank and waits for all. Where it failed on one of them, every rank throws what the
  // lowest of those threw: rank 0 as an Error, the others as an AlreadyTold.
  void together(const std::function<void()>& work) const;
  // Throws what every rank meets alike: the first tells.
  [[noreturn]] void fail_alike(const Error& error) const;
  // Does `work` under a lifeline, which is null where there is one process. An error ends all ranks.
  void under_watch(const Lifeline::Lost& lost, const std::function<void(Lifeline*)>& work);

 private:
  [[noreturn]] void give_up(Lifeline& line, const Error& error);

  std::unique_ptr<MpiCommunicator> world_;
  std::vector<std::string> hosts_, processes_;  // by rank
  bool abandoned_ = false;                      // others may still wait for this rank: MPI must not be ended
};

// Whether the environment is that of one of several processes of a launcher.
bool launched();

}  // namespace striped::parallel
