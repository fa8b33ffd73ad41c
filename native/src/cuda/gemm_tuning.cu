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
        size_a_(product.m * product.k),
        size_b_(product.k * product.n),
        bytes_d_((product.m * product.n * bytes_of(product.d) + 3) / 4 * 4),
        a_(size_a_ * bytes_of(product.a)),
        b_(size_b_ * bytes_of(product.b)),
        d_(bytes_d_),
        extra_(product.m * 4 + kBias) {
    if (!fits()) return;
    fill_operand(product.a, size_a_, a_.get(), context.stream);
    fill_operand(product.b, size_b_, b_.get(), context.stream);
    check(cudaMemsetAsync(extra_.get(), 0, product.m * 4 + kBias, context.stream), "Trial");
    if (bytes_of(product.a) == 1) {
      scales_ = static_cast<float*>(extra_.get()) + 16;
      fill_operand(CUDA_R_32F, 32, scales_, context.stream);
    }
  }

  bool fits() const { return a_.get() && b_.get() && d_.get() && extra_.get(); }

  ProductPointers pointers() const {
    return {a_.get(), b_.get(),
            d_.get(), static_cast<char*>(extra_.get()) + kBias,
            scales_,  scales_ ? scales_ + 16 : nullptr};
  }

  // Of what `work` writes.
  template <class Work>
  unsigned long long result_of(const Work& work) {
    auto* hash = static_cast<unsigned long long*>(extra_.get());
    unsigned long long found = 0;
    check(cudaMemsetAsync(d_.get(), 0, bytes_d_, context_.stream), "Trial");
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

  Context& context_;
  std::int64_t size_a_, size_b_;
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
