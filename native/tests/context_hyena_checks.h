// The inner Hyena operators over context ranks against one device.
#pragma once

#include "context_fixture.h"

namespace context_checks {

struct HyenaCase {
  HyenaShape shape;
  ContextStrategy strategy;
  SequenceOrder order;
  bool decay = false;

  Sharding sharding(int ranks) const { return {ranks, order, shape.length}; }
  std::string text() const {
    return name_of(strategy) + ", " + name_of(order) + ", batch " + std::to_string(shape.batch) +
           ", length " + std::to_string(shape.length) + ", width " + std::to_string(shape.width) +
           ", groups " + std::to_string(shape.groups) + ", featurizer " +
           std::to_string(shape.featurizer_taps) + ", taps " + std::to_string(shape.taps) + ", order " +
           std::to_string(shape.order);
  }
};

// Inputs and gradients of one call on activations of `type`; `seed` tells calls apart.
struct HyenaInputs {
  HyenaInputs(const HyenaCase& c, unsigned seed, DType type) {
    const HyenaShape& s = c.shape;
    z = random_values(s.batch * s.length * 3 * s.width, seed, -1, 1, type);
    dy = random_values(s.batch * s.length * s.width, seed + 1, -1, 1, type);
    featurizer = random_values(3 * s.width * s.featurizer_taps, seed + 2);
    if (s.has_skip) skip = random_values(s.width, seed + 3);
    if (s.kind == HyenaKind::long_implicit) {
      residues = random_values(s.groups * s.order, seed + 4);
      log_poles =
          random_values(s.groups * s.order, seed + 5, -6, 0.5);  // from next to no decay to a fast one
      for (auto& pole : log_poles) pole = -static_cast<double>(static_cast<float>(std::exp(pole)));
    } else {
      filter = random_values(s.groups * s.taps, seed + 6);
      if (c.decay) decay = random_values(s.groups * s.taps, seed + 7, 0, 1);
    }
  }
  Values z, dy, featurizer, filter, decay, skip, residues, log_poles;
};

// Weights and their gradients on a backend.
struct HyenaArrays {
  HyenaArrays(Backend& backend, const HyenaInputs& in)
      : real(real_type(backend.activation_type())),
        featurizer(backend, in.featurizer, real),
        filter(backend, in.filter, real),
        decay(backend, in.decay, real),
        skip(backend, in.skip, real),
        residues(backend, in.residues, real),
        log_poles(backend, in.log_poles, real),
        d_featurizer(backend, Values(in.featurizer.size()), real),
        d_filter(backend, Values(in.filter.size()), real),
        d_skip(backend, Values(in.skip.size()), real),
        d_residues(backend, Values(in.residues.size()), real),
        d_log_poles(backend, Values(in.log_poles.size()), real) {}
  HyenaWeights weights() const {
    return {featurizer.data(), filter.data(), decay.data(), skip.data(), residues.data(), log_poles.data()};
  }
  HyenaGradients gradients() const {
    return {d_featurizer.data(), d_filter.data(), d_skip.data(), d_residues.data(), d_log_poles.data()};
  }
  Named read() const {
    return {{"d featurizer", d_featurizer.read()},
            {"d filter", d_filter.read()},
            {"d skip", d_skip.read()},
            {"d residues", d_residues.read()},
            {"d log-poles", d_log_poles.read()}};
  }
  DType real;
  Array featurizer, filter, decay, skip, residues, log_poles;
  Array d_featurizer, d_filter, d_skip, d_residues, d_log_poles;
};

inline Named on_one_device(Backend& backend, const HyenaCase& c, const HyenaInputs& in) {
  const HyenaArrays arrays(backend, in);
  const Array z(backend, in.z), dy(backend, in.dy);
  const Array y(backend, static_cast<std::int64_t>(in.dy.size())),
      dz(backend, static_cast<std::int64_t>(in.z.size()));
  const Scratch workspace(backend, backend.hyena_workspace(c.shape)),
      kept(backend, backend.hyena_kept(c.shape));
  backend.hyena(c.shape, arrays.weights(), z.data(), y.data(), kept.data(), workspace.data());
  backend.hyena_backward(c.shape, arrays.weights(), z.data(), kept.data(), dy.data(), dz.data(),
                         arrays.gradients(), workspace.data());
  Named results = arrays.read();
  results["y"] = y.read();
  results["dz"] = dz.read();
  return results;
}

// Bytes that all ranks sent together.
struct Traffic {
  std::int64_t forward = 0, backward = 0;
};

inline std::int64_t total(Communicator& ranks, std::int64_t value) {
  double sum = static_cast<double>(value);
  ranks.all_reduce(&sum, 1, DType::f64);
  return static_cast<std::int64_t>(sum);
}

// Those that are made over ranks.
enum class Passes { forward, both };

// Every rank returns the whole.
inline Named over_ranks(const Setting& setting, const HyenaCase& c, const HyenaInputs& in,
                        Traffic* traffic = nullptr, Passes passes = Passes::both) {
  Communicator& world = setting.world;
  Backend& backend = setting.backend;
  CountingCommunicator ranks(setting.ranks);
  const HyenaShape& s = c.shape;
  const Sharding sharding = c.sharding(ranks.size());
  const auto context = make_context_hyena(c.strategy, s, sharding, backend);
  const HyenaArrays arrays(backend, in);
  const Array z(backend, shard(in.z, sharding, s.batch, 3 * s.width, ranks.rank()));
  const Array dy(backend, shard(in.dy, sharding, s.batch, s.width, ranks.rank()));
  const Array y(backend, s.batch * sharding.local_length() * s.width);
  const Array dz(backend, s.batch * sharding.local_length() * 3 * s.width);
  const Scratch kept(backend, context->kept_bytes());
  {
    const Scratch workspace(backend, context->workspace_bytes());
    context->forward(ranks, arrays.weights(), z.data(), y.data(), {kept.data(), workspace.data()});
    ranks.barrier();  // what was left aside comes now, too late
  }
  const auto whole_y = [&] { return gather(world, y.read(), sharding, s.batch, s.width); };
  if (passes == Passes::forward) return {{"y", whole_y()}};
  const std::int64_t forward = ranks.sent();
  ranks.reset();
  const Scratch workspace(backend, context->workspace_bytes());
  context->backward(ranks, arrays.weights(), z.data(), dy.data(), dz.data(), arrays.gradients(),
                    {kept.data(), workspace.data()});
  ranks.barrier();
  if (traffic != nullptr) *traffic = {total(world, forward), total(world, ranks.sent())};
  Named results = arrays.read();
  for (auto& [name, values] : results)
    world.all_reduce(values.data(), static_cast<std::int64_t>(values.size()), DType::f64);
  results["y"] = whole_y();
  results["dz"] = gather(world, dz.read(), sharding, s.batch, 3 * s.width);
  return results;
}

inline void check_case(const Setting& setting, const HyenaCase& c, unsigned seed) {
  const HyenaInputs in(c, seed, setting.type());
  const Named results = over_ranks(setting, c, in);
  if (setting.compares()) require_equal(setting, results, on_one_device(setting.reference, c, in), c.text());
}

inline HyenaCase fir_case(int ranks, SequenceOrder order, std::int64_t piece, int taps, int featurizer,
                          int batch, bool decay, ContextStrategy strategy) {
  const std::int64_t pieces = (order == SequenceOrder::zigzag ? 2 : 1) * ranks, groups = 2 * ranks;
  const auto kind = decay ? HyenaKind::medium_regularised : HyenaKind::short_explicit;
  return {
      {kind, batch, pieces * piece, groups * 3, groups, featurizer, taps, 0, decay}, strategy, order, decay};
}

inline HyenaCase modal_case(int ranks, SequenceOrder order, std::int64_t piece, int modes, int featurizer,
                            int batch, ContextStrategy strategy) {
  const std::int64_t pieces = (order == SequenceOrder::zigzag ? 2 : 1) * ranks, groups = 4 * ranks;
  return {
      {HyenaKind::long_implicit, batch, pieces * piece, groups, groups, featurizer, 0, modes, batch % 2 == 1},
      strategy,
      order};
}

// Filters from one tap to several pieces long, pieces down to one row, and featurizers longer than a piece.
inline void check_explicit_filters(const Setting& s, ContextStrategy strategy, SequenceOrder order) {
  unsigned seed = 100 + 40 * static_cast<unsigned>(strategy);
  for (const int piece : {1, 3, 17, 130}) {
    for (const int taps : {1, 2, 7, 35, 128, 300}) {
      if (taps == 300 && piece > 17) continue;
      const int featurizer = seed % 7 == 0 ? 5 : seed % 5 == 0 ? 1 : 3;
      check_case(s,
                 fir_case(s.ranks.size(), order, piece, taps, featurizer, 1 + static_cast<int>(seed % 2),
                          seed % 3 == 0, strategy),
                 seed);
      ++seed;
    }
  }
}

inline void check_implicit_filters(const Setting& s, ContextStrategy strategy, SequenceOrder order) {
  unsigned seed = 300 + 40 * static_cast<unsigned>(strategy);
  for (const int piece : {1, 2, 7, 64, 131}) {
    for (const int modes : {1, 5, 16}) {
      check_case(s,
                 modal_case(s.ranks.size(), order, piece, modes, seed % 4 == 0 ? 4 : 3,
                            1 + static_cast<int>(seed % 2), strategy),
                 seed);
      ++seed;
    }
  }
}

// Bytes of `count` activations, and of "real" values.
inline std::int64_t bytes_of(const Setting& s, std::int64_t activations, std::int64_t reals = 0) {
  return activations * static_cast<std::int64_t>(size_of(s.type())) +
         reals * static_cast<std::int64_t>(size_of(real_type(s.type())));
}

inline void expect_traffic(const Setting& s, const Traffic& traffic, const Traffic& expected,
                           const std::string& what) {
  const auto expect = [&](const char* pass, std::int64_t sent, std::int64_t right) {
    s.findings.note(sent == right, what + ": " + std::to_string(sent) + " bytes sent " + pass + ", not " +
                                       std::to_string(right));
  };
  expect("forward", traffic.forward, expected.forward);
  expect("backward", traffic.backward, expected.backward);
}

// A boundary between ranks costs (taps - 1)·width values, or order·width, and the featurizer's rows.
inline void check_traffic(const Setting& s, ContextStrategy strategy, SequenceOrder order) {
  const int size = s.ranks.size();
  const bool modal = strategy == ContextStrategy::state || strategy == ContextStrategy::fourier;
  const std::int64_t batch = 2;
  const HyenaCase c = modal ? modal_case(size, order, 40, 16, 3, batch, strategy)
                            : fir_case(size, order, 40, 31, 3, batch, true, strategy);
  const std::int64_t width = c.shape.width;
  // Of a zig-zag order's boundaries, the middle one lies within the last rank.
  const std::int64_t edges = batch * (order == SequenceOrder::zigzag ? 2 * (size - 1) : size - 1);
  const std::int64_t rows = edges * 2 * 3 * width;
  Traffic expected;
  if (strategy == ContextStrategy::point_to_point) {
    expected.forward = expected.backward = bytes_of(s, rows + edges * 30 * width);
  } else if (strategy == ContextStrategy::state) {
    expected.forward = expected.backward = bytes_of(s, rows, edges * 16 * width);
  } else {
    // u there and c back; u and g there and du back. Transformed, every rank's arrays go to every other.
    const std::int64_t whole = batch * c.shape.length * (size - 1) * width;
    const std::int64_t moved = strategy == ContextStrategy::fourier ? whole : whole / size;
    expected = {bytes_of(s, 2 * moved + rows), bytes_of(s, 3 * moved + rows)};
  }
  Traffic traffic;
  over_ranks(s, c, HyenaInputs(c, 7, s.type()), &traffic);
  expect_traffic(s, traffic, expected, c.text());
}

}  // namespace context_checks
