// forward(): the numerics probe.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>

#include "core/backend_choice.h"
#include "core/model.h"
#include "core/safetensors.h"
#include "striped/engine.h"
#include "striped/error.h"

namespace striped {
namespace {

struct Windows {
  std::vector<std::int32_t> tokens, targets;
  std::vector<float> weights;
};

// Little-endian uint16 [batch, length + 1]; the last column holds only targets.
Windows read_windows(const std::filesystem::path& file, std::int64_t batch, std::int64_t length,
                     std::int64_t vocab) {
  const std::string bytes = read_text(file);
  const auto expected = static_cast<std::size_t>(batch * (length + 1)) * 2;
  if (bytes.size() != expected)
    throw Error("tokens-size", file.string() + " has " + std::to_string(bytes.size()) +
                                   " bytes; the plan wants " + std::to_string(expected) +
                                   ": uint16 [micro-batch " + std::to_string(batch) +
                                   ", sequence + 1 = " + std::to_string(length + 1) + "]");
  Windows windows;
  for (std::int64_t row = 0; row < batch; ++row)
    for (std::int64_t column = 0; column <= length; ++column) {
      const auto place = static_cast<std::size_t>(row * (length + 1) + column) * 2;
      const int token =
          static_cast<unsigned char>(bytes[place]) | static_cast<unsigned char>(bytes[place + 1]) << 8;
      if (token >= vocab)
        throw Error("tokens-range", file.string() + ": token " + std::to_string(token) + " in row " +
                                        std::to_string(row) + ", column " + std::to_string(column) +
                                        " is not below the vocabulary of " + std::to_string(vocab));
      if (column < length) windows.tokens.push_back(token);
      if (column > 0) windows.targets.push_back(token);
    }
  windows.weights.assign(windows.tokens.size(), 1.0f);
  return windows;
}

std::vector<float> to_single(Backend& backend, const void* values, std::size_t count) {
  std::vector<float> single(count);
  if (backend.activation_type() == DType::f32) {
    backend.download(single.data(), values, count * 4);
  } else if (backend.activation_type() == DType::f64) {
    std::vector<double> wide(count);
    backend.download(wide.data(), values, count * 8);
    single.assign(wide.begin(), wide.end());
  } else {
    std::vector<std::uint16_t> half(count);
    backend.download(half.data(), values, count * 2);
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint32_t bits = static_cast<std::uint32_t>(half[i]) << 16;
      std::memcpy(&single[i], &bits, sizeof bits);
    }
  }
  return single;
}

}  // namespace

double forward(const ForwardOptions& options) {
  const Plan plan = read_plan(options.plan);
  const PlanRun& run = plan.run;
  const Windows windows = read_windows(options.tokens, run.micro_batch, run.sequence, plan.model.vocab);
  SafetensorsReader weights(options.weights);
  const BackendChoice choice = choose_backend(
      options.backend, options.precision.empty() ? run.precision : options.precision, options.threads, 0);
  Backend& backend = *choice.backend;
  const ParameterTable table(plan.model, run.init_std);
  const bool training = options.gradients.has_value();
  ParameterStore store(table, backend,
                       training ? ParameterStore::Keep::gradients : ParameterStore::Keep::weights);
  store.load(weights);
  Model model(plan.model, {run.micro_batch, run.sequence, run.recompute_blocks, training}, table, backend);
  model.allocate();

  SafetensorsWriter logits(options.logits,
                           {{"logits", "F32", {run.micro_batch, run.sequence, plan.model.vocab}}});
  model.logits(store, windows.tokens.data(), [&](std::int64_t, std::int64_t rows, const void* values) {
    const std::vector<float> single =
        to_single(backend, values, static_cast<std::size_t>(rows * plan.model.vocab));
    logits.write(single.data(), single.size() * sizeof(float));
  });
  logits.finish();

  const MicroBatch batch{windows.tokens.data(), windows.targets.data(), windows.weights.data()};
  const auto total = static_cast<float>(windows.weights.size());
  model.clear_loss();
  if (training) {
    store.zero_gradients();
    model.train(store, batch, total);
    store.save_gradients(*options.gradients);
  } else {
    model.evaluate(store, batch);
  }
  return model.loss_sum() / total;
}

}  // namespace striped
