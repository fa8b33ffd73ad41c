// Started by mpirun: every check of communicator_checks.h over MPI.
#include <cstdio>
#include <cstdlib>

#include "communicator_checks.h"
#include "parallel/mpi_communicator.h"

int main() {
#ifdef STRIPED_MPI_MODULE
  setenv("STRIPED_MPI", STRIPED_MPI_MODULE, 0);  // it lies beside the engine, not beside the tests
#endif
  try {
    const auto world = striped::parallel::MpiCommunicator::world();
    communicator_checks::check(*world);
    communicator_checks::check_split(*world);
    world->barrier();
    std::printf("rank %d of %d: passed\n", world->rank(), world->size());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "failed: %s\n", error.what());
    return 1;
  }
  striped::parallel::mpi().finish();
  return 0;
}
