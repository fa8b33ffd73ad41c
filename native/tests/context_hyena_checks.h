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

// Inputs and gradients of one call; `seed` tells calls apart.
struct HyenaInputs {
  HyenaInputs(const HyenaCase& c, unsigned seed) {
    const HyenaShape& s = c.shape;
    z = random_values(s.batch * s.length * 3 * s.width, seed);
    dy = random_values(s.batch * s.length * s.width, seed + 1);
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
      : featurizer(backend, in.featurizer),
        filter(backend, in.filter),
        decay(backend, in.decay),
        skip(backend, in.skip),
        residues(backend, in.residues),
        log_poles(backend, in.log_poles),
        d_featurizer(backend, Values(in.featurizer.size())),
        d_filter(backend, Values(in.filter.size())),
        d_skip(backend, Values(in.skip.size())),
        d_residues(backend, Values(in.residues.size())),
        d_log_poles(backend, Values(in.log_poles.size())) {}
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

// Every rank returns the whole.
inline Named over_ranks(Communicator& world, Backend& backend, const HyenaCase& c, const HyenaInputs& in,
                        Traffic* traffic = nullptr) {
  CountingCommunicator ranks(world);
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
  }
  const std::int64_t forward = ranks.sent();
  ranks.reset();
  const Scratch workspace(backend, context->workspace_bytes());
  context->backward(ranks, arrays.weights(), z.data(), dy.data(), dz.data(), arrays.gradients(),
                    {kept.data(), workspace.data()});
  if (traffic != nullptr) *traffic = {total(world, forward), total(world, ranks.sent())};
  Named results = arrays.read();
  for (auto& [name, values] : results)
    world.all_reduce(values.data(), static_cast<std::int64_t>(values.size()), DType::f64);
  results["y"] = gather(world, y.read(), sharding, s.batch, s.width);
  results["dz"] = gather(world, dz.read(), sharding, s.batch, 3 * s.width);
  return results;
}

inline void check_case(Communicator& ranks, const HyenaCase& c, unsigned seed) {
  for (const char* precision : {"fp64", "fp32"}) {
    const auto backend = make_cpu_backend(precision, 1);
    const HyenaInputs in(c, seed);
    require_equal(ranks, *backend, over_ranks(ranks, *backend, c, in), on_one_device(*backend, c, in),
                  std::string(precision) + ", " + c.text());
  }
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
inline void check_explicit_filters(Communicator& ranks, SequenceOrder order) {
  unsigned seed = 100;
  for (const auto strategy :
       {ContextStrategy::point_to_point, ContextStrategy::fourier, ContextStrategy::all_to_all}) {
    for (const int piece : {1, 3, 17, 130}) {
      for (const int taps : {1, 2, 7, 35, 128, 300}) {
        if (taps == 300 && piece > 17) continue;
        const int featurizer = seed % 7 == 0 ? 5 : seed % 5 == 0 ? 1 : 3;
        check_case(ranks,
                   fir_case(ranks.size(), order, piece, taps, featurizer, 1 + static_cast<int>(seed % 2),
                            seed % 3 == 0, strategy),
                   seed);
        ++seed;
      }
    }
  }
}

inline void check_implicit_filters(Communicator& ranks, SequenceOrder order) {
  unsigned seed = 300;
  for (const auto strategy :
       {ContextStrategy::state, ContextStrategy::fourier, ContextStrategy::all_to_all}) {
    for (const int piece : {1, 2, 7, 64, 131}) {
      for (const int modes : {1, 5, 16}) {
        check_case(ranks,
                   modal_case(ranks.size(), order, piece, modes, seed % 4 == 0 ? 4 : 3,
                              1 + static_cast<int>(seed % 2), strategy),
                   seed);
        ++seed;
      }
    }
  }
}

// A boundary between ranks costs (taps - 1)·width values, or order·width, and the featurizer's rows.
inline void check_traffic(Communicator& ranks, SequenceOrder order) {
  const auto backend = make_cpu_backend("fp32", 1);
  const int size = ranks.size();
  // Of a zig-zag order's boundaries, the middle one lies within the last rank.
  const std::int64_t boundaries = order == SequenceOrder::zigzag ? 2 * (size - 1) : size - 1, batch = 2;
  const auto expect = [&](const HyenaCase& c, std::int64_t forward, std::int64_t backward) {
    Traffic traffic;
    over_ranks(ranks, *backend, c, HyenaInputs(c, 7), &traffic);
    require(traffic.forward == 4 * forward, ranks,
            c.text() + ": " + std::to_string(traffic.forward) + " bytes sent forward, not " +
                std::to_string(4 * forward));
    require(traffic.backward == 4 * backward, ranks,
            c.text() + ": " + std::to_string(traffic.backward) + " bytes sent backward, not " +
                std::to_string(4 * backward));
  };
  const auto fir = fir_case(size, order, 40, 31, 3, batch, true, ContextStrategy::point_to_point);
  const std::int64_t featurizer = 2 * 3 * fir.shape.width;
  const std::int64_t filter = boundaries * batch * (30 * fir.shape.width + featurizer);
  expect(fir, filter, filter);
  const auto modal = modal_case(size, order, 40, 16, 3, batch, ContextStrategy::state);
  const std::int64_t state = boundaries * batch * (16 * modal.shape.width + 2 * 3 * modal.shape.width);
  expect(modal, state, state);
  // u there and c back; u and g there and du back.
  const auto sliced = fir_case(size, order, 40, 31, 3, batch, true, ContextStrategy::all_to_all);
  const std::int64_t moved = batch * sliced.shape.length / size * (size - 1) * sliced.shape.width;
  const std::int64_t rows = boundaries * batch * featurizer;
  expect(sliced, 2 * moved + rows, 3 * moved + rows);
  // The same arrays, but from every rank to every other: size times as much.
  const auto transformed = modal_case(size, order, 40, 16, 3, batch, ContextStrategy::fourier);
  const std::int64_t width = transformed.shape.width;
  const std::int64_t passed = batch * transformed.shape.length * (size - 1) * width;
  const std::int64_t edges = boundaries * batch * 2 * 3 * width;
  expect(transformed, 2 * passed + edges, 3 * passed + edges);
}

}  // namespace context_checks
