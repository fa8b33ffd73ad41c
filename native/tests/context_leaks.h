// Whether an output changes with a token that lies after it.
#pragma once

#include "context_attention_checks.h"

namespace context_checks {

// Positions whose output changed by more than `rounding` when only a later token did, over all tokens; `run`
// makes y[length, ...] of the inputs [length, ...]. A token that changes nothing at its own place counts too:
// then nothing was tested.
template <class Run>
std::vector<std::int64_t> leaks(std::int64_t length, Values inputs, const Run& run, double rounding = 0) {
  std::vector<std::int64_t> found;
  const std::int64_t width = static_cast<std::int64_t>(inputs.size()) / length;
  const Values before = run(inputs);
  const std::int64_t out = static_cast<std::int64_t>(before.size()) / length;
  for (std::int64_t token = 0; token < length; ++token) {
    Values changed = inputs;
    for (std::int64_t i = 0; i < width; ++i) changed[static_cast<std::size_t>(token * width + i)] += 1;
    const Values after = run(changed);
    for (std::int64_t t = 0; t <= token; ++t) {
      const bool same =
          std::equal(before.begin() + t * out, before.begin() + (t + 1) * out, after.begin() + t * out,
                     [&](double a, double b) { return std::abs(a - b) <= rounding; });
      if (same != (t < token)) found.push_back(t);
    }
  }
  return found;
}

// What a transform, which takes every token everywhere, leaves where tokens cancel.
inline double leak_rounding(const Setting& s, ContextStrategy strategy) {
  if (strategy != ContextStrategy::fourier) return 0;
  return s.type() == DType::f64 ? 1e-12 : s.type() == DType::f32 ? 1e-5 : 5e-2;
}

inline void check_leaks(const Setting& s, const HyenaCase& c) {
  HyenaInputs in(c, 11, s.type());
  const auto found = leaks(
      c.shape.length, in.z,
      [&](const Values& z) {
        in.z = z;
        return over_ranks(s, c, in, nullptr, Passes::forward).at("y");
      },
      leak_rounding(s, c.strategy));
  s.findings.note(found.empty(), c.text() + ": a leak");
}

inline void check_explicit_leaks(const Setting& s, ContextStrategy strategy, SequenceOrder order) {
  const int size = s.ranks.size();
  if (strategy != ContextStrategy::fourier)
    check_leaks(s, fir_case(size, order, 5, 4, 3, 1, false, strategy));
  check_leaks(s, fir_case(size, order, 3, 9, 3, 1, true, strategy));
}

inline void check_implicit_leaks(const Setting& s, ContextStrategy strategy, SequenceOrder order) {
  check_leaks(s, modal_case(s.ranks.size(), order, 4, 3, 3, 1, strategy));
}

inline void check_attention_leaks(const Setting& s, ContextStrategy strategy, SequenceOrder order) {
  for (const int window : {0, 6}) {
    const AttentionCase c = attention_case(s.ranks.size(), order, 4, 1, window, strategy);
    AttentionInputs in(c, 13, s.type());
    const auto found = leaks(c.shape.length, in.qkv, [&](const Values& qkv) {
      in.qkv = qkv;
      return over_ranks(s, c, in, nullptr, Passes::forward).at("y");
    });
    s.findings.note(found.empty(), c.text() + ": a leak");
  }
}

// y of a sequence in two pieces on one device, the second with an overlap that lies `late` rows too late.
inline Values in_two_pieces(Backend& backend, const HyenaCase& c, const HyenaInputs& in, std::int64_t late) {
  ShardOperators& operators = *backend.shards();
  HyenaShape piece = c.shape;
  piece.length /= 2;
  const HyenaArrays arrays(backend, in);
  const std::int64_t width = piece.width, half = piece.length, taps = piece.taps - 1;
  const auto rows = [](const Values& all, std::int64_t first, std::int64_t count, std::int64_t of) {
    return Values(all.begin() + first * of, all.begin() + (first + count) * of);
  };
  const Array z(backend, in.z), u(backend, 2 * half * width);
  operators.hyena_gate(c.shape, arrays.weights(), nullptr, z.data(), {0, 2 * half}, u.data());
  const Array projections(backend, rows(in.z, half - 2 + late, 2, 3 * width));
  const Array before(backend, rows(u.read(), half - taps + late, taps, width));
  const Scratch kept(backend, operators.hyena_piece_kept(piece)),
      workspace(backend, operators.hyena_piece_workspace(piece));
  Values y;
  for (int i = 0; i < 2; ++i) {
    const Array own(backend, rows(in.z, i * half, half, 3 * width)), out(backend, half * width);
    const HyenaSurroundings around{i == 0 ? nullptr : projections.data(), i == 0 ? nullptr : before.data(),
                                   nullptr};
    operators.hyena_piece(
        piece, arrays.weights(), around, [] {}, own.data(), out.data(), kept.data(), workspace.data());
    const Values part = out.read();
    y.insert(y.end(), part.begin(), part.end());
  }
  return y;
}

// The same of attention: the second piece takes itself for `late` positions later than it is.
inline Values in_two_parts(Backend& backend, const AttentionCase& c, const Values& qkv, std::int64_t late) {
  ShardOperators& operators = *backend.shards();
  const AttentionShape& s = c.shape;
  const std::int64_t half = s.length / 2;
  const Array rows(backend, qkv), q(backend, s.length * c.output()),
      kv(backend, s.length * 2 * s.kv_heads * s.head_dim);
  const auto at = [&](const Array& array, std::int64_t piece, std::int64_t width) {
    return static_cast<std::byte*>(array.data()) + static_cast<std::size_t>(piece * half * width) * 4;
  };
  const std::int64_t keys = 2 * s.kv_heads * s.head_dim;
  for (std::int64_t i = 0; i < 2; ++i)
    operators.attention_split(s, half, i * half, at(rows, i, c.row()), at(q, i, c.output()), at(kv, i, keys));
  const Array y(backend, s.length * c.output()), statistics(backend, s.length * s.heads);
  for (std::int64_t query = 0; query < 2; ++query) {
    for (std::int64_t key = query; key >= 0; --key) {
      const AttentionPart part{half,       half, (query - key) * half + query * late, s.heads, s.kv_heads,
                               s.head_dim, 0};
      const Scratch workspace(backend, operators.attention_part_workspace(part));
      operators.attention_part(part, at(q, query, c.output()), at(kv, key, keys), key == query,
                               at(y, query, c.output()), at(statistics, query, s.heads), workspace.data());
    }
  }
  return y.read();
}

}  // namespace context_checks
