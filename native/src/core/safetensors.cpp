#include "core/safetensors.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "striped/error.h"

namespace striped {
namespace {

using nlohmann::json;

std::size_t width_of(const std::string& dtype) {
  if (dtype == "F64" || dtype == "I64" || dtype == "U64") return 8;
  if (dtype == "F32" || dtype == "I32" || dtype == "U32") return 4;
  if (dtype == "BF16" || dtype == "F16" || dtype == "I16" || dtype == "U16") return 2;
  return 1;
}

std::uint64_t elements(const std::vector<std::int64_t>& shape) {
  std::uint64_t count = 1;
  for (const std::int64_t extent : shape) count *= static_cast<std::uint64_t>(extent);
  return count;
}

double half_to_double(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31, fraction = bits & 1023;
  double magnitude;
  if (exponent == 31)
    magnitude = fraction != 0 ? NAN : HUGE_VAL;
  else
    magnitude = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

template <typename Raw, typename Convert>
std::vector<double> convert(const std::vector<char>& bytes, Convert to_double) {
  std::vector<double> values(bytes.size() / sizeof(Raw));
  for (std::size_t i = 0; i < values.size(); ++i) {
    Raw raw;
    std::memcpy(&raw, bytes.data() + i * sizeof(Raw), sizeof(Raw));
    values[i] = to_double(raw);
  }
  return values;
}

[[noreturn]] void corrupt(const std::filesystem::path& file, const std::string& what) {
  throw Error("safetensors-corrupt", file.string() + " is not a whole safetensors file: " + what);
}

}  // namespace

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

SafetensorsReader::SafetensorsReader(const std::filesystem::path& file)
    : path_(file), file_(file, std::ios::binary) {
  if (!file_) throw Error("read-failed", "cannot open " + file.string() + ": " + std::strerror(errno));
  const std::uint64_t size = std::filesystem::file_size(file);
  std::uint64_t header_size = 0;
  file_.read(reinterpret_cast<char*>(&header_size), sizeof header_size);
  if (!file_ || header_size > size - sizeof header_size) corrupt(file, "its header is cut off");
  std::string header(header_size, '\0');
  file_.read(header.data(), static_cast<std::streamsize>(header_size));
  data_start_ = sizeof header_size + header_size;
  try {
    const json entries = json::parse(header);
    for (const auto& [name, entry] : entries.items()) {
      if (name == "__metadata__") continue;
      const auto& range = entry.at("data_offsets");
      TensorInfo info{entry.at("dtype"), entry.at("shape"), range.at(0), range.at(1)};
      if (info.end < info.begin || info.end > size - data_start_ ||
          info.end - info.begin != elements(info.shape) * width_of(info.dtype))
        corrupt(file, "tensor " + name + " does not fit its place");
      tensors_.emplace(name, std::move(info));
    }
  } catch (const json::exception&) {
    corrupt(file, "its header is not what the format asks for");
  }
}

std::vector<double> SafetensorsReader::values(const std::string& name,
                                              const std::vector<std::int64_t>& shape) {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) throw Error("tensor-missing", path_.string() + " has no tensor " + name);
  const TensorInfo& info = found->second;
  if (info.shape != shape)
    throw Error("tensor-shape", path_.string() + ": " + name + " has the shape " + shape_text(info.shape) +
                                    ", the plan wants " + shape_text(shape));
  std::vector<char> bytes(info.end - info.begin);
  file_.seekg(static_cast<std::streamoff>(data_start_ + info.begin));
  if (!file_.read(bytes.data(), static_cast<std::streamsize>(bytes.size())))
    corrupt(path_, name + " is cut off");
  if (info.dtype == "F64") return convert<double>(bytes, [](double x) { return x; });
  if (info.dtype == "F32") return convert<float>(bytes, [](float x) { return double{x}; });
  if (info.dtype == "F16") return convert<std::uint16_t>(bytes, half_to_double);
  if (info.dtype == "BF16")
    return convert<std::uint16_t>(
        bytes, [](std::uint16_t x) { return double{std::bit_cast<float>(std::uint32_t{x} << 16)}; });
  throw Error("tensor-type", path_.string() + ": " + name + " is of type " + info.dtype +
                                 "; weights are F64, F32, BF16 or F16");
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& file,
                                     const std::vector<Declaration>& tensors)
    : file_(file) {
  json header = json::object();
  std::uint64_t offset = 0;
  for (const Declaration& tensor : tensors) {
    const std::uint64_t end = offset + elements(tensor.shape) * width_of(tensor.dtype);
    header[tensor.name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // tensors stay aligned
  const std::uint64_t size = text.size();
  write(&size, sizeof size);
  write(text.data(), text.size());
}

void SafetensorsWriter::write(const void* data, std::size_t bytes) {
  crc_ = crc32c(data, bytes, crc_);
  file_.write(data, bytes);
}

std::uint32_t SafetensorsWriter::finish() {
  file_.sync();
  file_.close();
  return crc_;
}

}  // namespace striped
