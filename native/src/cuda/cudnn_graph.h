// Builds and runs operation graphs of cuDNN's C interface.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cudnn_api.h"

namespace striped::cuda::cudnn {

using Dimensions = std::array<std::int64_t, 4>;

// cuDNN with one handle on one stream. Throws Error "no-cuda" where libcudnn.so.9 is missing.
class Session {
 public:
  explicit Session(cudaStream_t);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const Functions& functions() const { return functions_; }
  Handle handle() const { return handle_; }
  cudaStream_t stream() const { return stream_; }
  // Throws Error "cudnn" with the library's own words.
  void check(int status, const char* what) const;

 private:
  cudaStream_t stream_;
  Functions functions_{};
  Handle handle_ = nullptr;
};

class Descriptor {
 public:
  Descriptor(const Session&, Kind);
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept
      : session_(other.session_), raw_(std::exchange(other.raw_, nullptr)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor& operator=(Descriptor&&) = delete;

  void set(Attribute, Type, std::int64_t count, const void* values);
  template <class Value>
  void set(Attribute attribute, Type type, const Value& value) {
    set(attribute, type, 1, &value);
  }
  void set(Attribute attribute, const Descriptor& other) { set(attribute, Type::descriptor, 1, &other.raw_); }
  void finalize(const char* what);
  RawDescriptor raw() const { return raw_; }

 private:
  const Session& session_;
  RawDescriptor raw_ = nullptr;
};

// One array of a graph: in memory, a scalar by value, or virtual (between operations, never in memory).
struct Tensor {
  std::shared_ptr<Descriptor> descriptor;
  std::int64_t id = 0;
  Dimensions dimensions{}, strides{};
  Data type = Data::float32;
};

// A finished graph with the engine that the library ranks first.
class Plan {
 public:
  Plan(const Session&, Descriptor plan, std::size_t workspace, bool deterministic,
       std::map<std::int64_t, float> scalars);
  std::size_t workspace() const { return workspace_; }
  bool deterministic() const { return deterministic_; }
  void run(const std::vector<std::pair<std::int64_t, const void*>>& arrays, void* workspace) const;

 private:
  const Session& session_;
  Descriptor plan_;
  std::size_t workspace_;
  bool deterministic_;
  std::map<std::int64_t, float> scalars_;
};

class Graph {
 public:
  explicit Graph(const Session& session) : session_(session) {}

  Tensor array(Data, const Dimensions& dimensions, const Dimensions& strides);
  Tensor scalar(float);
  Tensor virtual_array(Data, const Dimensions& dimensions, const Dimensions& strides);

  // Results are virtual unless an output is given. `compute` is the type of the arithmetic.
  Tensor pointwise(Pointwise, const Tensor& x, const Tensor* b = nullptr, const Tensor* t = nullptr,
                   Data result = Data::float32, Data compute = Data::float32,
                   const std::optional<Tensor>& output = {}, std::int64_t axis = -1);
  void matmul(const Tensor& a, const Tensor& b, const Tensor& c);
  void reduce(Reduction, const Tensor& x, const Tensor& y);
  void reshape(const Tensor& x, const Tensor& y);

  // The first of the library's engines that supports the graph, deterministic ones only where asked for;
  // throws Error "cudnn" where there is none.
  Plan build(bool deterministic_only);

 private:
  Tensor make(Data, const Dimensions&, const Dimensions&, bool is_virtual, bool by_value);

  const Session& session_;
  std::vector<Descriptor> operations_, parts_;
  std::vector<std::shared_ptr<Descriptor>> tensors_;
  std::map<std::int64_t, float> scalars_;
  std::int64_t next_id_ = 1;
};

}  // namespace striped::cuda::cudnn
