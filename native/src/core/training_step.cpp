#include "core/training_step.h"

#include <cstdlib>
#include <utility>

#include "core/schedule.h"
#include "parallel/activity.h"
#include "striped/error.h"

namespace striped {

bool recording_wanted() {
  const char* const value = std::getenv("STRIPED_CUDA_GRAPH");
  return value == nullptr || std::string(value) != "0";
}

TrainingStep::TrainingStep(const PlanRun& run, Model& model, ParameterStore& store, const RankGroups& ranks,
                           Backend& backend, bool record)
    : plan_(run),
      model_(model),
      store_(store),
      ranks_(ranks),
      backend_(backend),
      record_(record && backend.can_record() && ranks.all->size() == 1),
      settings_(backend, sizeof(OptimizerStep)),
      squared_norm_(backend, sizeof(double)),
      sum_(backend),
      rows_(ranks.place, run.micro_batch, run.sequence),
      exchange_(store, ranks) {
  store.set_accumulates(run.accumulation > 1);
}

TrainingStep::Result TrainingStep::run(const SampleBatch& batch, std::int64_t step, double learning_rate) {
  const double weight = sum_.over(*ranks_.data, batch.total_weight);
  const double total = weight > 0 ? weight : 1;
  const auto micro_batches = static_cast<double>(plan_.accumulation * ranks_.place.data.count);
  const double share = 1.0 / micro_batches;
  // Each micro-batch is divided by its share of the whole weight, so that accumulating is one larger batch. A
  // recorded division cannot change from step to step: there it is by the windows' size (the same number
  // where all weights are 1), and the optimiser's scale, which lies in device memory, makes up for it.
  const auto micro_weight = static_cast<float>(total / micro_batches);
  const auto divisor = record_ ? static_cast<float>(plan_.micro_batch * plan_.sequence) : micro_weight;
  const double scale = record_ ? share * divisor / micro_weight : share;
  const OptimizerStep settings = optimizer_step(plan_.optimizer, learning_rate, step, scale);
  backend_.upload(settings_.at(), &settings, sizeof settings);
  if (plan_.accumulation == 1 && ranks_.all->size() == 1) {
    model_.upload(rows_.take(batch));
    run_or_replay([&] {
      clear();
      model_.train_uploaded(store_, divisor);
      update();
    });
  } else {
    clear();
    accumulate(batch, divisor);
    update();
  }
  if (warm_ < kWarmUp) ++warm_;
  Result result{0, weight, 0, scale};
  {
    const parallel::Waiting waiting;  // on a device, for everything that was queued
    backend_.download(&result.squared_norm, squared_norm_.at(), sizeof result.squared_norm);
  }
  result.loss_sum = sum_.over(ranks_.rows(), model_.loss_sum());
  return result;
}

void TrainingStep::clear() {
  store_.zero_gradients();
  model_.clear_loss();
}

void TrainingStep::accumulate(const SampleBatch& batch, float micro_weight) {
  for (std::int64_t micro = 0; micro < plan_.accumulation; ++micro) {
    parallel::activity().go_on();
    exchange_.begin_micro_batch(micro + 1 == plan_.accumulation);
    model_.upload(rows_.take(batch, micro * plan_.micro_batch * plan_.sequence));
    run_or_replay([&] { model_.train_uploaded(store_, micro_weight); });
  }
}

void TrainingStep::update() {
  auto* const squared_norm = static_cast<double*>(squared_norm_.at());
  exchange_.finish_gradients();
  store_.measure(squared_norm);
  exchange_.sum_norm(squared_norm);
  store_.apply(adamw_settings(plan_.optimizer), static_cast<const OptimizerStep*>(settings_.at()),
               squared_norm, [&](int unit) { exchange_.share_weights(unit); });
  exchange_.finish_weights();
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
      if (std::exchange(recorded_, false)) backend_.drop_recording();
      throw Error(error.code(), std::string("the training step could not be recorded: ") + error.what() +
                                    " To train without recording, set STRIPED_CUDA_GRAPH=0.");
    }
  }
  backend_.replay();
}

}  // namespace striped
