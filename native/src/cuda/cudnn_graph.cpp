#include "cudnn_graph.h"

#include "library_loader.h"
#include "striped/error.h"

namespace striped::cuda::cudnn {
namespace {

constexpr std::int64_t kAlignment = 16;

Functions load_functions() {
  const Library library({"libcudnn.so.9"}, "fused attention on the GPU");
  Functions f{};
  library.bind(f.version, "cudnnGetVersion");
  library.bind(f.error_string, "cudnnGetErrorString");
  library.bind(f.last_error, "cudnnGetLastErrorString");
  library.bind(f.create, "cudnnCreate");
  library.bind(f.destroy, "cudnnDestroy");
  library.bind(f.set_stream, "cudnnSetStream");
  library.bind(f.descriptor_create, "cudnnBackendCreateDescriptor");
  library.bind(f.descriptor_destroy, "cudnnBackendDestroyDescriptor");
  library.bind(f.descriptor_finalize, "cudnnBackendFinalize");
  library.bind(f.descriptor_set, "cudnnBackendSetAttribute");
  library.bind(f.descriptor_get, "cudnnBackendGetAttribute");
  library.bind(f.execute, "cudnnBackendExecute");
  return f;
}

}  // namespace

Session::Session(cudaStream_t stream) : stream_(stream), functions_(load_functions()) {
  check(functions_.create(&handle_), "cudnnCreate");
  check(functions_.set_stream(handle_, stream), "cudnnSetStream");
}

Session::~Session() {
  if (handle_) functions_.destroy(handle_);
}

void Session::check(int status, const char* what) const {
  if (status == kSuccess) return;
  char words[512] = "";
  functions_.last_error(words, sizeof words);
  throw Error("cudnn", std::string("cuDNN failed in ") + what + ": " + functions_.error_string(status) +
                           (words[0] ? std::string(" (") + words + ")" : ""));
}

Descriptor::Descriptor(const Session& session, Kind kind) : session_(session) {
  session.check(session.functions().descriptor_create(static_cast<int>(kind), &raw_),
                "creating a descriptor");
}

Descriptor::~Descriptor() {
  if (raw_) session_.functions().descriptor_destroy(raw_);
}

void Descriptor::set(Attribute attribute, Type type, std::int64_t count, const void* values) {
  const int status = session_.functions().descriptor_set(raw_, static_cast<int>(attribute),
                                                         static_cast<int>(type), count, values);
  if (status != kSuccess) {
    session_.check(status, ("setting attribute " + std::to_string(static_cast<int>(attribute))).c_str());
  }
}

void Descriptor::finalize(const char* what) {
  session_.check(session_.functions().descriptor_finalize(raw_), what);
}

Tensor Graph::make(Data type, const Dimensions& dimensions, const Dimensions& strides, bool is_virtual,
                   bool by_value) {
  auto descriptor = std::make_shared<Descriptor>(session_, Kind::tensor);
  const std::int64_t id = next_id_++;
  descriptor->set(Attribute::tensor_type, Type::data_type, type);
  descriptor->set(Attribute::tensor_dimensions, Type::int64, 4, dimensions.data());
  descriptor->set(Attribute::tensor_strides, Type::int64, 4, strides.data());
  descriptor->set(Attribute::tensor_id, Type::int64, id);
  descriptor->set(Attribute::tensor_alignment, Type::int64, kAlignment);
  if (is_virtual) descriptor->set(Attribute::tensor_is_virtual, Type::boolean, is_virtual);
  if (by_value) descriptor->set(Attribute::tensor_is_by_value, Type::boolean, by_value);
  descriptor->finalize("a tensor");
  tensors_.push_back(descriptor);
  return {descriptor, id, dimensions, strides, type};
}

Tensor Graph::array(Data type, const Dimensions& dimensions, const Dimensions& strides) {
  return make(type, dimensions, strides, false, false);
}

Tensor Graph::virtual_array(Data type, const Dimensions& dimensions, const Dimensions& strides) {
  return make(type, dimensions, strides, true, false);
}

Tensor Graph::scalar(float value) {
  const Tensor tensor = make(Data::float32, {1, 1, 1, 1}, {1, 1, 1, 1}, false, true);
  scalars_[tensor.id] = value;
  return tensor;
}

Tensor Graph::pointwise(Pointwise mode, const Tensor& x, const Tensor* b, const Tensor* t, Data result,
                        Data compute, const std::optional<Tensor>& output, std::int64_t axis) {
  const Tensor y = output ? *output : virtual_array(result, x.dimensions, x.strides);
  Descriptor& part = parts_.emplace_back(session_, Kind::pointwise);
  part.set(Attribute::pointwise_mode, Type::pointwise_mode, mode);
  part.set(Attribute::pointwise_precision, Type::data_type, compute);
  if (axis >= 0) part.set(Attribute::pointwise_axis, Type::int64, axis);
  part.finalize("a pointwise descriptor");
  Descriptor& operation = operations_.emplace_back(session_, Kind::pointwise_operation);
  operation.set(Attribute::pointwise_operation_descriptor, part);
  operation.set(Attribute::pointwise_operation_x, *x.descriptor);
  operation.set(Attribute::pointwise_operation_y, *y.descriptor);
  if (b) operation.set(Attribute::pointwise_operation_b, *b->descriptor);
  if (t) operation.set(Attribute::pointwise_operation_t, *t->descriptor);
  operation.finalize("a pointwise operation");
  return y;
}

void Graph::matmul(const Tensor& a, const Tensor& b, const Tensor& c) {
  Descriptor& part = parts_.emplace_back(session_, Kind::matmul);
  part.set(Attribute::matmul_precision, Type::data_type, Data::float32);
  part.finalize("a product's descriptor");
  Descriptor& operation = operations_.emplace_back(session_, Kind::matmul_operation);
  operation.set(Attribute::matmul_a, *a.descriptor);
  operation.set(Attribute::matmul_b, *b.descriptor);
  operation.set(Attribute::matmul_c, *c.descriptor);
  operation.set(Attribute::matmul_descriptor, part);
  operation.finalize("a product");
}

void Graph::reduce(Reduction mode, const Tensor& x, const Tensor& y) {
  Descriptor& part = parts_.emplace_back(session_, Kind::reduction);
  part.set(Attribute::reduction_operator, Type::reduction_operator, mode);
  part.set(Attribute::reduction_precision, Type::data_type, Data::float32);
  part.finalize("a reduction's descriptor");
  Descriptor& operation = operations_.emplace_back(session_, Kind::reduction_operation);
  operation.set(Attribute::reduction_x, *x.descriptor);
  operation.set(Attribute::reduction_y, *y.descriptor);
  operation.set(Attribute::reduction_descriptor, part);
  operation.finalize("a reduction");
}

void Graph::reshape(const Tensor& x, const Tensor& y) {
  Descriptor& operation = operations_.emplace_back(session_, Kind::reshape_operation);
  operation.set(Attribute::reshape_x, *x.descriptor);
  operation.set(Attribute::reshape_y, *y.descriptor);
  operation.finalize("a reshape");
}

namespace {

bool is_deterministic(const Session& session, const Descriptor& configuration) {
  const Functions& f = session.functions();
  Descriptor engine(session, Kind::engine);
  RawDescriptor raw = engine.raw();
  std::int64_t count = 0;
  if (f.descriptor_get(configuration.raw(), static_cast<int>(Attribute::configuration_engine),
                       static_cast<int>(Type::descriptor), 1, &count, &raw) != kSuccess) {
    return false;
  }
  std::array<int, 16> notes{};
  if (f.descriptor_get(raw, static_cast<int>(Attribute::engine_numerical_notes),
                       static_cast<int>(Type::numerical_note), notes.size(), &count,
                       notes.data()) != kSuccess) {
    return false;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    if (notes[i] == kNondeterministic) return false;
  }
  return true;
}

std::vector<Descriptor> ranked_configurations(const Session& session, const Descriptor& graph) {
  Descriptor heuristics(session, Kind::engine_heuristics);
  heuristics.set(Attribute::heuristics_graph, graph);
  heuristics.set(Attribute::heuristics_mode, Type::heuristic_mode, kHeuristicModeA);
  heuristics.finalize("ranking engines");
  const Functions& f = session.functions();
  const auto get = [&](std::int64_t requested, std::int64_t* count, RawDescriptor* results) {
    session.check(f.descriptor_get(heuristics.raw(), static_cast<int>(Attribute::heuristics_results),
                                   static_cast<int>(Type::descriptor), requested, count, results),
                  "ranking engines");
  };
  std::int64_t count = 0;
  get(0, &count, nullptr);
  std::vector<Descriptor> configurations;
  std::vector<RawDescriptor> raw;
  configurations.reserve(count);
  for (std::int64_t i = 0; i < count; ++i) {
    raw.push_back(configurations.emplace_back(session, Kind::engine_configuration).raw());
  }
  if (count > 0) get(count, &count, raw.data());
  while (static_cast<std::int64_t>(configurations.size()) > count) configurations.pop_back();
  return configurations;
}

}  // namespace

Plan Graph::build(bool deterministic_only) {
  Descriptor graph(session_, Kind::operation_graph);
  std::vector<RawDescriptor> raw;
  for (const Descriptor& operation : operations_) raw.push_back(operation.raw());
  graph.set(Attribute::graph_operations, Type::descriptor, static_cast<std::int64_t>(raw.size()), raw.data());
  graph.set(Attribute::graph_handle, Type::handle, session_.handle());
  graph.finalize("the attention graph");
  const Functions& f = session_.functions();
  std::string reason = "no engine for this graph";
  for (const Descriptor& configuration : ranked_configurations(session_, graph)) {
    const bool deterministic = is_deterministic(session_, configuration);
    if (deterministic_only && !deterministic) {
      reason = "no deterministic engine for this graph";
      continue;
    }
    try {
      Descriptor plan(session_, Kind::execution_plan);
      plan.set(Attribute::plan_handle, Type::handle, session_.handle());
      plan.set(Attribute::plan_configuration, configuration);
      plan.finalize("an execution plan");
      std::int64_t workspace = 0, count = 0;
      session_.check(f.descriptor_get(plan.raw(), static_cast<int>(Attribute::plan_workspace),
                                      static_cast<int>(Type::int64), 1, &count, &workspace),
                     "the workspace of a plan");
      return Plan(session_, std::move(plan), static_cast<std::size_t>(workspace), deterministic, scalars_);
    } catch (const Error& error) {
      reason = error.what();
    }
  }
  throw Error("cudnn", "cuDNN cannot run this attention: " + reason);
}

Plan::Plan(const Session& session, Descriptor plan, std::size_t workspace, bool deterministic,
           std::map<std::int64_t, float> scalars)
    : session_(session),
      plan_(std::move(plan)),
      workspace_(workspace),
      deterministic_(deterministic),
      scalars_(std::move(scalars)) {}

void Plan::run(const std::vector<std::pair<std::int64_t, const void*>>& arrays, void* workspace) const {
  std::vector<std::int64_t> ids;
  std::vector<const void*> pointers;
  for (const auto& [id, pointer] : arrays) {
    ids.push_back(id);
    pointers.push_back(pointer);
  }
  for (const auto& [id, value] : scalars_) {
    ids.push_back(id);
    pointers.push_back(&value);
  }
  Descriptor pack(session_, Kind::variant_pack);
  pack.set(Attribute::pack_ids, Type::int64, static_cast<std::int64_t>(ids.size()), ids.data());
  pack.set(Attribute::pack_pointers, Type::pointer, static_cast<std::int64_t>(pointers.size()),
           pointers.data());
  pack.set(Attribute::pack_workspace, Type::pointer, workspace);
  pack.finalize("the arrays of an attention");
  session_.check(session_.functions().execute(session_.handle(), plan_.raw(), pack.raw()), "attention");
}

}  // namespace striped::cuda::cudnn
