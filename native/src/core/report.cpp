// What the engine says about itself and about a plan, as JSON.
#include <nlohmann/json.hpp>

#include "core/backend_choice.h"
#include "core/model.h"
#include "parallel/parameter_exchange.h"
#include "striped/engine.h"
#include "striped/error.h"

namespace striped {

using nlohmann::json;

namespace {

#if defined(STRIPED_HAS_CBLAS)
constexpr bool kBlas = true;
#else
constexpr bool kBlas = false;
#endif
#if defined(STRIPED_HAS_ZLIB)
constexpr bool kZlib = true;
#else
constexpr bool kZlib = false;
#endif
#if defined(STRIPED_HAS_CUDA)
constexpr bool kCuda = true;
#else
constexpr bool kCuda = false;
#endif

}  // namespace

std::string version() { return STRIPED_VERSION; }

std::string build_info() {
  std::string info = std::string("C++20, ") + STRIPED_COMPILER;
  info += kBlas ? ", BLAS" : ", own GEMM";
  info += kZlib ? ", zlib" : ", no zlib";
  info += kCuda ? ", CUDA" : ", no CUDA";
  return info;
}

std::string devices() {
  json result = json::array();
  const BackendChoice cpu = choose_backend("cpu", "fp32", 0, 0);
  result.push_back({{"backend", "cpu"},
                    {"available", true},
                    {"device", cpu.backend->device_name()},
                    {"threads", cpu.threads},
                    {"precisions", {"fp32", "fp64"}}});
  try {
    const BackendChoice cuda = choose_backend("cuda", "bf16", 0, 0);
    result.push_back({{"backend", "cuda"},
                      {"available", true},
                      {"device", cuda.backend->device_name()},
                      {"precisions", {"fp32", "bf16", "fp8"}}});
  } catch (const Error& error) {
    result.push_back(
        {{"backend", "cuda"}, {"available", false}, {"reason", error.what()}, {"code", error.code()}});
  }
  return json{{"version", version()}, {"build", build_info()}, {"devices", result}}.dump();
}

std::string memory_table(const std::filesystem::path& file, const std::string& backend_name) {
  const Plan plan = read_plan(file);
  const BackendChoice choice = choose_backend(backend_name, plan.run.precision, 0, 0);
  // Of the first rank; the others have as much.
  TracingBackend trace(*choice.backend);
  const RankGroups ranks = traced_ranks(trace, place_of(plan.run.parallel, 0));
  const Sharing sharing = parallel::sharing_of(plan.run.parallel, ranks.place);
  const ParameterTable table(plan.model, plan.run.init_std, ranks.place.tensor, sharing.part.count);
  const auto bytes = ParameterStore::bytes(table, choice.backend->activation_type(),
                                           ParameterStore::Keep::optimizer, sharing);
  const Model model(plan.model, {plan.run.micro_batch, plan.run.sequence, plan.run.recompute_blocks, true},
                    table, *choice.backend, ranks);
  const std::size_t parameters = bytes.weights + model.constant_bytes();
  json buffers = json::array();
  for (const Arena::Entry& entry : model.arena().entries())
    if (entry.first >= 0)
      buffers.push_back({{"name", entry.name},
                         {"bytes", entry.bytes},
                         {"offset", entry.offset},
                         {"first", entry.first},
                         {"last", entry.last}});
  return json{{"backend", choice.backend->name()},
              {"device", choice.backend->device_name()},
              {"precision", choice.precision},
              {"memoryBytes",
               {{"parameters", parameters},
                {"gradients", bytes.gradients},
                {"optimizer", bytes.optimizer},
                {"activations", model.arena_bytes() - model.workspace_bytes()},
                {"workspace", model.workspace_bytes()},
                {"total", parameters + bytes.gradients + bytes.optimizer + model.arena_bytes()}}},
              {"buffers", buffers}}
      .dump();
}

}  // namespace striped
