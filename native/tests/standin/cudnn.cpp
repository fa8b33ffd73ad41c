// Stands in for cuDNN: runs operation graphs one operation after the other on the processor, over memory that
// is the machine's, with every value between two operations rounded to its type. Graphs are what
// src/cuda/cudnn_graph.cpp builds; what the library would refuse or what reads or writes past what it was
// given should show. With STANDIN_CUDNN=none there is no device.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "bf16_values.h"
#include "cudnn_api.h"

namespace {

using striped::cuda::cudnn::Attribute;
using striped::cuda::cudnn::Data;
using striped::cuda::cudnn::Kind;
using striped::cuda::cudnn::Pointwise;
using striped::cuda::cudnn::Reduction;
using striped::cuda::cudnn::Type;

constexpr std::size_t kWorkspace = 4096, kAlignment = 16;
std::string last_error;

struct Node {
  Kind kind;
  std::map<Attribute, std::vector<char>> values;
  std::map<Attribute, std::vector<std::shared_ptr<Node>>> others;

  template <class T>
  std::vector<T> list(Attribute attribute) const {
    const std::vector<char>& bytes = values.at(attribute);
    std::vector<T> result(bytes.size() / sizeof(T));
    std::memcpy(result.data(), bytes.data(), result.size() * sizeof(T));
    return result;
  }
  template <class T>
  T value(Attribute attribute, T otherwise) const {
    const auto found = values.find(attribute);
    if (found != values.end()) std::memcpy(&otherwise, found->second.data(), sizeof otherwise);
    return otherwise;
  }
  const Node& other(Attribute attribute) const { return *others.at(attribute).at(0); }
};
using Owner = std::shared_ptr<Node>;
Owner& owner(void* raw) { return *static_cast<Owner*>(raw); }

std::size_t size_of(Type type) {
  switch (type) {
    case Type::handle:
    case Type::int64:
    case Type::pointer:
      return 8;
    case Type::boolean:
      return 1;
    default:
      return 4;
  }
}

void require(bool good, const std::string& what) {
  if (!good) throw std::runtime_error(what);
}

struct Tensor {
  explicit Tensor(const Node& node)
      : id(node.value<std::int64_t>(Attribute::tensor_id, 0)),
        dimensions(node.list<std::int64_t>(Attribute::tensor_dimensions)),
        strides(node.list<std::int64_t>(Attribute::tensor_strides)),
        type(node.value(Attribute::tensor_type, Data::float32)),
        is_virtual(node.value(Attribute::tensor_is_virtual, false)),
        by_value(node.value(Attribute::tensor_is_by_value, false)) {}
  std::int64_t id;
  std::vector<std::int64_t> dimensions, strides;
  Data type;
  bool is_virtual, by_value;

  std::int64_t size() const { return dimensions[0] * dimensions[1] * dimensions[2] * dimensions[3]; }
  // Calls visit(n, index[4], offset in memory) for value n, the last dimension fastest.
  template <class Visit>
  void each(const Visit& visit) const {
    std::int64_t i[4], n = 0;
    for (i[0] = 0; i[0] < dimensions[0]; ++i[0])
      for (i[1] = 0; i[1] < dimensions[1]; ++i[1])
        for (i[2] = 0; i[2] < dimensions[2]; ++i[2])
          for (i[3] = 0; i[3] < dimensions[3]; ++i[3])
            visit(n++, i, i[0] * strides[0] + i[1] * strides[1] + i[2] * strides[2] + i[3] * strides[3]);
  }
  // Where the value lies that belongs to one of a larger tensor: dimensions that are shorter here count in
  // groups, as those of heads do.
  std::int64_t place(const std::int64_t (&index)[4], const Tensor& larger) const {
    std::int64_t place = 0;
    for (int d = 0; d < 4; ++d)
      place = place * dimensions[d] + index[d] / (larger.dimensions[d] / dimensions[d]);
    return place;
  }
};

using Values = std::vector<float>;

// One run of a graph.
class Run {
 public:
  explicit Run(const Node& pack) {
    const auto ids = pack.list<std::int64_t>(Attribute::pack_ids);
    const auto pointers = pack.list<char*>(Attribute::pack_pointers);
    for (std::size_t i = 0; i < ids.size(); ++i) pointers_[ids[i]] = pointers.at(i);
  }

  void operation(const Node& node) {
    switch (node.kind) {
      case Kind::matmul_operation:
        return product(Tensor(node.other(Attribute::matmul_a)), Tensor(node.other(Attribute::matmul_b)),
                       Tensor(node.other(Attribute::matmul_c)));
      case Kind::pointwise_operation:
        return pointwise(node);
      case Kind::reduction_operation:
        return reduce(
            node.other(Attribute::reduction_descriptor).value(Attribute::reduction_operator, Reduction::sum),
            Tensor(node.other(Attribute::reduction_x)), Tensor(node.other(Attribute::reduction_y)));
      case Kind::reshape_operation:
        return reshape(Tensor(node.other(Attribute::reshape_x)), Tensor(node.other(Attribute::reshape_y)));
      default:
        throw std::runtime_error("an operation of another kind");
    }
  }

 private:
  char* memory_of(const Tensor& t) const {
    require(pointers_.count(t.id) != 0, "an array has no pointer");
    char* const memory = pointers_.at(t.id);
    require(t.by_value || reinterpret_cast<std::uintptr_t>(memory) % kAlignment == 0, "an array is askew");
    return memory;
  }
  const Values& read(const Tensor& t) {
    const auto found = values_.find(t.id);
    if (found != values_.end()) return found->second;
    require(!t.is_virtual, "a value is used before it is made");
    const char* const memory = memory_of(t);
    Values values(static_cast<std::size_t>(t.size()));
    t.each([&](std::int64_t n, const auto&, std::int64_t offset) {
      if (t.type == Data::bfloat16) {
        values[n] = test_values::from_bf16(reinterpret_cast<const std::uint16_t*>(memory)[offset]);
      } else {
        values[n] = reinterpret_cast<const float*>(memory)[offset];
      }
    });
    return values_[t.id] = std::move(values);
  }
  void write(const Tensor& t, Values values) {
    if (t.type == Data::bfloat16)
      for (float& value : values) value = test_values::from_bf16(test_values::to_bf16(value));
    if (!t.is_virtual) {
      char* const memory = memory_of(t);
      t.each([&](std::int64_t n, const auto&, std::int64_t offset) {
        if (t.type == Data::bfloat16) {
          reinterpret_cast<std::uint16_t*>(memory)[offset] = test_values::to_bf16(values[n]);
        } else {
          reinterpret_cast<float*>(memory)[offset] = values[n];
        }
      });
    }
    values_[t.id] = std::move(values);
  }

  void product(const Tensor& a, const Tensor& b, const Tensor& c) {
    const std::int64_t rows = c.dimensions[2], columns = c.dimensions[3], inner = a.dimensions[3];
    require(a.dimensions[2] == rows && b.dimensions[3] == columns && b.dimensions[2] == inner,
            "a product of other shapes");
    const Values &left = read(a), &right = read(b);
    Values result(static_cast<std::size_t>(c.size()));
    for (std::int64_t batch = 0; batch < c.dimensions[0]; ++batch) {
      for (std::int64_t head = 0; head < c.dimensions[1]; ++head) {
        const auto matrix = [&](const Tensor& t, const Values& values) {
          const std::int64_t mine = head / (c.dimensions[1] / t.dimensions[1]);
          return values.data() + (batch * t.dimensions[1] + mine) * t.dimensions[2] * t.dimensions[3];
        };
        const float *x = matrix(a, left), *y = matrix(b, right);
        float* z = result.data() + (batch * c.dimensions[1] + head) * rows * columns;
        for (std::int64_t i = 0; i < rows; ++i)
          for (std::int64_t k = 0; k < inner; ++k)
            for (std::int64_t j = 0; j < columns; ++j)
              z[i * columns + j] += x[i * inner + k] * y[k * columns + j];
      }
    }
    write(c, std::move(result));
  }

  void pointwise(const Node& node) {
    const Node& how = node.other(Attribute::pointwise_operation_descriptor);
    const Pointwise mode = how.value(Attribute::pointwise_mode, Pointwise::identity);
    const auto axis = how.value<std::int64_t>(Attribute::pointwise_axis, 0);
    const Tensor x(node.other(Attribute::pointwise_operation_x)),
        y(node.other(Attribute::pointwise_operation_y));
    require(x.dimensions == y.dimensions, "a result of another shape");
    struct Operand {
      Tensor tensor;
      const Values& values;
    };
    std::optional<Operand> operands[2];
    const Attribute names[] = {Attribute::pointwise_operation_b, Attribute::pointwise_operation_t};
    for (int i = 0; i < 2; ++i) {
      if (node.others.count(names[i]) == 0) continue;
      const Tensor tensor(node.other(names[i]));
      operands[i].emplace(Operand{tensor, read(tensor)});
    }
    const Values& of_x = read(x);
    Values result(of_x.size());
    const auto operand = [&](int which, const std::int64_t(&index)[4]) {
      const Operand& o = operands[which].value();
      return o.values[static_cast<std::size_t>(o.tensor.place(index, x))];
    };
    x.each([&](std::int64_t n, const auto& index, std::int64_t) {
      const float value = of_x[n];
      switch (mode) {
        case Pointwise::add:
          result[n] = value + operand(0, index);
          break;
        case Pointwise::multiply:
          result[n] = value * operand(0, index);
          break;
        case Pointwise::divide:
          result[n] = value / operand(0, index);
          break;
        case Pointwise::subtract:
          result[n] = value - operand(0, index);
          break;
        case Pointwise::exponential:
          result[n] = std::exp(value);
          break;
        case Pointwise::logarithm:
          result[n] = std::log(value);
          break;
        case Pointwise::identity:
          result[n] = value;
          break;
        case Pointwise::greater:
          result[n] = value > operand(0, index);
          break;
        case Pointwise::greater_or_equal:
          result[n] = value >= operand(0, index);
          break;
        case Pointwise::index:
          result[n] = static_cast<float>(index[axis]);
          break;
        case Pointwise::select:
          result[n] = operand(1, index) != 0 ? value : operand(0, index);
          break;
      }
    });
    write(y, std::move(result));
  }

  void reduce(Reduction mode, const Tensor& x, const Tensor& y) {
    const Values& of_x = read(x);
    const bool sums = mode == Reduction::sum;
    Values result(static_cast<std::size_t>(y.size()), sums ? 0 : -std::numeric_limits<float>::infinity());
    x.each([&](std::int64_t n, const auto& index, std::int64_t) {
      float& place = result[static_cast<std::size_t>(y.place(index, x))];
      place = sums ? place + of_x[n] : std::max(place, of_x[n]);
    });
    write(y, std::move(result));
  }

  // The same memory with other dimensions.
  void reshape(const Tensor& x, const Tensor& y) {
    const Values& of_x = read(x);
    std::map<std::int64_t, float> memory;
    x.each([&](std::int64_t n, const auto&, std::int64_t offset) { memory[offset] = of_x[n]; });
    Values result(of_x.size());
    y.each([&](std::int64_t n, const auto&, std::int64_t offset) { result[n] = memory.at(offset); });
    write(y, std::move(result));
  }

  std::map<std::int64_t, char*> pointers_;
  std::map<std::int64_t, Values> values_;
};

template <class Work>
int guarded(const Work& work) {
  try {
    work();
    return 0;
  } catch (const std::exception& error) {
    last_error = error.what();
    return 1;
  }
}

// What the library refuses of a tensor.
void check_tensor(const Node& node) {
  const Tensor t(node);
  require(t.dimensions.size() == 4 && t.strides.size() == 4, "a tensor of other dimensions");
  for (int d = 0; d < 4; ++d)
    require(t.dimensions[d] > 0 && t.strides[d] > 0, "a dimension or stride of zero");
}

}  // namespace

extern "C" {

std::size_t cudnnGetVersion() { return 91002; }
const char* cudnnGetErrorString(int) { return "error"; }
void cudnnGetLastErrorString(char* words, std::size_t size) {
  std::strncpy(words, last_error.c_str(), size - 1);
  words[size - 1] = 0;
}
int cudnnCreate(void** handle) {
  const char* given = std::getenv("STANDIN_CUDNN");
  if (given != nullptr && std::strcmp(given, "none") == 0) return 1;
  *handle = nullptr;
  return 0;
}
int cudnnDestroy(void*) { return 0; }
int cudnnSetStream(void*, void*) { return 0; }

int cudnnBackendCreateDescriptor(int kind, void** raw) {
  *raw = new Owner(std::make_shared<Node>());
  owner(*raw)->kind = static_cast<Kind>(kind);
  return 0;
}
int cudnnBackendDestroyDescriptor(void* raw) {
  delete &owner(raw);
  return 0;
}
int cudnnBackendFinalize(void* raw) {
  return guarded([&] {
    if (owner(raw)->kind == Kind::tensor) check_tensor(*owner(raw));
  });
}
int cudnnBackendSetAttribute(void* raw, int attribute, int type, std::int64_t count, const void* values) {
  Node& node = *owner(raw);
  const auto name = static_cast<Attribute>(attribute);
  if (static_cast<Type>(type) == Type::descriptor) {
    node.others[name].clear();
    for (std::int64_t i = 0; i < count; ++i)
      node.others[name].push_back(owner(static_cast<void* const*>(values)[i]));
  } else {
    const char* const bytes = static_cast<const char*>(values);
    node.values[name].assign(bytes,
                             bytes + static_cast<std::size_t>(count) * size_of(static_cast<Type>(type)));
  }
  return 0;
}
int cudnnBackendGetAttribute(void* raw, int attribute, int, std::int64_t requested, std::int64_t* count,
                             void* values) {
  const auto name = static_cast<Attribute>(attribute);
  *count = 0;
  if (name == Attribute::heuristics_results) {
    // One engine, which runs every graph.
    *count = 1;
    if (requested > 0)
      owner(*static_cast<void**>(values))->others[Attribute::heuristics_graph] =
          owner(raw)->others.at(Attribute::heuristics_graph);
  } else if (name == Attribute::plan_workspace) {
    const auto bytes = static_cast<std::int64_t>(kWorkspace);
    std::memcpy(values, &bytes, sizeof bytes);
    *count = 1;
  }
  return 0;
}
int cudnnBackendExecute(void*, void* plan, void* pack) {
  return guarded([&] {
    void* const workspace = owner(pack)->list<void*>(Attribute::pack_workspace).at(0);
    std::memset(workspace, 0xff, kWorkspace);
    const Node& graph = owner(plan)->other(Attribute::plan_configuration).other(Attribute::heuristics_graph);
    Run run(*owner(pack));
    for (const Owner& operation : graph.others.at(Attribute::graph_operations)) run.operation(*operation);
  });
}
}
