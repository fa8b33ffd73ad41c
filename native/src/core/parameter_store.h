// Parameters on the device: flat masters, gradients and moments, and what the operators read.
#pragma once

#include <functional>
#include <vector>

#include "core/device_buffer.h"
#include "core/parameters.h"
#include "core/safetensors.h"

namespace striped {

class ParameterStore {
 public:
  enum class Keep : std::uint8_t { weights, gradients, optimizer };  // each includes the ones before it

  ParameterStore(const ParameterTable& table, Backend& backend, Keep keep);

  const ParameterTable& table() const { return table_; }
  Backend& backend() const { return backend_; }

  // What an operator reads: the activation type for dense parameters, "real" for others.
  const void* weight(int parameter) const;
  // Gradients of what weight() gives, "real".
  void* gradient(int parameter) const;

  void initialise(std::uint64_t seed, std::int64_t sequence);
  // The same spread of values in a fraction of the time, for measuring: large matrices repeat their first
  // values.
  void initialise_roughly(std::uint64_t seed, std::int64_t sequence);
  // Public values (log_poles, not p) from a weights file; it must hold exactly the table's names and shapes.
  void load(SafetensorsReader& file);
  void save(const std::filesystem::path& file, std::uint32_t& crc) const;
  // Moments, and the masters of the log_poles as they are learnt: with save()'s file, all there is.
  void load_optimizer(SafetensorsReader& file);
  void save_optimizer(const std::filesystem::path& file, std::uint32_t& crc) const;
  void save_gradients(const std::filesystem::path& file) const;

  // Public values of one parameter, and setting them (tests).
  std::vector<double> values(int parameter) const;
  void set_values(int parameter, const std::vector<double>& values);
  std::vector<double> gradient_values(int parameter) const;

  void zero_gradients();
  // One AdamW step over all: `step` and `squared_norm` lie on the device; *squared_norm receives Σ g².
  void update(const AdamWSettings& settings, const OptimizerStep* step, double* squared_norm);

  // Flat gradients, for sums over ranks.
  void* gradients() const { return gradients_.at(); }
  std::int64_t count() const { return table_.size(); }

  std::size_t weight_bytes() const;
  std::size_t gradient_bytes() const { return gradients_.bytes(); }
  std::size_t optimizer_bytes() const { return moment1_.bytes() + moment2_.bytes(); }

  // What these buffers take, without allocating them.
  struct Bytes {
    std::size_t weights, gradients, optimizer;
  };
  static Bytes bytes(const ParameterTable& table, DType activation, Keep keep);

 private:
  std::size_t place(const Parameter& parameter) const;
  std::vector<double> read(const DeviceBuffer& buffer, std::size_t byte, std::int64_t count) const;
  void write(const DeviceBuffer& buffer, std::size_t byte, const std::vector<double>& values,
             ThreadPool& threads) const;
  // Sets the master and, for a dense parameter, its compute copy.
  void set_master(const Parameter& parameter, const std::vector<double>& values, ThreadPool& threads);
  void set_values(int parameter, const std::vector<double>& values, ThreadPool& threads);
  void set_log_poles();
  // Repeats the first `bytes` bytes at `first` until `all` are filled.
  void repeat(void* first, std::size_t bytes, std::size_t all) const;
  void write_file(const std::filesystem::path& file,
                  const std::vector<SafetensorsWriter::Declaration>& tensors,
                  const std::function<std::vector<double>(std::size_t)>& values, std::uint32_t& crc) const;
  std::string real_name() const { return real_ == 8 ? "F64" : "F32"; }

  const ParameterTable& table_;
  Backend& backend_;
  std::size_t real_;  // bytes of a "real"
  DeviceBuffer masters_, gradients_, moment1_, moment2_;
  DeviceBuffer compute_;    // dense region in the activation type; empty where that is "real"
  DeviceBuffer log_poles_;  // -exp(masters) of the log_pole region
};

}  // namespace striped
