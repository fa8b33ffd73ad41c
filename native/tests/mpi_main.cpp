// Started by mpirun: every check of communicator_checks.h over MPI; with the argument "context", operators
// over context ranks.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "communicator_checks.h"
#include "context_suite.h"
#include "parallel/mpi_communicator.h"

int main(int argc, char** argv) {
#ifdef STRIPED_MPI_MODULE
  setenv("STRIPED_MPI", STRIPED_MPI_MODULE, 0);  // it lies beside the engine, not beside the tests
#endif
  try {
    const auto world = striped::parallel::MpiCommunicator::world();
    if (argc > 1 && std::strcmp(argv[1], "context") == 0) {
      for (const auto& check : context_checks::context_suite())
        context_checks::check_on_cpu(check, *world, *world);
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
