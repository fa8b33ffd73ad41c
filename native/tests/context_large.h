// Operators over context ranks at the sizes of real models, for which devices have kernels of their own.
#pragma once

#include "context_suite.h"

namespace context_checks {

// Of sequences, a rank.
inline std::int64_t& large_rows() {
  static std::int64_t rows = 4096;
  return rows;
}

inline HyenaCase large_case(const Setting& s, HyenaKind kind, int taps, int order, ContextStrategy strategy,
                            SequenceOrder sequences) {
  const std::int64_t width = 1024;
  const bool modal = kind == HyenaKind::long_implicit, medium = kind == HyenaKind::medium_regularised;
  return {{kind, 1, s.ranks.size() * large_rows(), width, modal ? width : width / 16, 3, taps, order,
           modal || medium},
          strategy,
          sequences,
          medium};
}

inline void check_large_explicit(const Setting& s, ContextStrategy strategy, SequenceOrder order) {
  check_case(s, large_case(s, HyenaKind::short_explicit, 7, 0, strategy, order), 900);
  check_case(s, large_case(s, HyenaKind::medium_regularised, 128, 0, strategy, order), 910);
}

inline void check_large_implicit(const Setting& s, ContextStrategy strategy, SequenceOrder order) {
  check_case(s, large_case(s, HyenaKind::long_implicit, 0, 16, strategy, order), 920);
}

inline void check_large_attention(const Setting& s, ContextStrategy strategy, SequenceOrder order) {
  const int kv_heads = s.ranks.size();
  for (const std::int64_t window : {std::int64_t{0}, large_rows() / 4 + 3})
    check_case(
        s,
        AttentionCase{{1, 2 * large_rows(), 2 * kv_heads, kv_heads, 128, window, 1e6, 16}, strategy, order},
        930);
  if (strategy != ContextStrategy::all_to_all) return;
  AttentionCase slices{{1, 2 * large_rows(), 2 * kv_heads, 2 * kv_heads, 128, 0, 1e6, 16}, strategy, order};
  slices.keys_at_once = 1;
  check_case(s, slices, 940);
}

inline const std::vector<ContextCheck>& large_suite() {
  using S = ContextStrategy;
  static const std::vector<ContextCheck> all = {
      {"large explicit filters",
       {S::point_to_point, S::all_to_all, S::fourier},
       check_large_explicit,
       try_explicit},
      {"large implicit filters", {S::state, S::all_to_all, S::fourier}, check_large_implicit, try_implicit},
      {"large attention", {S::ring, S::all_to_all}, check_large_attention, try_attention}};
  return all;
}

}  // namespace context_checks
