#include "gemm_tuning.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string_view>

#include "vector.cuh"

namespace striped::cuda {
namespace {

// Under the power limit the algorithm that takes the least energy is the fastest. It takes this long to set
// in, and its ripple this long to even out (docs/kernels.md, Matrix products).
constexpr double kFirstSettleMilliseconds = 150, kSettleMilliseconds = 40, kSustainedMilliseconds = 100;
constexpr double kSustainedFlops = 2e11;
constexpr int kBriefRuns = 3;

std::size_t bytes_of(cudaDataType_t type) { return type == CUDA_R_32F ? 4 : type == CUDA_R_16BF ? 2 : 1; }

__device__ unsigned scramble(unsigned value) {
  value = (value ^ value >> 16) * 0x7feb352dU;
  value = (value ^ value >> 15) * 0x846ca68bU;
  return value ^ value >> 16;
}

// Of a trial: [summed, others], the one or the other contiguous.
struct Operand {
  std::int64_t summed, others;
  bool summed_is_contiguous;
  bool negated_mirror;
};

// Of many sizes, so that few partial sums are exact.
template <class T>
__device__ T random_value(unsigned place, float largest) {
  const float uniform = static_cast<float>(scramble(place)) * 0x1p-31f - 1.0f;
  return from_float<T>(uniform * uniform * uniform * largest);
}
// Bytes without both of the highest exponent bits are finite in both FP8 formats.
template <>
__device__ std::uint8_t random_value(unsigned place, float /*largest*/) {
  const unsigned byte = scramble(place) & 0xff;
  return static_cast<std::uint8_t>((byte & 0x60) == 0x60 ? byte & ~0x20U : byte);
}
template <class T>
__device__ T negated(T value) {
  return -value;
}
template <>
__device__ std::uint8_t negated(std::uint8_t value) {
  return value ^ 0x80;
}

// Data of a real spread to time with, unlike zeros. The second half of the summed dimension mirrors the
// first, in one of the two operands with the other sign, so all sums are zero but for the rounding of partial
// sums: who adds in another order has other bits nearly everywhere, which results of ordinary size, rounded
// to bf16, show once in some ten thousand.
template <class T>
__global__ void fill_operand(Operand operand, T* target) {
  const std::int64_t count = operand.summed * operand.others, half = operand.summed / 2;
  const std::int64_t stride = operand.summed_is_contiguous ? 1 : operand.others;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  const unsigned salt = operand.negated_mirror ? 0x9e3779b9U : 0;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += step) {
    const std::int64_t place = operand.summed_is_contiguous ? i % operand.summed : i / operand.others;
    const std::int64_t mirrored = 2 * half - 1 - place;
    const std::int64_t source = place < half ? i : i + (mirrored - place) * stride;
    const T value = random_value<T>(static_cast<unsigned>(source) + salt, 1.0f);
    target[i] = mirrored < 0 ? T(0) : place >= half && operand.negated_mirror ? negated(value) : value;
  }
}

template <class T>
__global__ void fill(std::int64_t count, float largest, T* target) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += step) {
    target[i] = random_value<T>(static_cast<unsigned>(i), largest);
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

// Calls `with` with the pointer as one to values of the type.
template <class With>
void with_type(cudaDataType_t type, void* values, const With& with) {
  if (type == CUDA_R_32F) return with(static_cast<float*>(values));
  if (type == CUDA_R_16BF) return with(static_cast<bf16*>(values));
  with(static_cast<std::uint8_t*>(values));
}

void fill_operand(cudaDataType_t type, const Operand& operand, void* target, cudaStream_t stream) {
  with_type(type, target, [&](auto* typed) { fill_operand<<<1024, 256, 0, stream>>>(operand, typed); });
  check_launch("fill_operand");
}

void fill(cudaDataType_t type, std::int64_t count, float largest, void* target, cudaStream_t stream) {
  with_type(type, target, [&](auto* typed) { fill<<<1024, 256, 0, stream>>>(count, largest, typed); });
  check_launch("fill");
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

// Operands of a product and what its results are compared by, all in memory of their own.
class Trial {
 public:
  Trial(Context& context, const Product& product)
      : context_(context),
        type_d_(product.d),
        bytes_d_((product.m * product.n * bytes_of(product.d) + 3) / 4 * 4),
        a_(product.m * product.k * bytes_of(product.a)),
        b_(product.k * product.n * bytes_of(product.b)),
        d_(bytes_d_),
        extra_(product.m * 4 + kBias) {
    if (!fits()) return;
    const Operand a{product.k, product.m, product.transpose_a, true};
    const Operand b{product.k, product.n, !product.transpose_b, false};
    fill_operand(product.a, a, a_.get(), context.stream);
    fill_operand(product.b, b, b_.get(), context.stream);
    fill(product.d, product.m, kSmall, bias(), context.stream);
    if (bytes_of(product.a) == 1) {
      scales_ = static_cast<float*>(extra_.get()) + 16;
      fill(CUDA_R_32F, 32, 1.0f, scales_, context.stream);
    }
  }

  bool fits() const { return a_.get() && b_.get() && d_.get() && extra_.get(); }

  ProductPointers pointers() const {
    return {a_.get(), b_.get(), d_.get(), bias(), scales_, scales_ ? scales_ + 16 : nullptr};
  }

  // Of what `work` writes.
  template <class Work>
  unsigned long long result_of(const Work& work) {
    auto* hash = static_cast<unsigned long long*>(extra_.get());
    unsigned long long found = 0;
    fill(type_d_, static_cast<std::int64_t>(bytes_d_ / bytes_of(type_d_)), kSmall, d_.get(), context_.stream);
    check(cudaMemsetAsync(hash, 0, sizeof *hash, context_.stream), "Trial");
    work();
    fingerprint<<<1024, 256, 0, context_.stream>>>(bytes_d_ / 4, static_cast<const unsigned*>(d_.get()),
                                                   hash);
    check_launch("fingerprint");
    check(cudaMemcpyAsync(&found, hash, sizeof found, cudaMemcpyDeviceToHost, context_.stream), "Trial");
    check(cudaStreamSynchronize(context_.stream), "Trial");
    return found;
  }

 private:
  static constexpr std::size_t kBias = 256;  // behind the fingerprint and the scales
  // What is added to the sums, of the size of their rounding, which it must not drown.
  static constexpr float kSmall = 0x1p-22f;

  void* bias() const { return static_cast<char*>(extra_.get()) + kBias; }

  Context& context_;
  cudaDataType_t type_d_;
  std::size_t bytes_d_;
  Temporary a_, b_, d_, extra_;
  float* scales_ = nullptr;
};

// Milliseconds of one run: the least of a few.
template <class Work>
double brief_time(Stopwatch& watch, cudaStream_t stream, const Work& once) {
  double best = watch.milliseconds(stream, once);
  for (int repeat = 1; repeat < kBriefRuns; ++repeat) {
    best = std::min<double>(best, watch.milliseconds(stream, once));
  }
  return best;
}

// Milliseconds of one run among many, at the clocks that the device can keep.
template <class Work>
double sustained_time(Stopwatch& watch, cudaStream_t stream, double settle, const Work& once) {
  const double estimate = watch.milliseconds(stream, once);
  const auto runs_in = [&](double milliseconds) {
    return static_cast<int>(std::ceil(milliseconds / estimate));
  };
  for (int run = 0; run < runs_in(settle); ++run) once();
  const int timed = runs_in(kSustainedMilliseconds);
  return watch.milliseconds(stream, [&] {
    for (int run = 0; run < timed; ++run) once();
  }) / timed;
}

}  // namespace

Tuning tuning_of(const Product& product) {
  const char* const wanted = std::getenv("STRIPED_TUNING");
  const double flops =
      2.0 * static_cast<double>(product.m) * static_cast<double>(product.n) * static_cast<double>(product.k);
  const bool brief = flops < kSustainedFlops || (wanted != nullptr && std::string_view(wanted) == "brief");
  return brief ? Tuning::brief : Tuning::sustained;
}

std::optional<std::size_t> fastest_candidate(
    Context& context, const Product& product, Tuning tuning, std::size_t candidates,
    const std::function<void(std::size_t, const ProductPointers&)>& run) {
  Trial trial(context, product);
  if (!trial.fits()) return std::nullopt;
  const ProductPointers pointers = trial.pointers();
  Stopwatch watch;
  unsigned long long reference = 0;
  std::size_t best = 0;
  double fastest = 0;
  for (std::size_t i = 0; i < candidates; ++i) {
    const auto once = [&] { run(i, pointers); };
    const unsigned long long result = trial.result_of(once);
    if (i == 0) reference = result;
    if (result != reference) continue;
    const double settle = i == 0 ? kFirstSettleMilliseconds : kSettleMilliseconds;
    const double time = tuning == Tuning::brief ? brief_time(watch, context.stream, once)
                                                : sustained_time(watch, context.stream, settle, once);
    if (i == 0 || time < fastest) {
      fastest = time;
      best = i;
    }
  }
  return best;
}

}  // namespace striped::cuda
