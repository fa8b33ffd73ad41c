#include "parallel/launch.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "striped/error.h"

namespace striped::parallel {
namespace {

int number(const char* variable) {
  const char* const text = std::getenv(variable);
  return text != nullptr ? std::atoi(text) : 0;
}

std::string host_name() {
  char name[256] = "";
  ::gethostname(name, sizeof name - 1);
  return name;
}

// A failure as one line of text and back.
constexpr char kSeparator = '\x1f';

}  // namespace

bool launched() {
  // OpenMPI, PMI (MPICH, srun --mpi=pmi2), and PMIx, whose rank is set without a size.
  return number("OMPI_COMM_WORLD_SIZE") > 1 || number("PMI_SIZE") > 1 || number("SLURM_STEP_NUM_TASKS") > 1 ||
         (std::getenv("PMIX_RANK") != nullptr && std::getenv("OMPI_COMM_WORLD_SIZE") == nullptr);
}

Launch::Launch() {
  if (!launched()) return;
  try {
    world_ = MpiCommunicator::world();
  } catch (const Error& error) {
    // Without MPI, only the launcher's word tells who speaks.
    if (number("OMPI_COMM_WORLD_RANK") <= 0 && number("PMIX_RANK") <= 0 && number("PMI_RANK") <= 0) throw;
    std::this_thread::sleep_for(kTimeToTell);
    throw AlreadyTold(error.code(), error.what());
  }
  hosts_ = gather(host_name());
  processes_ = gather(std::to_string(::getpid()));
}

Launch::~Launch() {
  if (!world_ || abandoned_) return;
  world_.reset();
  mpi().finish();
}

std::string Launch::name(int rank) const {
  const auto index = static_cast<std::size_t>(rank);
  const std::string number = "rank " + std::to_string(rank);
  return index < hosts_.size() ? number + " on " + hosts_[index] + " (process " + processes_[index] + ")"
                               : number;
}

std::string Launch::host() const { return host_name(); }

int Launch::local_rank() const {
  if (!world_) return 0;
  const auto own = hosts_.begin() + rank();
  return static_cast<int>(std::count(hosts_.begin(), own, *own));
}

bool Launch::one_machine() const {
  return std::all_of(hosts_.begin(), hosts_.end(),
                     [&](const std::string& host) { return host == hosts_[0]; });
}

std::vector<std::string> Launch::gather(const std::string& own) const {
  if (!world_) return {own};
  const auto ranks = static_cast<std::size_t>(size());
  std::vector<double> lengths(ranks);
  const auto length = static_cast<double>(own.size());
  world_->all_gather(&length, lengths.data(), 1, DType::f64);
  const auto longest = static_cast<std::size_t>(*std::max_element(lengths.begin(), lengths.end())) + 1;
  std::string padded = own;
  padded.resize(longest + longest % 2);
  std::string all(padded.size() * ranks, '\0');
  // Pairs of bytes travel as halves, which are only moved.
  world_->all_gather(padded.data(), all.data(), static_cast<std::int64_t>(padded.size() / 2), DType::bf16);
  std::vector<std::string> result;
  for (std::size_t rank = 0; rank < ranks; ++rank)
    result.push_back(all.substr(rank * padded.size(), static_cast<std::size_t>(lengths[rank])));
  return result;
}

double Launch::sum(double own) const {
  if (world_) world_->all_reduce(&own, 1, DType::f64);
  return own;
}

void Launch::together(const std::function<void()>& work) const {
  if (!world_) return work();
  std::string failure;
  try {
    work();
  } catch (const Error& error) {
    failure = error.code() + kSeparator + error.what();
  } catch (const std::exception& error) {
    failure = std::string("internal") + kSeparator + error.what();
  }
  const std::vector<std::string> failures = gather(failure);
  const auto failed =
      std::find_if(failures.begin(), failures.end(), [](const auto& text) { return !text.empty(); });
  if (failed == failures.end()) return;
  const std::size_t split = failed->find(kSeparator);
  const std::string code = failed->substr(0, split), message = failed->substr(split + 1);
  const bool all_alike = std::count(failures.begin(), failures.end(), *failed) == size();
  const auto where = static_cast<int>(failed - failures.begin());
  const std::string told = all_alike ? message : name(where) + ": " + message;
  fail_alike(Error(code, told));
}

void Launch::fail_alike(const Error& error) const {
  if (first()) throw error;
  throw AlreadyTold(error.code(), error.what());
}

void Launch::under_watch(const Lifeline::Lost& lost, const std::function<void(Lifeline*)>& work) {
  if (!world_) return work(nullptr);
  Lifeline line(*this, lost);
  try {
    work(&line);
  } catch (const AlreadyTold&) {
    abandoned_ = true;
    line.follow_first();
    throw;
  } catch (const Error& error) {
    give_up(line, error);
  } catch (const std::exception& error) {
    give_up(line, Error("internal", error.what()));
  }
}

void Launch::give_up(Lifeline& line, const Error& error) {
  abandoned_ = true;
  line.give_up(error.code(), error.what());
  fail_alike(error);
}

}  // namespace striped::parallel
