// Started by mpirun: every check of communicator_checks.h over MPI; with the argument "context", operators
// over context ranks.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "communicator_checks.h"
#include "context_leaks.h"
#include "parallel/mpi_communicator.h"

namespace {

void check_context(striped::Communicator& ranks) {
  using namespace context_checks;
  for (const auto order : {SequenceOrder::contiguous, SequenceOrder::zigzag}) {
    check_explicit_filters(ranks, order);
    check_implicit_filters(ranks, order);
    check_attention(ranks, order);
    check_traffic(ranks, order);
    check_attention_traffic(ranks, order);
    check_leaks(ranks, order);
  }
}

}  // namespace

int main(int argc, char** argv) {
#ifdef STRIPED_MPI_MODULE
  setenv("STRIPED_MPI", STRIPED_MPI_MODULE, 0);  // it lies beside the engine, not beside the tests
#endif
  try {
    const auto world = striped::parallel::MpiCommunicator::world();
    if (argc > 1 && std::strcmp(argv[1], "context") == 0) {
      check_context(*world);
    } else {
      communicator_checks::check(*world);
      communicator_checks::check_split(*world);
    }
    world->barrier();
    std::printf("rank %d of %d: passed\n", world->rank(), world->size());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "failed: %s\n", error.what());
    return 1;
  }
  striped::parallel::mpi().finish();
  return 0;
}
