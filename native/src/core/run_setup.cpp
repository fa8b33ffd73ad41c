#include "core/run_setup.h"

#include <cstdlib>
#include <new>

#include "core/random.h"
#include "striped/error.h"

namespace striped {
namespace {

std::string ranks_text(const PlanParallel& parallel) {
  return std::to_string(rank_count(parallel)) + " (tensor " + std::to_string(parallel.tensor) +
         " × context " + std::to_string(parallel.context) + " × data " + std::to_string(parallel.data) + ")";
}

Plan read_with(const TrainOptions& options) {
  Plan plan = read_plan(options.plan);
  if (options.steps) {
    if (*options.steps < 1) throw Error("steps", "the number of steps must be at least 1");
    plan.json["run"]["steps"] = plan.run.steps = *options.steps;
  }
  if (!options.precision.empty()) {
    plan.run.precision = options.precision;
    if (options.precision != "fp64") plan.json["run"]["precision"] = options.precision;
  }
  return plan;
}

void require_same_plan(const Plan& plan, const parallel::Launch& launch) {
  const std::vector<std::string> hashes =
      launch.gather(hexadecimal(hash_text(plan.json.dump() + plan.run.precision)));
  std::string others;
  for (int rank = 0; rank < launch.size(); ++rank)
    if (hashes[static_cast<std::size_t>(rank)] != hashes[0])
      others += (others.empty() ? "" : ", ") + launch.name(rank);
  launch.together([&] {
    if (!others.empty())
      throw Error("parallel-plan",
                  others + ": another plan or other options than " + launch.name(0) +
                      "; start all ranks with the same command, on a plan that all machines see");
  });
}

BackendChoice choose_for(const TrainOptions& options, const Plan& plan, const parallel::Launch& launch) {
  return choose_rank_backend(options.backend, plan.run.precision, options.threads, options.device, launch);
}

// Machines may have other files of the same names.
void require_same_data(const std::string& fingerprint, const parallel::Launch& launch) {
  const std::vector<std::string> all = launch.gather(fingerprint);
  launch.together([&] {
    for (int rank = 1; rank < launch.size(); ++rank)
      if (all[static_cast<std::size_t>(rank)] != all[0])
        throw Error("parallel-data", launch.name(rank) + " has other data (" +
                                         all[static_cast<std::size_t>(rank)] + ") than " + launch.name(0) +
                                         " (" + all[0] + "); bring the same files to all machines");
  });
}

std::unique_ptr<Dataset> load_data(const Plan& plan, const parallel::Launch& launch) {
  std::unique_ptr<Dataset> data;
  launch.together([&] {
    try {
      data = std::make_unique<Dataset>(plan.run.data, plan.model.vocab, plan.run.sequence);
    } catch (const std::bad_alloc&) {
      throw Error(
          "data-too-large",
          "the data does not fit in memory, where every rank of a machine keeps all of its tokens; use "
          "less data, fewer ranks a machine, or a machine with more memory");
    }
  });
  return data;
}

std::string shared_fingerprint(const Dataset& data, const parallel::Launch& launch) {
  std::string fingerprint = data.fingerprint();
  require_same_data(fingerprint, launch);
  return fingerprint;
}

// Groups, heads and channels stay whole, and every rank has as many.
void require_divisible(const Plan& plan) {
  const PlanParallel& degrees = plan.run.parallel;
  const auto require = [&](const char* what, std::int64_t count, int by, const char* parts = "ranks") {
    if (count % by != 0)
      throw Error("parallel-split", std::to_string(count) + " " + what + " do not divide by " +
                                        std::to_string(by) + " " + parts +
                                        "; choose other parallel settings");
  };
  // Channels and heads that go from context rank to context rank are shared out once more.
  const auto over = [&](parallel::ContextStrategy strategy) {
    return degrees.tensor * (strategy == parallel::ContextStrategy::all_to_all ? degrees.context : 1);
  };
  const auto require_hyena = [&](const PlanHyena& hyena) {
    require("filter groups", hyena.groups, over(strategy_of(degrees.spread, hyena.op)));
  };
  require("channels", plan.model.width, degrees.tensor);
  for (const PlanBlock& block : plan.model.blocks) {
    if (const auto* hyena = std::get_if<PlanHyena>(&block.mixer)) require_hyena(*hyena);
    if (const auto* hyena = std::get_if<PlanHyena>(&block.ffn)) require_hyena(*hyena);
    if (const auto* attention = std::get_if<PlanAttention>(&block.mixer))
      require("heads of keys and values", attention->kv_heads, over(degrees.spread.mha));
    if (const auto* mlp = std::get_if<PlanGatedMlp>(&block.ffn))
      require("inner channels of the feed-forward", mlp->inner, degrees.tensor);
  }
  const parallel::Sharding sharding = place_of(degrees, 0).sharding(plan.run.sequence);
  require("tokens of a sequence", plan.run.sequence, sharding.pieces(),
          "pieces (context ranks, twice as many in zig-zag order)");
  if (degrees.sequence)
    require("rows of a micro-batch", plan.run.micro_batch * plan.run.sequence / degrees.context,
            degrees.tensor);
}

// "auto" may find a GPU on one machine and none on another.
void require_one_backend(const Backend& backend, const parallel::Launch& launch) {
  const std::vector<std::string> names = launch.gather(backend.name());
  launch.together([&] {
    for (int rank = 1; rank < launch.size(); ++rank)
      if (names[static_cast<std::size_t>(rank)] != names[0])
        throw Error("parallel-backend", launch.name(rank) + " computes on " +
                                            names[static_cast<std::size_t>(rank)] + " and " + launch.name(0) +
                                            " on " + names[0] + "; name one with --backend");
  });
}

void require_own_devices(const Backend& backend, const parallel::Launch& launch) {
  const std::string id = backend.device_id();
  const std::vector<std::string> devices = launch.gather(id.empty() ? "" : launch.host() + " " + id);
  launch.together([&] {
    for (int rank = 0; rank < launch.size(); ++rank)
      for (int other = 0; other < rank; ++other)
        if (const auto& device = devices[static_cast<std::size_t>(rank)];
            !device.empty() && device == devices[static_cast<std::size_t>(other)])
          throw Error("gpu-shared",
                      launch.name(other) + " and " + launch.name(rank) +
                          " have the same GPU; start no more ranks on a machine than it has GPUs, "
                          "and let each see them all, or one of its own");
  });
}

int parts_of(const Plan& plan, const RankPlace& place) {
  return parallel::sharing_of(plan.run.parallel, place).part.count;
}

Model& allocated(Model& model) {
  model.allocate();
  return model;
}

}  // namespace

void require_ranks(const Plan& plan, const parallel::Launch& launch) {
  const int wanted = rank_count(plan.run.parallel);
  if (wanted == launch.size()) return;
  const std::string count = std::to_string(wanted);
  throw Error("parallel-ranks", "the plan wants " + ranks_text(plan.run.parallel) + " ranks, and " +
                                    std::to_string(launch.size()) +
                                    (launch.size() == 1 ? " was started" : " were started") +
                                    "; start it with mpirun -n " + count + " or srun -n " + count +
                                    " --mpi=pmix, or compile the run with other parallel settings");
}

Plan shared_plan(const TrainOptions& options, const parallel::Launch& launch) {
  std::optional<Plan> plan;
  launch.together([&] {
    plan = read_with(options);
    require_ranks(*plan, launch);
    require_divisible(*plan);
  });
  require_same_plan(*plan, launch);
  return std::move(*plan);
}

BackendChoice choose_rank_backend(const std::string& name, const std::string& precision, int threads,
                                  int device, const parallel::Launch& launch) {
  BackendChoice choice;
  launch.together([&] {
    const int gpus = launch.size() > 1 && name != "cpu" ? cuda_device_count() : 0;
    choice =
        choose_backend(name, precision, threads, gpus > 0 ? (device + launch.local_rank()) % gpus : device);
  });
  require_one_backend(*choice.backend, launch);
  require_own_devices(*choice.backend, launch);
  return choice;
}

std::unique_ptr<Communicator> join_ranks(Backend& backend, const parallel::Launch& launch) {
  if (launch.size() == 1) return nullptr;
  const auto share = [&](void* data, std::size_t bytes) {
    launch.world()->broadcast(data, static_cast<std::int64_t>(bytes / size_of(DType::bf16)), DType::bf16, 0);
  };
  std::unique_ptr<Communicator> all = backend.join({launch.rank(), launch.size(), share});
  if (!all) all = launch.world()->split(0, launch.rank());
  return all;
}

RankGroups make_ranks(const PlanParallel& parallel, Backend& backend, const parallel::Launch& launch) {
  std::unique_ptr<Communicator> all = join_ranks(backend, launch);
  return all ? split_ranks(std::move(all), parallel) : only_rank(backend);
}

parallel::Lifeline::Lost end_of(const LostRank& lost) {
  if (lost) return lost;
  return [](const std::string&, const std::string&) { std::_Exit(1); };
}

RunSetup::RunSetup(const TrainOptions& options, const parallel::Launch& launch)
    : plan(shared_plan(options, launch)),
      data(load_data(plan, launch)),
      data_fingerprint(shared_fingerprint(*data, launch)),
      choice(choose_for(options, plan, launch)),
      backend(*choice.backend),
      ranks(make_ranks(plan.run.parallel, backend, launch)),
      table(plan.model, plan.run.init_std, ranks.place.tensor, parts_of(plan, ranks.place)),
      store(table, backend, ParameterStore::Keep::optimizer,
            parallel::sharing_of(plan.run.parallel, ranks.place)),
      model(plan.model, {plan.run.micro_batch, plan.run.sequence, plan.run.recompute_blocks, true}, table,
            backend, ranks),
      step(plan.run, allocated(model), store, ranks, backend, recording_wanted()),
      tensors(store, ranks) {}

std::size_t RunSetup::memory_bytes() const {
  return store.weight_bytes() + store.gradient_bytes() + store.optimizer_bytes() + model.arena_bytes() +
         model.constant_bytes();
}

}  // namespace striped
