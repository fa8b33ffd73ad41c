#include "core/parameter_files.h"

#include <algorithm>

#include "striped/error.h"

namespace striped {
namespace {

std::vector<StoredTensor> list_of(const ParameterTable& table, Stored what, const std::string& prefix) {
  std::vector<StoredTensor> result;
  for (std::size_t i = 0; i < table.parameters().size(); ++i)
    result.push_back({static_cast<int>(i), what, prefix + table.parameters()[i].name});
  return result;
}

const Parameter& parameter_of(const ParameterStore& store, const StoredTensor& tensor) {
  return store.table().parameters()[static_cast<std::size_t>(tensor.parameter)];
}

void refuse_others(const SafetensorsReader& file, const std::vector<StoredTensor>& tensors) {
  if (file.tensors().size() == tensors.size()) return;
  for (const auto& [name, info] : file.tensors()) {
    const auto is_this = [&, &its_name = name](const StoredTensor& tensor) {
      return tensor.name == its_name;
    };
    if (std::none_of(tensors.begin(), tensors.end(), is_this))
      throw Error("tensor-unknown", "the weights hold " + name + " " + shape_text(info.shape) +
                                        ", which the plan's model does not have; are they of another model?");
  }
}

}  // namespace

std::vector<StoredTensor> weight_tensors(const ParameterTable& table) {
  return list_of(table, Stored::weight, "");
}

std::vector<StoredTensor> gradient_tensors(const ParameterTable& table) {
  return list_of(table, Stored::gradient, "");
}

std::vector<StoredTensor> optimizer_tensors(const ParameterTable& table) {
  std::vector<StoredTensor> result;
  for (std::size_t i = 0; i < table.parameters().size(); ++i) {
    const Parameter& parameter = table.parameters()[i];
    const int index = static_cast<int>(i);
    result.push_back({index, Stored::moment1, "moment1." + parameter.name});
    result.push_back({index, Stored::moment2, "moment2." + parameter.name});
    if (parameter.kind == ParameterClass::log_pole)
      result.push_back({index, Stored::master, "learnt." + parameter.name});
  }
  return result;
}

std::uint32_t write_tensors(const std::filesystem::path& file, const std::vector<StoredTensor>& tensors,
                            const ParameterStore& store, WholeTensors& whole) {
  const bool wide = real_type(store.backend().activation_type()) == DType::f64;
  std::optional<SafetensorsWriter> writer;
  if (whole.has_files()) {
    std::vector<SafetensorsWriter::Declaration> declared;
    for (const StoredTensor& tensor : tensors)
      declared.push_back({tensor.name, wide ? "F64" : "F32", parameter_of(store, tensor).shape});
    writer.emplace(file, declared);
  }
  for (const StoredTensor& tensor : tensors) {
    const std::vector<double> values = whole.collect(tensor);
    if (!writer) continue;
    if (wide) {
      writer->write(values.data(), values.size() * sizeof(double));
    } else {
      const std::vector<float> single(values.begin(), values.end());
      writer->write(single.data(), single.size() * sizeof(float));
    }
  }
  return writer ? writer->finish() : 0;
}

void read_tensors(const std::filesystem::path& file, const std::vector<StoredTensor>& tensors,
                  const ParameterStore& store, WholeTensors& whole, bool exactly) {
  ThreadPool threads(0);
  std::optional<SafetensorsReader> reader;
  if (whole.has_files()) reader.emplace(file);
  for (const StoredTensor& tensor : tensors)
    whole.spread(
        tensor,
        reader ? reader->values(tensor.name, parameter_of(store, tensor).shape) : std::vector<double>(),
        threads);
  if (reader && exactly) refuse_others(*reader, tensors);
}

}  // namespace striped
