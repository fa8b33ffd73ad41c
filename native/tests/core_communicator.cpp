#include <doctest/doctest.h>

#include <atomic>

#include "communicator_checks.h"
#include "parallel/thread_communicator.h"

using namespace striped;

TEST_CASE("communicator: threads as ranks") {
  for (const int size : {1, 2, 3, 5}) {
    CAPTURE(size);
    CHECK_NOTHROW(parallel::run_ranks(size, [](Communicator& ranks) {
      communicator_checks::check(ranks);
      communicator_checks::check_split(ranks);
    }));
  }
}

TEST_CASE("communicator: the only rank") {
  const auto backend = make_cpu_backend("fp32", 1);
  SingleRank only(*backend);
  CHECK_NOTHROW(communicator_checks::check(only));
  CHECK_NOTHROW(communicator_checks::check_split(only));
}

TEST_CASE("communicator: a thread that fails ends the waiting of the others") {
  std::atomic<int> waited{0};
  try {
    parallel::run_ranks(3, [&](Communicator& ranks) {
      const auto pair = ranks.split(ranks.rank() / 2, 0);
      if (ranks.rank() == 1) throw Error("mine", "rank 1 cannot go on");
      float value = 1;
      try {
        (ranks.rank() == 0 ? *pair : ranks).all_reduce(&value, 1, DType::f32);
      } catch (const Error& error) {
        if (error.code() == "rank-lost") ++waited;
        throw;
      }
    });
    FAIL("the failure was lost");
  } catch (const Error& error) {
    CHECK(error.code() == "mine");
  }
  CHECK(waited == 2);
}
