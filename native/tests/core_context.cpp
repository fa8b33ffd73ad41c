#include <doctest/doctest.h>

#include "context_suite.h"
#include "deferring_communicator.h"
#include "parallel/thread_communicator.h"

using namespace context_checks;
using fixture::DeferringCommunicator;

namespace {

// What a check comes to when all that is made aside comes as late as it may, and one call later than that.
struct Late {
  std::vector<std::uint64_t> calls;  // those made aside
  std::string wrong;                 // the first thing that was
};

Late check_late(int size, const SmallCheck& check, std::uint64_t forgotten) {
  Late late;
  run_ranks(size, [&](Communicator& world) {
    const auto backend = make_cpu_backend("fp64", 1);
    DeferringCommunicator ranks(world.split(0, world.rank()), forgotten);
    Findings findings;
    check({world, ranks, *backend, *backend, findings});
    if (world.rank() == 0) late = {ranks.made_aside(), findings.wrong};
  });
  return late;
}

}  // namespace

TEST_CASE("context: operators over ranks are those of one device, and send what the formulas say") {
  for (const ContextCheck& check : context_suite()) {
    CAPTURE(check.name);
    for (const int size : {1, 2, 3, 4, 8})
      CHECK_NOTHROW(run_ranks(size, [&](Communicator& ranks) { check_on_cpu(check, ranks, ranks); }));
  }
}

TEST_CASE("context: the same, when all that is made aside comes as late as it may") {
  for (const ContextCheck& check : context_suite()) {
    CAPTURE(check.name);
    for (const int size : {2, 3, 4})
      CHECK_NOTHROW(run_ranks(size, [&](Communicator& ranks) {
        DeferringCommunicator late(ranks.split(0, ranks.rank()));
        check_on_cpu(check, ranks, late);
      }));
  }
}

TEST_CASE("context: what comes later than it may is found") {
  int found = 0;
  for (const int size : {2, 3, 4}) {
    for (const SequenceOrder order : kOrders) {
      for (const SmallCheck& check : small_checks(size, order)) {
        const Late right = check_late(size, check, DeferringCommunicator::kNone);
        CHECK(right.wrong.empty());
        for (const std::uint64_t call : right.calls) {
          const bool is_found = !check_late(size, check, call).wrong.empty();
          CHECK_MESSAGE(is_found, "call ", call, " of ", size, " ranks");
          ++found;
        }
      }
    }
  }
  CHECK(found > 500);
}

TEST_CASE("context: the test for leaks passes right overlaps and finds wrong ones") {
  const auto backend = make_cpu_backend("fp32", 1);
  const HyenaCase c =
      fir_case(2, SequenceOrder::contiguous, 8, 5, 3, 1, false, ContextStrategy::point_to_point);
  HyenaInputs in(c, 17, DType::f32);
  const auto hyena = [&](std::int64_t late) {
    return leaks(c.shape.length, in.z, [&](const Values& z) {
      in.z = z;
      return in_two_pieces(*backend, c, in, late);
    });
  };
  CHECK(hyena(0).empty());
  CHECK(!hyena(2).empty());
  const AttentionCase a = attention_case(2, SequenceOrder::contiguous, 8, 1, 0, ContextStrategy::ring);
  const auto attention = [&](std::int64_t late) {
    return leaks(a.shape.length, AttentionInputs(a, 19, DType::f32).qkv,
                 [&](const Values& qkv) { return in_two_parts(*backend, a, qkv, late); });
  };
  CHECK(attention(0).empty());
  CHECK(!attention(1).empty());
}

TEST_CASE("context: what a strategy cannot do is refused") {
  const auto backend = make_cpu_backend("fp64", 1);
  const auto refused = [](const auto& make) {
    try {
      make();
    } catch (const Error& error) {
      return error.code() == std::string("context-strategy");
    }
    return false;
  };
  const Sharding sharding{3, SequenceOrder::contiguous, 30};
  const HyenaShape fir{HyenaKind::short_explicit, 1, 30, 8, 4, 3, 7, 0, false};
  const HyenaShape modal{HyenaKind::long_implicit, 1, 30, 8, 8, 3, 0, 4, false};
  for (const HyenaShape& shape : {fir, modal}) {
    const bool is_fir = shape.kind != HyenaKind::long_implicit;
    const auto wrong = is_fir ? ContextStrategy::state : ContextStrategy::point_to_point;
    for (const auto strategy : {wrong, ContextStrategy::ring, ContextStrategy::all_to_all})
      CHECK(refused([&] { make_context_hyena(strategy, shape, sharding, *backend); }));
  }
  const AttentionShape attention{1, 30, 4, 2, 4, 0, 1e4, 1};
  for (const auto strategy : {ContextStrategy::all_to_all, ContextStrategy::state,
                              ContextStrategy::point_to_point, ContextStrategy::fourier})
    CHECK(refused([&] { make_context_attention(strategy, attention, sharding, *backend); }));
}
