// All checks of operators over context ranks, by the strategies that each is for.
#pragma once

#include <functional>

#include "context_leaks.h"

namespace context_checks {

struct ContextCheck {
  std::string name;
  std::vector<ContextStrategy> strategies;
  std::function<void(const Setting&, ContextStrategy, SequenceOrder)> run;
  std::function<void(const Setting&, ContextStrategy)> attempt;  // the smallest case there is
};

// Two pieces of one rank, so that everything but messages is needed.
inline void try_explicit(const Setting& s, ContextStrategy strategy) {
  const HyenaCase c = fir_case(1, SequenceOrder::zigzag, 3, 4, 3, 1, false, strategy);
  over_ranks(s, c, HyenaInputs(c, 5, s.type()));
}
inline void try_implicit(const Setting& s, ContextStrategy strategy) {
  const HyenaCase c = modal_case(1, SequenceOrder::zigzag, 3, 4, 3, 1, strategy);
  over_ranks(s, c, HyenaInputs(c, 5, s.type()));
}
inline void try_attention(const Setting& s, ContextStrategy strategy) {
  const AttentionCase c = attention_case(1, SequenceOrder::zigzag, 3, 2, 4, strategy);
  over_ranks(s, c, AttentionInputs(c, 5, s.type()));
}

constexpr SequenceOrder kOrders[] = {SequenceOrder::contiguous, SequenceOrder::zigzag};

inline const std::vector<ContextCheck>& context_suite() {
  using S = ContextStrategy;
  const std::vector<S> explicit_filters = {S::point_to_point, S::all_to_all, S::fourier};
  const std::vector<S> implicit_filters = {S::state, S::all_to_all, S::fourier};
  const std::vector<S> attention = {S::ring, S::all_to_all};
  static const std::vector<ContextCheck> all = {
      {"explicit filters", explicit_filters, check_explicit_filters, try_explicit},
      {"implicit filters", implicit_filters, check_implicit_filters, try_implicit},
      {"attention", attention, check_attention, try_attention},
      {"attention in slices", {S::all_to_all}, check_sliced_attention, try_attention},
      {"bytes sent by explicit filters", {S::point_to_point, S::all_to_all}, check_traffic, try_explicit},
      {"bytes sent by implicit filters", {S::state, S::fourier}, check_traffic, try_implicit},
      {"bytes sent by attention", attention, check_attention_traffic, try_attention},
      {"leaks of explicit filters", explicit_filters, check_explicit_leaks, try_explicit},
      {"leaks of implicit filters", implicit_filters, check_implicit_leaks, try_implicit},
      {"leaks of attention", attention, check_attention_leaks, try_attention}};
  return all;
}

using SmallCheck = std::function<void(const Setting&)>;

// One of every strategy, with pieces longer and shorter than what reaches over their ends.
inline std::vector<SmallCheck> small_checks(int size, SequenceOrder order) {
  using S = ContextStrategy;
  std::vector<SmallCheck> all;
  for (const int piece : {7, 3})
    for (const S strategy : {S::point_to_point, S::all_to_all, S::fourier})
      all.push_back([=](const Setting& s) {
        check_case(s, fir_case(size, order, piece, 5, 3, 2, false, strategy), 1);
      });
  for (const S strategy : {S::state, S::all_to_all, S::fourier})
    all.push_back([=](const Setting& s) { check_case(s, modal_case(size, order, 5, 3, 3, 2, strategy), 1); });
  for (const S strategy : {S::ring, S::all_to_all})
    all.push_back(
        [=](const Setting& s) { check_case(s, attention_case(size, order, 5, 2, 0, strategy), 1); });
  all.push_back([=](const Setting& s) { check_case(s, sliced_case(size, order, 5, 1, 0, 2), 1); });
  return all;
}

// On the CPU backend in both its precisions; `ranks` are those of `world`. Throws Error "check" for the first
// thing that was wrong.
inline void check_on_cpu(const ContextCheck& check, Communicator& world, Communicator& ranks) {
  const auto reference = make_cpu_backend("fp64", 1);
  for (const char* precision : {"fp64", "fp32"}) {
    const auto backend = make_cpu_backend(precision, 1);
    for (const ContextStrategy strategy : check.strategies) {
      for (const SequenceOrder order : kOrders) {
        Findings findings;
        check.run({world, ranks, *backend, *reference, findings}, strategy, order);
        if (!findings.wrong.empty())
          throw Error("check", check.name + " over " + std::to_string(ranks.size()) + " ranks in " +
                                   precision + ", " + findings.wrong);
      }
    }
  }
}

}  // namespace context_checks
