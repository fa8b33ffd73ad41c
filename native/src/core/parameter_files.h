// Parameters, moments and gradients in safetensors files: always whole tensors, whatever a rank holds.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/parameter_store.h"
#include "core/safetensors.h"

namespace striped {

struct StoredTensor {
  int parameter;
  Stored what;
  std::string name;  // in the file
};

std::vector<StoredTensor> weight_tensors(const ParameterTable& table);
std::vector<StoredTensor> gradient_tensors(const ParameterTable& table);
// Moments, and the masters of the log_poles as they are learnt: with the weights, all there is.
std::vector<StoredTensor> optimizer_tensors(const ParameterTable& table);

// Where whole tensors come from and go to. The ranks of a run ask for the same tensors in the same order, and
// one of them reads and writes the files.
class WholeTensors {
 public:
  virtual ~WholeTensors() = default;
  virtual bool has_files() const = 0;
  // The values, on the rank that has the files.
  virtual std::vector<double> collect(const StoredTensor& tensor) = 0;
  // Sets the store from `values`, which the rank that has the files gives.
  virtual void spread(const StoredTensor& tensor, const std::vector<double>& values, ThreadPool& threads) = 0;
};

// Of a store that holds everything.
class LocalTensors final : public WholeTensors {
 public:
  explicit LocalTensors(ParameterStore& store) : store_(store) {}
  bool has_files() const override { return true; }
  std::vector<double> collect(const StoredTensor& tensor) override {
    return store_.own_values(tensor.parameter, tensor.what);
  }
  void spread(const StoredTensor& tensor, const std::vector<double>& values, ThreadPool& threads) override {
    store_.set_whole(tensor.parameter, tensor.what, values, threads);
  }

 private:
  ParameterStore& store_;
};

// Writes a file of "real" values; returns its CRC-32C.
std::uint32_t write_tensors(const std::filesystem::path& file, const std::vector<StoredTensor>& tensors,
                            const ParameterStore& store, WholeTensors& whole);
// Reads tensors of the table's names and shapes; `exactly`: and refuses a file that holds others.
void read_tensors(const std::filesystem::path& file, const std::vector<StoredTensor>& tensors,
                  const ParameterStore& store, WholeTensors& whole, bool exactly);

}  // namespace striped
