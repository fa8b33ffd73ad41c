// Dense layers through cuBLASLt. Row-major y[rows, out] is column-major y[out, rows], so
//   forward         y[out, rows]  = wᵀ · x          w as [in, out] transposed, x as [in, rows]
//   input gradient  dx[in, rows]  = w · dy
//   weight gradient dw[in, out]   = x · dyᵀ         summed over rows, into fp32
// In FP8 both operands need the summed dimension contiguous: w, and x with dy, are quantised transposed
// there.
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "core/choice_file.h"
#include "gemm.h"
#include "gemm_tuning.h"
#include "library_loader.h"
#include "operators.h"
#include "striped/error.h"
#include "vector.cuh"

namespace striped::cuda {
namespace {

constexpr std::size_t kWorkspace = std::size_t{64} << 20;
constexpr int kCandidates = 8;

cublaslt::Functions load_functions() {
  const Library library({"libcublasLt.so.13", "libcublasLt.so.12"}, "matrix products on the GPU");
  cublaslt::Functions f{};
  library.bind(f.version, "cublasLtGetVersion");
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

// What tuning chose, for all backends of this process. Choices that took longer than many a step are kept for
// later ones.
ChoiceFile& choices(Tuning tuning) {
  static ChoiceFile brief{std::filesystem::path()}, sustained(cache_file("matrix-products.json"));
  return tuning == Tuning::brief ? brief : sustained;
}

// What a choice depends on.
std::string name_of(const std::string& device, std::size_t version, const Product& p) {
  std::string name = device + ", cuBLASLt " + std::to_string(version) + ":";
  for (const std::int64_t part : {p.m, p.n, p.k, static_cast<std::int64_t>(p.a),
                                  static_cast<std::int64_t>(p.b), static_cast<std::int64_t>(p.d)})
    name += " " + std::to_string(part);
  for (const bool flag : {p.transpose_a, p.transpose_b, p.accumulate, p.bias, p.fast_accumulation})
    name += flag ? " 1" : " 0";
  return name;
}

std::string text_of(const cublaslt::Algorithm& algorithm) {
  std::string text;
  for (const std::uint64_t word : algorithm.data) text += std::to_string(word) + " ";
  return text;
}

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

// Replaces the library's first choice by the fastest candidate. Not while a step is recorded.
void Gemm::tune(Plan& plan, const Product& p) {
  plan.tuned = true;
  if (plan.candidates.size() < 2) return;
  const std::string name = name_of(context_.name, lt_.version(), p);
  for (const Tuning earlier : {Tuning::sustained, Tuning::brief}) {
    const auto chosen = choices(earlier).find(name);
    // The file may not be ours: only what the library itself proposes is run.
    const auto known =
        std::find_if(plan.candidates.begin(), plan.candidates.end(),
                     [&](const auto& candidate) { return chosen && text_of(candidate) == *chosen; });
    if (known == plan.candidates.end()) continue;
    plan.best = *known;
    return;
  }
  const Tuning tuning = tuning_of(p);
  const auto best = fastest_candidate(context_, p, tuning, plan.candidates.size(),
                                      [&](std::size_t candidate, const ProductPointers& pointers) {
                                        run(plan, p, pointers, plan.candidates[candidate]);
                                      });
  if (!best) return;
  plan.best = plan.candidates[*best];
  choices(tuning).add(name, text_of(plan.best));
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

void Gemm::dense_weight_gradient(const DenseShape& s, const void* dy, const void* x, float* dw, float* dbias,
                                 bool accumulate) {
  if (s.rows == 0) {
    const std::size_t bytes = static_cast<std::size_t>(s.in * s.out) * sizeof *dw;
    if (!accumulate) cuda::check(cudaMemsetAsync(dw, 0, bytes, context_.stream), "cudaMemsetAsync");
    return;
  }
  const cudaDataType_t type = context_.type == ElementType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
  Product p{s.in, s.out, s.rows, false, true, accumulate, false, false, type, type, CUDA_R_32F};
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
