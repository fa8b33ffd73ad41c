#include "core/parameter_store.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "striped/error.h"

namespace striped {
namespace {

constexpr std::int64_t kStretch = std::int64_t{1}
                                  << 18;  // values that initialise_roughly() makes of a matrix

constexpr std::int64_t kGrain = 4096;  // values a thread converts at a time, at least

std::uint16_t to_bfloat16(double value) {
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(value));
  if (std::isnan(value)) return 0x7fc0;
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

template <typename To, typename Round>
std::vector<To> converted(const std::vector<double>& values, ThreadPool& threads, const Round& round) {
  std::vector<To> result(values.size());
  threads.split(static_cast<std::int64_t>(values.size()), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
      result[i] = round(values[i]);
  });
  return result;
}

}  // namespace

ParameterStore::Bytes ParameterStore::bytes(const ParameterTable& table, DType activation, Keep keep) {
  const std::size_t real = size_of(real_type(activation));
  const auto flat = static_cast<std::size_t>(table.size()) * real;
  const bool copies = activation == DType::bf16;
  return {flat + static_cast<std::size_t>(table.log_pole_size()) * real +
              (copies ? static_cast<std::size_t>(table.dense_size()) * size_of(activation) : 0),
          keep >= Keep::gradients ? flat : 0, keep == Keep::optimizer ? 2 * flat : 0};
}

ParameterStore::ParameterStore(const ParameterTable& table, Backend& backend, Keep keep)
    : table_(table), backend_(backend), real_(size_of(real_type(backend.activation_type()))) {
  const auto flat = static_cast<std::size_t>(table.size()) * real_;
  masters_ = DeviceBuffer(backend, flat);
  masters_.zero();
  if (keep >= Keep::gradients) gradients_ = DeviceBuffer(backend, flat);
  if (keep == Keep::optimizer) {
    moment1_ = DeviceBuffer(backend, flat);
    moment2_ = DeviceBuffer(backend, flat);
    moment1_.zero();
    moment2_.zero();
  }
  if (backend.activation_type() == DType::bf16) {
    compute_ = DeviceBuffer(backend, static_cast<std::size_t>(table.dense_size()) * 2);
    compute_.zero();
  }
  log_poles_ = DeviceBuffer(backend, static_cast<std::size_t>(table.log_pole_size()) * real_);
  log_poles_.zero();
}

std::size_t ParameterStore::place(const Parameter& parameter) const {
  return static_cast<std::size_t>(parameter.offset) * real_;
}

std::size_t ParameterStore::weight_bytes() const {
  return masters_.bytes() + compute_.bytes() + log_poles_.bytes();
}

const void* ParameterStore::weight(int index) const {
  const Parameter& parameter = table_.parameters()[static_cast<std::size_t>(index)];
  if (parameter.kind == ParameterClass::log_pole)
    return log_poles_.at(
        static_cast<std::size_t>(parameter.offset - table_.dense_size() - table_.small_size()) * real_);
  if (parameter.kind == ParameterClass::dense && compute_.bytes() > 0)
    return compute_.at(static_cast<std::size_t>(parameter.offset) * 2);
  return masters_.at(place(parameter));
}

void* ParameterStore::gradient(int index) const {
  return gradients_.at(place(table_.parameters()[static_cast<std::size_t>(index)]));
}

std::vector<double> ParameterStore::read(const DeviceBuffer& buffer, std::size_t byte,
                                         std::int64_t count) const {
  const auto size = static_cast<std::size_t>(count);
  std::vector<double> values(size);
  if (real_ == 8) {
    backend_.download(values.data(), buffer.at(byte), size * 8);
    return values;
  }
  std::vector<float> single(size);
  backend_.download(single.data(), buffer.at(byte), size * 4);
  values.assign(single.begin(), single.end());
  return values;
}

void ParameterStore::write(const DeviceBuffer& buffer, std::size_t byte, const std::vector<double>& values,
                           ThreadPool& threads) const {
  if (real_ == 8) {
    backend_.upload(buffer.at(byte), values.data(), values.size() * 8);
    return;
  }
  const auto single =
      converted<float>(values, threads, [](double value) { return static_cast<float>(value); });
  backend_.upload(buffer.at(byte), single.data(), single.size() * 4);
}

void ParameterStore::set_master(const Parameter& parameter, const std::vector<double>& values,
                                ThreadPool& threads) {
  write(masters_, place(parameter), values, threads);
  if (parameter.kind != ParameterClass::dense || compute_.bytes() == 0) return;
  const auto rounded = converted<std::uint16_t>(values, threads, to_bfloat16);
  backend_.upload(compute_.at(static_cast<std::size_t>(parameter.offset) * 2), rounded.data(),
                  rounded.size() * 2);
}

void ParameterStore::initialise(std::uint64_t seed, std::int64_t sequence) {
  ThreadPool threads(0);
  for (const Parameter& parameter : table_.parameters())
    set_master(parameter, initial_values(parameter, seed, sequence, threads), threads);
  set_log_poles();
}

void ParameterStore::initialise_roughly(std::uint64_t seed, std::int64_t sequence) {
  ThreadPool threads(0);
  for (const Parameter& parameter : table_.parameters()) {
    const auto count = static_cast<std::size_t>(parameter.count());
    Parameter start = parameter;
    if (parameter.init == InitialValue::normal && parameter.count() > kStretch) start.shape = {kStretch};
    set_master(start, initial_values(start, seed, sequence, threads), threads);
    const auto made = static_cast<std::size_t>(start.count());
    repeat(masters_.at(place(parameter)), made * real_, count * real_);
    if (parameter.kind == ParameterClass::dense && compute_.bytes() > 0)
      repeat(compute_.at(static_cast<std::size_t>(parameter.offset) * 2), made * 2, count * 2);
  }
  set_log_poles();
}

void ParameterStore::repeat(void* first, std::size_t bytes, std::size_t all) const {
  auto* start = static_cast<std::byte*>(first);
  for (std::size_t filled = bytes; filled < all;) {
    const std::size_t more = std::min(filled, all - filled);
    backend_.copy(start + filled, start, more);
    filled += more;
  }
}

void ParameterStore::set_log_poles() {
  if (log_poles_.bytes() == 0) return;
  backend_.negative_exponential(
      table_.log_pole_size(),
      masters_.at(static_cast<std::size_t>(table_.dense_size() + table_.small_size()) * real_),
      log_poles_.at());
}

std::vector<double> ParameterStore::values(int index) const {
  const Parameter& parameter = table_.parameters()[static_cast<std::size_t>(index)];
  if (parameter.kind != ParameterClass::log_pole) return read(masters_, place(parameter), parameter.count());
  const auto base = static_cast<std::size_t>(parameter.offset - table_.dense_size() - table_.small_size());
  return read(log_poles_, base * real_, parameter.count());
}

void ParameterStore::set_values(int index, const std::vector<double>& values) {
  ThreadPool threads(1);
  set_values(index, values, threads);
}

void ParameterStore::set_values(int index, const std::vector<double>& values, ThreadPool& threads) {
  const Parameter& parameter = table_.parameters()[static_cast<std::size_t>(index)];
  if (parameter.kind != ParameterClass::log_pole) {
    set_master(parameter, values, threads);
    return;
  }
  const auto base = static_cast<std::size_t>(parameter.offset - table_.dense_size() - table_.small_size());
  write(log_poles_, base * real_, values, threads);
  std::vector<double> learnt(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!(values[i] < 0))
      throw Error("tensor-value", parameter.name + " holds " + std::to_string(values[i]) +
                                      "; log_poles are logarithms of poles in (0, 1), so below 0");
    learnt[i] = std::log(-values[i]);
  }
  set_master(parameter, learnt, threads);
}

std::vector<double> ParameterStore::gradient_values(int index) const {
  const Parameter& parameter = table_.parameters()[static_cast<std::size_t>(index)];
  return read(gradients_, place(parameter), parameter.count());
}

void ParameterStore::load(SafetensorsReader& file) {
  ThreadPool threads(0);
  for (std::size_t i = 0; i < table_.parameters().size(); ++i) {
    const Parameter& parameter = table_.parameters()[i];
    set_values(static_cast<int>(i), file.values(parameter.name, parameter.shape), threads);
  }
  if (file.tensors().size() == table_.parameters().size()) return;
  for (const auto& [name, info] : file.tensors()) {
    bool known = false;
    for (const Parameter& parameter : table_.parameters()) known = known || parameter.name == name;
    if (!known)
      throw Error("tensor-unknown", "the weights hold " + name + " " + shape_text(info.shape) +
                                        ", which the plan's model does not have; are they of another model?");
  }
}

void ParameterStore::write_file(const std::filesystem::path& file,
                                const std::vector<SafetensorsWriter::Declaration>& tensors,
                                const std::function<std::vector<double>(std::size_t)>& values,
                                std::uint32_t& crc) const {
  SafetensorsWriter writer(file, tensors);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::vector<double> tensor = values(i);
    if (real_ == 8) {
      writer.write(tensor.data(), tensor.size() * 8);
    } else {
      const std::vector<float> single(tensor.begin(), tensor.end());
      writer.write(single.data(), single.size() * 4);
    }
  }
  crc = writer.finish();
}

void ParameterStore::save(const std::filesystem::path& file, std::uint32_t& crc) const {
  std::vector<SafetensorsWriter::Declaration> tensors;
  for (const Parameter& parameter : table_.parameters())
    tensors.push_back({parameter.name, real_name(), parameter.shape});
  write_file(
      file, tensors, [&](std::size_t i) { return values(static_cast<int>(i)); }, crc);
}

void ParameterStore::save_gradients(const std::filesystem::path& file) const {
  std::vector<SafetensorsWriter::Declaration> tensors;
  for (const Parameter& parameter : table_.parameters())
    tensors.push_back({parameter.name, real_name(), parameter.shape});
  std::uint32_t crc = 0;
  write_file(
      file, tensors, [&](std::size_t i) { return gradient_values(static_cast<int>(i)); }, crc);
}

namespace {

struct OptimizerTensor {
  int buffer;  // 1, 2: moments; 0: master
  const Parameter* parameter;
  std::string name;
};

std::vector<OptimizerTensor> optimizer_tensors(const ParameterTable& table) {
  std::vector<OptimizerTensor> result;
  for (const Parameter& parameter : table.parameters()) {
    result.push_back({1, &parameter, "moment1." + parameter.name});
    result.push_back({2, &parameter, "moment2." + parameter.name});
    if (parameter.kind == ParameterClass::log_pole)
      result.push_back({0, &parameter, "learnt." + parameter.name});
  }
  return result;
}

}  // namespace

void ParameterStore::save_optimizer(const std::filesystem::path& file, std::uint32_t& crc) const {
  const std::vector<OptimizerTensor> list = optimizer_tensors(table_);
  std::vector<SafetensorsWriter::Declaration> tensors;
  for (const OptimizerTensor& tensor : list)
    tensors.push_back({tensor.name, real_name(), tensor.parameter->shape});
  const DeviceBuffer* const buffers[] = {&masters_, &moment1_, &moment2_};
  const auto values = [&](std::size_t i) {
    return read(*buffers[list[i].buffer], place(*list[i].parameter), list[i].parameter->count());
  };
  write_file(file, tensors, values, crc);
}

void ParameterStore::load_optimizer(SafetensorsReader& file) {
  ThreadPool threads(0);
  const DeviceBuffer* const buffers[] = {&masters_, &moment1_, &moment2_};
  for (const OptimizerTensor& tensor : optimizer_tensors(table_))
    write(*buffers[tensor.buffer], place(*tensor.parameter),
          file.values(tensor.name, tensor.parameter->shape), threads);
}

void ParameterStore::zero_gradients() { gradients_.zero(); }

void ParameterStore::update(const AdamWSettings& settings, const OptimizerStep* step, double* squared_norm) {
  const std::int64_t dense = table_.dense_size(), poles = table_.log_pole_size();
  const std::size_t small_byte = static_cast<std::size_t>(dense) * real_;
  const std::size_t pole_byte = static_cast<std::size_t>(dense + table_.small_size()) * real_;
  // From the gradient of log_pole = -exp(p) to that of p.
  if (poles > 0) backend_.multiply(poles, gradients_.at(pole_byte), log_poles_.at());
  backend_.zero(squared_norm, sizeof *squared_norm);
  backend_.squared_norm(table_.size(), gradients_.at(), squared_norm);
  backend_.adamw(dense, settings, step, squared_norm, gradients_.at(), masters_.at(), moment1_.at(),
                 moment2_.at(), compute_.bytes() > 0 ? compute_.at() : nullptr);
  AdamWSettings undecayed = settings;
  undecayed.weight_decay = 0;
  backend_.adamw(table_.small_size() + poles, undecayed, step, squared_norm, gradients_.at(small_byte),
                 masters_.at(small_byte), moment1_.at(small_byte), moment2_.at(small_byte), nullptr);
  if (poles > 0) backend_.negative_exponential(poles, masters_.at(pole_byte), log_poles_.at());
}

}  // namespace striped
