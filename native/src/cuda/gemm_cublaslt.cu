// Dense layers through cuBLASLt. Row-major y[rows, out] is column-major y[out, rows], so
//   forward         y[out, rows]  = wᵀ · x          w as [in, out] transposed, x as [in, rows]
//   input gradient  dx[in, rows]  = w · dy
//   weight gradient dw[in, out]   = x · dyᵀ         summed over rows, into fp32
// In FP8 both operands need the summed dimension contiguous: w, and x with dy, are quantised transposed
// there.
#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "gemm.h"
#include "library_loader.h"
#include "operators.h"
#include "striped/error.h"
#include "vector.cuh"

namespace striped::cuda {
namespace {

constexpr std::size_t kWorkspace = std::size_t{64} << 20;
constexpr int kCandidates = 8;
constexpr int kTimedRuns = 3;

cublaslt::Functions load_functions() {
  const Library library({"libcublasLt.so.13", "libcublasLt.so.12"}, "matrix products on the GPU");
  cublaslt::Functions f{};
  library.bind(f.create, "cublasLtCreate");
  library.bind(f.destroy, "cublasLtDestroy");
  library.bind(f.matmul_descriptor_create, "cublasLtMatmulDescCreate");
  library.bind(f.matmul_descriptor_destroy, "cublasLtMatmulDescDestroy");
  library.bind(f.matmul_descriptor_set, "cublasLtMatmulDescSetAttribute");
  library.bind(f.layout_create, "cublasLtMatrixLayoutCreate");
  library.bind(f.layout_destroy, "cublasLtMatrixLayoutDestroy");
  library.bind(f.preference_create, "cublasLtMatmulPreferenceCreate");
  library.bind(f.preference_destroy, "cublasLtMatmulPreferenceDestroy");
  library.bind(f.preference_set, "cublasLtMatmulPreferenceSetAttribute");
  library.bind(f.heuristics, "cublasLtMatmulAlgoGetHeuristic");
  library.bind(f.matmul, "cublasLtMatmul");
  return f;
}

std::size_t bytes_of(cudaDataType_t type) { return type == CUDA_R_32F ? 4 : type == CUDA_R_16BF ? 2 : 1; }

__device__ unsigned scramble(unsigned value) {
  value = (value ^ value >> 16) * 0x7feb352dU;
  value = (value ^ value >> 15) * 0x846ca68bU;
  return value ^ value >> 16;
}

// Uniform values in [-1, 1) as operands to time with: data of a real spread, unlike zeros.
template <class T>
__global__ void fill(std::int64_t count, T* target) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += stride) {
    if constexpr (sizeof(T) == 1) {
      // Bytes with the highest exponent bit clear are ordinary numbers in both FP8 formats.
      target[i] = static_cast<T>(scramble(static_cast<unsigned>(i)) & 0xbf);
    } else {
      target[i] = from_float<T>(static_cast<float>(scramble(static_cast<unsigned>(i))) * 0x1p-31f - 1.0f);
    }
  }
}

// A fingerprint of words and their places; integer sums do not depend on the order.
__global__ void fingerprint(std::int64_t words, const unsigned* data, unsigned long long* result) {
  unsigned long long sum = 0;
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < words;
       i += stride) {
    const unsigned place = static_cast<unsigned>(i);
    sum += static_cast<unsigned long long>(scramble(data[i] ^ scramble(place))) << 20 ^
           scramble(data[i] + place);
  }
  atomicAdd(result, sum);
}

void fill_operand(cudaDataType_t type, std::int64_t count, void* target, cudaStream_t stream) {
  if (type == CUDA_R_32F) {
    fill<<<1024, 256, 0, stream>>>(count, static_cast<float*>(target));
  } else if (type == CUDA_R_16BF) {
    fill<<<1024, 256, 0, stream>>>(count, static_cast<bf16*>(target));
  } else {
    fill<<<1024, 256, 0, stream>>>(count, static_cast<std::uint8_t*>(target));
  }
  check_launch("fill_operand");
}

// What tuning chose on each device, for all backends of this process: choosing takes longer than many a step.
class Choices {
 public:
  std::optional<cublaslt::Algorithm> find(int device, const Product& product) {
    const std::lock_guard lock(mutex_);
    const auto found = choices_.find({device, product});
    return found == choices_.end() ? std::nullopt : std::optional(found->second);
  }
  void add(int device, const Product& product, const cublaslt::Algorithm& algorithm) {
    const std::lock_guard lock(mutex_);
    choices_.insert_or_assign({device, product}, algorithm);
  }

 private:
  std::mutex mutex_;
  std::map<std::pair<int, Product>, cublaslt::Algorithm> choices_;
};

Choices& choices() {
  static Choices result;
  return result;
}

// Memory that is needed while tuning only; null if there is no room.
class Temporary {
 public:
  explicit Temporary(std::size_t bytes) {
    if (cudaMalloc(&pointer_, bytes) != cudaSuccess) {
      cudaGetLastError();
      pointer_ = nullptr;
    }
  }
  ~Temporary() { cudaFree(pointer_); }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  void* get() const { return pointer_; }

 private:
  void* pointer_ = nullptr;
};

class Stopwatch {
 public:
  Stopwatch() {
    check(cudaEventCreate(&start_), "Stopwatch");
    check(cudaEventCreate(&stop_), "Stopwatch");
  }
  ~Stopwatch() {
    cudaEventDestroy(start_);
    cudaEventDestroy(stop_);
  }
  template <class Work>
  float milliseconds(cudaStream_t stream, const Work& work) {
    check(cudaEventRecord(start_, stream), "Stopwatch");
    work();
    check(cudaEventRecord(stop_, stream), "Stopwatch");
    check(cudaEventSynchronize(stop_), "Stopwatch");
    float elapsed = 0;
    check(cudaEventElapsedTime(&elapsed, start_, stop_), "Stopwatch");
    return elapsed;
  }

 private:
  cudaEvent_t start_ = nullptr, stop_ = nullptr;
};

}  // namespace

struct Gemm::Plan {
  const cublaslt::Functions& lt;
  cublaslt::MatmulDescriptor descriptor = nullptr;
  cublaslt::Layout a = nullptr, b = nullptr, d = nullptr;
  std::vector<cublaslt::Algorithm> candidates;
  cublaslt::Algorithm best{};
  bool tuned = false;

  explicit Plan(const cublaslt::Functions& functions) : lt(functions) {}
  ~Plan() {
    if (a) lt.layout_destroy(a);
    if (b) lt.layout_destroy(b);
    if (d) lt.layout_destroy(d);
    if (descriptor) lt.matmul_descriptor_destroy(descriptor);
  }
};

Gemm::Gemm(Context& context, bool fp8) : context_(context), lt_(load_functions()) {
  check(lt_.create(&handle_), "cublasLtCreate");
  workspace_ = device_allocate(kWorkspace);
  if (fp8) fp8_ = std::make_unique<Fp8Quantizer>(context);
}

Gemm::~Gemm() {
  plans_.clear();
  cudaFree(workspace_);
  if (handle_) lt_.destroy(handle_);
}

void Gemm::check(int status, const char* what) const {
  if (status == cublaslt::kSuccess) return;
  throw Error("cuda-error",
              std::string("cuBLASLt failed in ") + what + " with status " + std::to_string(status) + ".");
}

Gemm::Plan& Gemm::plan_for(const Product& p, const ProductPointers& pointers) {
  auto& slot = plans_[p];
  if (slot) return *slot;
  auto plan = std::make_unique<Plan>(lt_);
  check(lt_.matmul_descriptor_create(&plan->descriptor, cublaslt::kCompute32F, CUDA_R_32F),
        "cublasLtMatmulDescCreate");
  const auto set = [&](int attribute, const auto& value) {
    check(lt_.matmul_descriptor_set(plan->descriptor, attribute, &value, sizeof value),
          "cublasLtMatmulDescSetAttribute");
  };
  set(cublaslt::kTransposeA, p.transpose_a ? cublaslt::kTranspose : cublaslt::kNoTranspose);
  set(cublaslt::kTransposeB, p.transpose_b ? cublaslt::kTranspose : cublaslt::kNoTranspose);
  if (p.bias) {
    set(cublaslt::kEpilogue, cublaslt::kEpilogueBias);
    set(cublaslt::kBiasPointer, pointers.bias);
  }
  if (pointers.scale_a) {
    set(cublaslt::kScaleA, pointers.scale_a);
    set(cublaslt::kScaleB, pointers.scale_b);
    set(cublaslt::kFastAccumulation, static_cast<std::int8_t>(p.fast_accumulation));
  }
  const auto layout = [&](cublaslt::Layout* target, cudaDataType_t type, std::int64_t rows,
                          std::int64_t columns) {
    check(lt_.layout_create(target, type, rows, columns, rows), "cublasLtMatrixLayoutCreate");
  };
  layout(&plan->a, p.a, p.transpose_a ? p.k : p.m, p.transpose_a ? p.m : p.k);
  layout(&plan->b, p.b, p.transpose_b ? p.n : p.k, p.transpose_b ? p.k : p.n);
  layout(&plan->d, p.d, p.m, p.n);

  cublaslt::Preference preference = nullptr;
  check(lt_.preference_create(&preference), "cublasLtMatmulPreferenceCreate");
  const std::uint32_t schemes = cublaslt::kReductionNone | cublaslt::kReductionComputeType;
  lt_.preference_set(preference, cublaslt::kMaxWorkspace, &kWorkspace, sizeof kWorkspace);
  lt_.preference_set(preference, cublaslt::kReductionSchemes, &schemes, sizeof schemes);
  std::array<cublaslt::HeuristicResult, kCandidates> results{};
  int found = 0;
  const int status = lt_.heuristics(handle_, plan->descriptor, plan->a, plan->b, plan->d, plan->d, preference,
                                    kCandidates, results.data(), &found);
  lt_.preference_destroy(preference);
  for (int i = 0; i < found; ++i) {
    if (results[i].status == cublaslt::kSuccess) plan->candidates.push_back(results[i].algorithm);
  }
  if (status != cublaslt::kSuccess || plan->candidates.empty()) {
    throw Error("cuda-error", "cuBLASLt has no algorithm for a product of m = " + std::to_string(p.m) +
                                  ", n = " + std::to_string(p.n) + ", k = " + std::to_string(p.k) +
                                  " (status " + std::to_string(status) + "); a newer cuBLAS may have one.");
  }
  plan->best = plan->candidates.front();
  slot = std::move(plan);
  return *slot;
}

// Times the candidates on operands of its own and keeps the fastest. Only candidates that give the very bits
// of the library's first choice take part, so that the choice, which depends on timings, never changes a
// result.
void Gemm::tune(Plan& plan, const Product& p) {
  plan.tuned = true;
  if (plan.candidates.size() < 2) return;
  if (const auto chosen = choices().find(context_.device, p)) {
    plan.best = *chosen;
    return;
  }
  const std::int64_t size_a = p.m * p.k, size_b = p.k * p.n, size_d = p.m * p.n;
  const std::size_t bytes_d = (size_d * bytes_of(p.d) + 3) / 4 * 4;
  const Temporary a(size_a * bytes_of(p.a)), b(size_b * bytes_of(p.b)), d(bytes_d), extra(p.m * 4 + 4096);
  if (!a.get() || !b.get() || !d.get() || !extra.get()) return;
  fill_operand(p.a, size_a, a.get(), context_.stream);
  fill_operand(p.b, size_b, b.get(), context_.stream);
  cuda::check(cudaMemsetAsync(extra.get(), 0, p.m * 4 + 4096, context_.stream), "tune");
  auto* hash = static_cast<unsigned long long*>(extra.get());
  float* scales = static_cast<float*>(extra.get()) + 16;
  fill_operand(CUDA_R_32F, 32, scales, context_.stream);
  const bool fp8 = bytes_of(p.a) == 1;
  const ProductPointers pointers{a.get(),
                                 b.get(),
                                 d.get(),
                                 static_cast<char*>(extra.get()) + 256,
                                 fp8 ? scales : nullptr,
                                 fp8 ? scales + 16 : nullptr};
  Stopwatch watch;
  unsigned long long reference = 0;
  float fastest = 0;
  for (std::size_t i = 0; i < plan.candidates.size(); ++i) {
    const auto once = [&] { run(plan, p, pointers, plan.candidates[i]); };
    unsigned long long found = 0;
    cuda::check(cudaMemsetAsync(d.get(), 0, bytes_d, context_.stream), "tune");
    cuda::check(cudaMemsetAsync(hash, 0, sizeof *hash, context_.stream), "tune");
    once();
    fingerprint<<<1024, 256, 0, context_.stream>>>(bytes_d / 4, static_cast<const unsigned*>(d.get()), hash);
    check_launch("fingerprint");
    cuda::check(cudaMemcpyAsync(&found, hash, sizeof found, cudaMemcpyDeviceToHost, context_.stream), "tune");
    cuda::check(cudaStreamSynchronize(context_.stream), "tune");
    if (i == 0) reference = found;
    if (found != reference) continue;
    float best = 0;
    for (int repeat = 0; repeat < kTimedRuns; ++repeat) {
      const float elapsed = watch.milliseconds(context_.stream, once);
      best = repeat == 0 ? elapsed : std::min(best, elapsed);
    }
    if (i == 0 || best < fastest) {
      fastest = best;
      plan.best = plan.candidates[i];
    }
  }
  choices().add(context_.device, p, plan.best);
}

void Gemm::run(const Plan& plan, const Product& p, const ProductPointers& pointers,
               const cublaslt::Algorithm& algorithm) {
  const auto set = [&](int attribute, const void* pointer) {
    check(lt_.matmul_descriptor_set(plan.descriptor, attribute, &pointer, sizeof pointer),
          "cublasLtMatmulDescSetAttribute");
  };
  if (p.bias) set(cublaslt::kBiasPointer, pointers.bias);
  if (pointers.scale_a) {
    set(cublaslt::kScaleA, pointers.scale_a);
    set(cublaslt::kScaleB, pointers.scale_b);
  }
  const float alpha = 1.0f, beta = p.accumulate ? 1.0f : 0.0f;
  check(
      lt_.matmul(handle_, plan.descriptor, &alpha, pointers.a, plan.a, pointers.b, plan.b, &beta, pointers.d,
                 plan.d, pointers.d, plan.d, &algorithm, workspace_, kWorkspace, context_.stream),
      "cublasLtMatmul");
}

void Gemm::multiply(const Product& p, const ProductPointers& pointers) {
  Plan& plan = plan_for(p, pointers);
  if (!plan.tuned && recording_id(context_.stream) == 0) tune(plan, p);
  run(plan, p, pointers, plan.best);
}

bool Gemm::runs_fp8(const DenseShape& s) const {
  return fp8_ && s.allow_fp8 && s.site >= 0 && s.site < kMaxSites && s.rows % 16 == 0 && s.in % 16 == 0 &&
         s.out % 16 == 0;
}

const void* Gemm::bias_in_activation_type(const DenseShape& s, const float* bias) {
  if (!bias || context_.type == ElementType::f32) return bias;
  void* converted = bias_.reserve<bf16>(s.out, context_);
  convert_real(context_, s.out, bias, converted);
  return converted;
}

void Gemm::use_fp8(Product& p, ProductPointers& pointers, const Fp8Operand& a, const Fp8Operand& b,
                   cudaDataType_t b_type) {
  p.transpose_a = true, p.transpose_b = false, p.a = CUDA_R_8F_E4M3, p.b = b_type;
  pointers.a = a.data, pointers.b = b.data, pointers.scale_a = a.scale, pointers.scale_b = b.scale;
}

void Gemm::dense(const DenseShape& s, const void* x, const void* w, const float* bias, void* y) {
  if (s.rows == 0) return;
  const cudaDataType_t type = context_.type == ElementType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
  Product p{s.out, s.rows, s.in, true, false, false, bias != nullptr, true, type, type, type};
  ProductPointers pointers{w, x, y, bias_in_activation_type(s, bias), nullptr, nullptr};
  if (runs_fp8(s)) {
    use_fp8(p, pointers, fp8_->row_major({Fp8Role::weight, s.site, s.out, s.in, w}),
            fp8_->row_major({Fp8Role::input, s.site, s.rows, s.in, x}), CUDA_R_8F_E4M3);
  }
  multiply(p, pointers);
}

void Gemm::dense_input_gradient(const DenseShape& s, const void* dy, const void* w, void* dx,
                                bool accumulate) {
  if (s.rows == 0) return;
  const cudaDataType_t type = context_.type == ElementType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
  Product p{s.in, s.rows, s.out, false, false, accumulate, false, false, type, type, type};
  ProductPointers pointers{w, dy, dx, nullptr, nullptr, nullptr};
  if (runs_fp8(s)) {
    use_fp8(p, pointers, fp8_->transposed({Fp8Role::weight, s.site, s.out, s.in, w}),
            fp8_->gradient({Fp8Role::gradient, s.site, s.rows, s.out, dy}, false), CUDA_R_8F_E5M2);
  }
  multiply(p, pointers);
}

void Gemm::dense_weight_gradient(const DenseShape& s, const void* dy, const void* x, float* dw,
                                 float* dbias) {
  if (s.rows == 0) return;
  const cudaDataType_t type = context_.type == ElementType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
  Product p{s.in, s.out, s.rows, false, true, true, false, false, type, type, CUDA_R_32F};
  ProductPointers pointers{x, dy, dw, nullptr, nullptr, nullptr};
  if (runs_fp8(s)) {
    use_fp8(p, pointers, fp8_->transposed({Fp8Role::input, s.site, s.rows, s.in, x}),
            fp8_->gradient({Fp8Role::gradient, s.site, s.rows, s.out, dy}, true), CUDA_R_8F_E5M2);
  }
  multiply(p, pointers);
  if (dbias) add_column_sums(context_, s.rows, s.out, dy, dbias);
}

unsigned* Gemm::watch(const void* data, std::int64_t count) {
  return fp8_ ? fp8_->watch(data, count) : nullptr;
}

void Gemm::forget(const void* data, std::size_t bytes) {
  if (fp8_) fp8_->forget(data, bytes);
}

void Gemm::forget_all() {
  if (fp8_) fp8_->forget_all();
}

}  // namespace striped::cuda
