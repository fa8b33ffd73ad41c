// The safetensors format: eight bytes of header length, a JSON header, then the tensors, little-endian.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "core/file_io.h"

namespace striped {

struct TensorInfo {
  std::string dtype;  // F64 | F32 | BF16 | F16 are understood as values
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0, end = 0;  // bytes, from the first tensor on
};

class SafetensorsReader {
 public:
  // Errors: "read-failed", "safetensors-corrupt".
  explicit SafetensorsReader(const std::filesystem::path& file);

  const std::map<std::string, TensorInfo>& tensors() const { return tensors_; }
  // Errors: "tensor-missing", "tensor-shape", "tensor-type", "safetensors-corrupt".
  std::vector<double> values(const std::string& name, const std::vector<std::int64_t>& shape);

 private:
  std::filesystem::path path_;
  std::ifstream file_;
  std::uint64_t data_start_ = 0;
  std::map<std::string, TensorInfo> tensors_;
};

// Writes the tensors one by one in the order in which they were declared.
class SafetensorsWriter {
 public:
  struct Declaration {
    std::string name, dtype;
    std::vector<std::int64_t> shape;
  };
  SafetensorsWriter(const std::filesystem::path& file, const std::vector<Declaration>& tensors);
  void write(const void* data, std::size_t bytes);
  // Syncs and closes; returns the CRC-32C of the whole file.
  std::uint32_t finish();

 private:
  OutputFile file_;
  std::uint32_t crc_ = 0;
};

std::string shape_text(const std::vector<std::int64_t>& shape);

}  // namespace striped
