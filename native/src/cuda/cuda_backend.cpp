// The CUDA backend: one stream, the operators of this folder, cuBLASLt and cuDNN.
#include <cuda_runtime.h>

#include <cstdio>
#include <utility>

#include "attention.h"
#include "device.h"
#include "fourier_plans.h"
#include "gemm.h"
#include "nccl_communicator.h"
#include "operators.h"
#include "shard_operators.h"
#include "striped/error.h"
#include "timeline.h"

namespace striped {
namespace cuda {
namespace {

constexpr int kOldestCapability = 80, kFp8Capability = 89;

// Dense FLOP/s of the tensor cores by the vendor's data sheets; fp32 runs on the CUDA cores.
struct Peak {
  const char* name;
  double fp32, bf16, fp8;
};
constexpr Peak kPeaks[] = {
    {"H200", 67e12, 989e12, 1979e12},      {"H100 PCIe", 51e12, 756e12, 1513e12},
    {"H100 NVL", 60e12, 835e12, 1671e12},  {"H100", 67e12, 989e12, 1979e12},
    {"H20", 44e12, 148e12, 296e12},        {"A100", 19.5e12, 312e12, 0},
    {"RTX 4090", 82.6e12, 165e12, 330e12}, {"L40S", 91.6e12, 362e12, 733e12},
};

enum class Precision { fp32, bf16, fp8 };

Precision parse_precision(const std::string& name) {
  if (name == "fp32") return Precision::fp32;
  if (name == "bf16") return Precision::bf16;
  if (name == "fp8") return Precision::fp8;
  throw Error("precision", "The CUDA backend computes in fp32, bf16 or fp8, not in " + name +
                               (name == "fp64" ? "; use --backend cpu for fp64." : "."));
}

// Checks driver and device before anything is allocated, so that what is missing is said plainly.
cudaDeviceProp open_device(int device, Precision precision) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver) {
    throw Error("no-cuda", "The NVIDIA driver is missing or older than CUDA " +
                               std::to_string(CUDART_VERSION / 1000) +
                               " needs; install a newer driver, or use --backend cpu.");
  }
  if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0)) {
    throw Error("no-cuda", "No NVIDIA GPU was found (is CUDA_VISIBLE_DEVICES set?); use --backend cpu.");
  }
  if (status != cudaSuccess) {
    throw Error("no-cuda",
                std::string("CUDA could not start: ") + cudaGetErrorString(status) + "; use --backend cpu.");
  }
  if (device < 0 || device >= count) {
    throw Error("no-cuda", "GPU " + std::to_string(device) + " was asked for, but there are " +
                               std::to_string(count) + ", numbered from 0.");
  }
  cudaDeviceProp properties;
  check(cudaSetDevice(device), "cudaSetDevice");
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  const int capability = properties.major * 10 + properties.minor;
  const int needed = precision == Precision::fp8 ? kFp8Capability : kOldestCapability;
  if (capability < needed) {
    throw Error("unsupported-gpu",
                std::string(properties.name) + " has compute capability " + std::to_string(properties.major) +
                    "." + std::to_string(properties.minor) + ", " +
                    (precision == Precision::fp8 ? "but FP8 needs 8.9; use precision bf16."
                                                 : "but 8.0 or later is needed; use --backend cpu."));
  }
  return properties;
}

const float* real(const void* pointer) { return static_cast<const float*>(pointer); }
float* real(void* pointer) { return static_cast<float*>(pointer); }

struct Event {
  cudaEvent_t event = nullptr;
  Event() { check(cudaEventCreate(&event), "cudaEventCreate"); }
  ~Event() { cudaEventDestroy(event); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
};

// The GPU's own number, which it keeps whatever the process sees of it.
std::string device_id(int device) {
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  std::string text = "GPU-";
  char byte[3];
  for (const char value : properties.uuid.bytes) {
    std::snprintf(byte, sizeof byte, "%02x", static_cast<unsigned char>(value));
    text += byte;
  }
  return text;
}

class CudaBackend final : public Backend {
 public:
  CudaBackend(Precision precision, int device) : precision_(precision) {
    const cudaDeviceProp properties = open_device(device, precision);
    context_.device = device;
    context_.name = properties.name;
    context_.multiprocessors = properties.multiProcessorCount;
    context_.capability = properties.major * 10 + properties.minor;
    context_.type = precision == Precision::fp32 ? ElementType::f32 : ElementType::bf16;
    check(cudaStreamCreateWithFlags(&context_.stream, cudaStreamNonBlocking), "cudaStreamCreate");
    gemm_ = std::make_unique<Gemm>(context_, precision == Precision::fp8);
    attention_ = std::make_unique<Attention>(context_);
    shards_ =
        make_shard_operators({context_, *attention_, [this] { enter(); },
                              [this](void* data, std::size_t bytes) { gemm_->forget(data, bytes); }, plans_});
  }
  ~CudaBackend() override {
    cudaStreamSynchronize(context_.stream);
    if (recording_) cudaGraphExecDestroy(recording_);
  }

  std::string name() const override { return "cuda"; }
  std::string device_name() const override {
    return attention_->missing().empty() ? context_.name : context_.name + " (attention without cuDNN)";
  }
  DType activation_type() const override {
    return context_.type == ElementType::bf16 ? DType::bf16 : DType::f32;
  }
  double peak_flops() const override {
    for (const Peak& peak : kPeaks) {
      if (context_.name.find(peak.name) == std::string::npos) continue;
      return precision_ == Precision::fp8 ? peak.fp8 : precision_ == Precision::bf16 ? peak.bf16 : peak.fp32;
    }
    return 0;
  }

  void* allocate(std::size_t bytes) override {
    enter();
    void* pointer = device_allocate(bytes);
#ifndef NDEBUG
    // All ones are NaN in every floating-point type.
    check(cudaMemsetAsync(pointer, 0xff, bytes, context_.stream), "poisoning memory");
#endif
    return pointer;
  }
  // Called by destructors, also while an error of the device is on its way to the user: it throws nothing.
  void release(void* pointer) override {
    ++context_.calls;
    gemm_->forget_all();
    cudaSetDevice(context_.device);
    cudaFree(pointer);
    cudaGetLastError();
  }
  void upload(void* device, const void* host, std::size_t bytes) override {
    enter();
    gemm_->forget(device, bytes);
    check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, context_.stream), "upload");
    // The caller may change its copy at once.
    check(cudaStreamSynchronize(context_.stream), "upload");
  }
  void download(void* host, const void* device, std::size_t bytes) override {
    enter();
    check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, context_.stream), "download");
    check(cudaStreamSynchronize(context_.stream), "download");
  }
  void zero(void* device, std::size_t bytes) override {
    enter();
    gemm_->forget(device, bytes);
    check(cudaMemsetAsync(device, 0, bytes, context_.stream), "zero");
  }
  void synchronize() override {
    enter();
    check(cudaStreamSynchronize(context_.stream), "synchronize");
  }

  void dense(const DenseShape& s, const void* x, const void* w, const void* bias, void* y) override {
    enter();
    gemm_->dense(s, x, w, real(bias), y);
  }
  void dense_input_gradient(const DenseShape& s, const void* dy, const void* w, void* dx,
                            bool accumulate) override {
    enter();
    gemm_->dense_input_gradient(s, dy, w, dx, accumulate);
  }
  void dense_weight_gradient(const DenseShape& s, const void* dy, const void* x, void* dw, void* dbias,
                             bool accumulate) override {
    enter();
    gemm_->dense_weight_gradient(s, dy, x, real(dw), real(dbias), accumulate);
  }

  void embedding(std::int64_t rows, std::int64_t width, const std::int32_t* tokens, const void* table,
                 void* x) override {
    enter();
    cuda::embedding(context_, rows, width, tokens, table, x);
  }
  void embedding_gradient(std::int64_t rows, std::int64_t width, std::int64_t vocab,
                          const std::int32_t* tokens, const void* dx, void* dtable) override {
    enter();
    cuda::embedding_gradient(context_, rows, width, vocab, tokens, dx, real(dtable));
  }

  void rms_norm(std::int64_t rows, std::int64_t width, double eps, const void* x, const void* branch,
                const void* w, void* sum, void* y, void* reciprocal_rms) override {
    enter();
    cuda::rms_norm(context_, rows, width, static_cast<float>(eps), x, branch, real(w), sum, y,
                   real(reciprocal_rms), gemm_->watch(y, rows * width));
  }
  void rms_norm_backward(std::int64_t rows, std::int64_t width, const void* sum, const void* w,
                         const void* reciprocal_rms, const void* dy, void* dx, void* dw) override {
    enter();
    cuda::rms_norm_backward(context_, rows, width, sum, real(w), real(reciprocal_rms), dy, dx, real(dw),
                            gemm_->watch(dx, rows * width));
  }
  void add(std::int64_t count, void* x, const void* y) override {
    enter();
    cuda::add(context_, count, x, y);
  }

  std::size_t hyena_kept(const HyenaShape& s) const override {
    enter();
    return cuda::hyena_kept(s, context_.type);
  }
  std::size_t hyena_workspace(const HyenaShape& s) const override {
    enter();
    return cuda::hyena_workspace(s, context_.type, plans_);
  }
  void hyena(const HyenaShape& s, const HyenaWeights& w, const void* z, void* y, void* kept,
             void* workspace) override {
    enter();
    hyena_forward(s, w, context_.type, z, y, kept, workspace, plans_, context_.stream);
  }
  void hyena_backward(const HyenaShape& s, const HyenaWeights& w, const void* z, const void* kept,
                      const void* dy, void* dz, const HyenaGradients& gradients, void* workspace) override {
    enter();
    cuda::hyena_backward(s, w, context_.type, z, kept, dy, dz, gradients, workspace, plans_, context_.stream);
  }

  std::size_t attention_workspace(const AttentionShape& s) const override {
    enter();
    return attention_->workspace(s);
  }
  void attention(const AttentionShape& s, const void* qkv, void* y, void* statistics,
                 void* workspace) override {
    enter();
    attention_->forward(s, qkv, y, real(statistics), workspace);
  }
  void attention_backward(const AttentionShape& s, const void* qkv, const void* y, const void* statistics,
                          const void* dy, void* dqkv, void* workspace) override {
    enter();
    attention_->backward(s, qkv, y, real(statistics), dy, dqkv, workspace);
  }

  void gated(std::int64_t rows, std::int64_t inner, Activation activation, const void* gu, void* y) override {
    enter();
    gemm_->forget(y, static_cast<std::size_t>(rows * inner) * size_of(activation_type()));
    cuda::gated(context_, rows, inner, activation, gu, y, gemm_->watch(y, rows * inner));
  }
  void gated_backward(std::int64_t rows, std::int64_t inner, Activation activation, const void* gu,
                      const void* dy, void* dgu) override {
    enter();
    cuda::gated_backward(context_, rows, inner, activation, gu, dy, dgu, gemm_->watch(dgu, 2 * rows * inner));
  }

  void cross_entropy(std::int64_t rows, std::int64_t vocab, void* logits, const std::int32_t* targets,
                     const float* weights, float total_weight, bool gradient, void* loss_sum) override {
    enter();
    cuda::cross_entropy(context_, rows, vocab, logits, targets, weights, total_weight, gradient,
                        real(loss_sum));
  }

  void squared_norm(std::int64_t count, const void* gradients, double* squared_norm) override {
    enter();
    cuda::squared_norm(context_, count, real(gradients), squared_norm);
  }
  void adamw(std::int64_t count, const AdamWSettings& settings, const OptimizerStep* step,
             const double* squared_norm, const void* gradients, void* parameters, void* moment1,
             void* moment2, void* compute) override {
    enter();
    if (compute) gemm_->forget(compute, static_cast<std::size_t>(count) * size_of(activation_type()));
    cuda::adamw(context_, count, settings, step, squared_norm, real(gradients), real(parameters),
                real(moment1), real(moment2), compute);
  }

  void negative_exponential(std::int64_t count, const void* x, void* y) override {
    enter();
    cuda::negative_exponential(context_, count, real(x), real(y));
  }
  void multiply(std::int64_t count, void* x, const void* y) override {
    enter();
    cuda::multiply(context_, count, real(x), real(y));
  }

  ShardOperators* shards() override { return shards_.get(); }
  std::unique_ptr<Communicator> join(const DeviceRanks& ranks) override {
    const auto will_change = [this](void* data, std::size_t bytes) { gemm_->forget(data, bytes); };
    return join_gpus({context_.device, context_.stream, will_change}, ranks);
  }
  std::string device_id() const override { return cuda::device_id(context_.device); }
  std::string first_step() const override {
    return "the first step also chooses kernels: on a new kind of device a second or two for each large "
           "matrix product";
  }

  bool can_record() const override { return true; }
  bool begin_recording() override {
    enter();
    check(cudaStreamBeginCapture(context_.stream, cudaStreamCaptureModeThreadLocal), "begin_recording");
    return true;
  }
  void end_recording() override {
    enter();
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(context_.stream, &graph), "end_recording");
    context_.recorded = true;
    if (recording_) cudaGraphExecDestroy(std::exchange(recording_, nullptr));
    const cudaError_t status = cudaGraphInstantiate(&recording_, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "end_recording");
  }
  void drop_recording() noexcept override {
    cudaGraph_t graph = nullptr;
    cudaStreamEndCapture(context_.stream, &graph);
    if (graph != nullptr) cudaGraphDestroy(graph);
    cudaGetLastError();
  }
  void replay() override {
    enter();
    gemm_->forget_all();
    check(cudaGraphLaunch(recording_, context_.stream), "replay");
  }

  double elapsed(const std::function<void()>& work) override {
    enter();
    const Event start, stop;
    check(cudaEventRecord(start.event, context_.stream), "elapsed");
    work();
    check(cudaEventRecord(stop.event, context_.stream), "elapsed");
    check(cudaEventSynchronize(stop.event), "elapsed");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, start.event, stop.event), "elapsed");
    return milliseconds * 1e-3;
  }
  std::unique_ptr<Timeline> timeline() override {
    enter();
    return std::make_unique<EventTimeline>(context_.stream);
  }
  DeviceMemory device_memory() const override {
    enter();
    return cuda::device_memory();
  }
  std::string driver() const override { return driver_version(); }
  void copy(void* to, const void* from, std::size_t bytes) override {
    enter();
    gemm_->forget(to, bytes);
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, context_.stream), "copy");
  }
  std::size_t cache_bytes() const override {
    int bytes = 0;
    check(cudaDeviceGetAttribute(&bytes, cudaDevAttrL2CacheSize, context_.device), "cache_bytes");
    return static_cast<std::size_t>(bytes);
  }

 private:
  // A thread starts out on device 0.
  void enter() const {
    check(cudaSetDevice(context_.device), "cudaSetDevice");
    ++context_.calls;
  }

  Precision precision_;
  mutable Context context_;
  mutable FourierPlans plans_;
  std::unique_ptr<Gemm> gemm_;
  std::unique_ptr<Attention> attention_;
  std::unique_ptr<ShardOperators> shards_;
  cudaGraphExec_t recording_ = nullptr;
};

}  // namespace
}  // namespace cuda

int cuda_device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

std::unique_ptr<Backend> make_cuda_backend(const std::string& precision, int device) {
  return std::make_unique<cuda::CudaBackend>(cuda::parse_precision(precision), device);
}

}  // namespace striped
