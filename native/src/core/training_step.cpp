#include "core/training_step.h"

#include <cstdlib>

#include "core/schedule.h"
#include "striped/error.h"

namespace striped {

bool recording_wanted() {
  const char* const value = std::getenv("STRIPED_CUDA_GRAPH");
  return value != nullptr && std::string(value) == "1";
}

TrainingStep::TrainingStep(const PlanRun& run, Model& model, ParameterStore& store,
                           Communicator& communicator, Backend& backend, bool record)
    : plan_(run),
      model_(model),
      store_(store),
      communicator_(communicator),
      backend_(backend),
      record_(record && backend.can_record()),
      settings_(backend, sizeof(OptimizerStep)),
      squared_norm_(backend, sizeof(double)) {}

TrainingStep::Result TrainingStep::run(const SampleBatch& batch, std::int64_t step, double learning_rate) {
  const double total = batch.total_weight > 0 ? batch.total_weight : 1;
  const double share = 1.0 / static_cast<double>(plan_.accumulation * communicator_.size());
  // Each micro-batch is divided by its share of the whole weight, so that accumulating is one larger batch. A
  // recorded division cannot change from step to step: there it is by the windows' size (the same number
  // where all weights are 1), and the optimiser's scale, which lies in device memory, makes up for it.
  const auto micro_weight = static_cast<float>(total / static_cast<double>(plan_.accumulation));
  const auto divisor = record_ ? static_cast<float>(plan_.micro_batch * plan_.sequence) : micro_weight;
  const double scale = record_ ? share * divisor / micro_weight : share;
  const OptimizerStep settings = optimizer_step(plan_.optimizer, learning_rate, step, scale);
  backend_.upload(settings_.at(), &settings, sizeof settings);
  if (plan_.accumulation == 1 && communicator_.size() == 1) {
    model_.upload({batch.tokens.data(), batch.targets.data(), batch.weights.data()});
    run_or_replay([&] {
      clear();
      model_.train_uploaded(store_, divisor);
      update();
    });
  } else {
    clear();
    accumulate(batch, divisor);
    communicator_.all_reduce(store_.gradients(), store_.count(), real_type(backend_.activation_type()));
    update();
  }
  if (warm_ < kWarmUp) ++warm_;
  Result result{0, 0, scale};
  backend_.download(&result.squared_norm, squared_norm_.at(), sizeof result.squared_norm);
  result.loss_sum = model_.loss_sum();
  return result;
}

void TrainingStep::clear() {
  store_.zero_gradients();
  model_.clear_loss();
}

void TrainingStep::accumulate(const SampleBatch& batch, float micro_weight) {
  for (std::int64_t micro = 0; micro < plan_.accumulation; ++micro) {
    const std::int64_t offset = micro * plan_.micro_batch * plan_.sequence;
    model_.upload(
        {batch.tokens.data() + offset, batch.targets.data() + offset, batch.weights.data() + offset});
    run_or_replay([&] { model_.train_uploaded(store_, micro_weight); });
  }
}

void TrainingStep::update() {
  store_.update(adamw_settings(plan_.optimizer), static_cast<const OptimizerStep*>(settings_.at()),
                static_cast<double*>(squared_norm_.at()));
}

template <typename Work>
void TrainingStep::run_or_replay(const Work& work) {
  if (!record_ || warm_ < kWarmUp) {
    work();
    return;
  }
  if (!recorded_) {
    try {
      recorded_ = backend_.begin_recording();
      work();
      if (!recorded_) return;
      backend_.end_recording();
    } catch (const Error& error) {
      throw Error(error.code(), std::string("the training step could not be recorded: ") + error.what() +
                                    " To train without recording, set STRIPED_CUDA_GRAPH=0.");
    }
  }
  backend_.replay();
}

}  // namespace striped
