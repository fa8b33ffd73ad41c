// Training over ranks that are threads equals training on one: whatever is made aside may be made at once or
// as late as it is waited for.
#include <doctest/doctest.h>

#include "deferring_communicator.h"
#include "parallel/thread_communicator.h"
#include "parallel_training.h"

namespace {

using namespace training;

Trained train_on(const Degrees& degrees, bool defer) {
  const Plan plan = parse_plan(plan_of(degrees));
  Trained first;
  parallel::run_ranks(rank_count(plan.run.parallel), [&](Communicator& ranks) {
    std::unique_ptr<Communicator> all = ranks.split(0, ranks.rank());
    if (defer) all = std::make_unique<fixture::DeferringCommunicator>(std::move(all));
    const auto backend = make_cpu_backend("fp64", 1);
    Trained trained = train(plan, *backend, std::move(all));
    if (ranks.rank() == 0) first = std::move(trained);
  });
  return first;
}

}  // namespace

TEST_CASE("ranks train as one, however late what is made aside comes") {
  const Trained expected = train_on({1, 1, 0, false, false}, false);
  for (const auto* list : {&layouts(), &context_layouts()})
    for (const Degrees& degrees : *list)
      for (const bool defer : {false, true}) {
        CAPTURE(degrees);
        CAPTURE(defer);
        CHECK(largest_error(train_on(degrees, defer), expected) < kExact);
      }
}
