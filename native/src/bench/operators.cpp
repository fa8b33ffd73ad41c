#include "bench/subjects.h"
#include "parallel/surroundings.h"

namespace striped::bench {
namespace {

class Operators {
 public:
  Operators(Backend& backend, Measure& measure, const Size& size, const Told& told)
      : backend_(backend),
        measure_(measure),
        told_(told),
        rows_(size.length),
        width_(size.width),
        value_(static_cast<double>(size_of(backend.activation_type()))) {}

  void norm() {
    Pool pool(backend_);
    void *x = pool.activations(count()), *branch = pool.activations(count()),
         *sum = pool.activations(count());
    void *y = pool.activations(count()), *w = pool.reals(width_), *rms = pool.reals(rows_, 0.5, 2);
    void* dw = pool.reals(width_);
    const Cost cost = norm_cost(static_cast<double>(rows_), static_cast<double>(width_), value_);
    time("RMSNorm + residual forward", cost,
         [&] { backend_.rms_norm(rows_, width_, kNormEps, x, branch, w, sum, y, rms); });
    time("RMSNorm backward", cost, [&] { backend_.rms_norm_backward(rows_, width_, sum, w, rms, y, x, dw); });
  }

  void gated() {
    const std::int64_t inner = mlp_inner(width_);
    const auto rows = static_cast<double>(rows_), channels = static_cast<double>(inner);
    Pool pool(backend_);
    void *gu = pool.activations(2 * rows_ * inner), *dgu = pool.activations(2 * rows_ * inner);
    void* y = pool.activations(rows_ * inner);
    time("gated activation forward", gated_cost(rows, channels, value_, false),
         [&] { backend_.gated(rows_, inner, Activation::silu, gu, y); });
    time("gated activation backward", gated_cost(rows, channels, value_, true),
         [&] { backend_.gated_backward(rows_, inner, Activation::silu, gu, y, dgu); });
  }

  void dense(const std::string& name, std::int64_t in, std::int64_t out) {
    Pool pool(backend_);
    void *x = pool.activations(rows_ * in), *w = pool.activations(in * out),
         *y = pool.activations(rows_ * out);
    void *dx = pool.activations(rows_ * in), *dw = pool.reals(in * out);
    const DenseShape shape{rows_, in, out, 0, true};
    const Cost cost = dense_cost(static_cast<double>(rows_), static_cast<double>(in),
                                 static_cast<double>(out), value_, true);
    time(name + " forward", cost, [&] { backend_.dense(shape, x, w, nullptr, y); });
    time(name + " input gradient", cost, [&] { backend_.dense_input_gradient(shape, y, w, dx, false); });
    time(name + " weight gradient", cost,
         [&] { backend_.dense_weight_gradient(shape, y, x, dw, nullptr, false); });
  }

  void hyena(const std::string& name, HyenaOperator op) {
    const HyenaShape shape = hyena_shape(op, width_, rows_);
    const bool modal = op == HyenaOperator::LI;
    Pool pool(backend_);
    const std::int64_t filter = shape.groups * (modal ? shape.order : shape.taps);
    const auto small = [&](bool wanted, std::int64_t values, double low, double high) {
      return wanted ? pool.reals(values, low, high) : nullptr;
    };
    const std::int64_t featurizer = 3 * width_ * shape.featurizer_taps;
    const HyenaWeights weights{small(true, featurizer, -1, 1),
                               small(!modal, filter, -0.1, 0.1),
                               small(op == HyenaOperator::MR, filter, 0, 1),
                               small(shape.has_skip, width_, -1, 1),
                               small(modal, filter, -0.1, 0.1),
                               small(modal, filter, -1, -0.001)};
    const HyenaGradients gradients{small(true, featurizer, 0, 0), small(!modal, filter, 0, 0),
                                   small(shape.has_skip, width_, 0, 0), small(modal, filter, 0, 0),
                                   small(modal, filter, 0, 0)};
    void *z = pool.activations(3 * count()), *dz = pool.activations(3 * count());
    void *y = pool.activations(count()), *dy = pool.activations(count());
    void* workspace = pool.empty(backend_.hyena_workspace(shape));
    void* kept = pool.empty(backend_.hyena_kept(shape));
    const Cost forward = hyena_cost(shape, value_, false), backward = hyena_cost(shape, value_, true);
    time(name + " forward", forward, [&] { backend_.hyena(shape, weights, z, y, kept, workspace); });
    time(name + " backward", backward,
         [&] { backend_.hyena_backward(shape, weights, z, kept, dy, dz, gradients, workspace); });

    // The same as one piece of a longer sequence (context parallelism), with what its neighbours send there
    // already.
    ShardOperators& shard = parallel::shard_operators_of(backend_);
    const std::int64_t history = shape.featurizer_taps - 1;
    const auto beyond = [&] {
      return modal ? pool.reals(shape.order * width_) : pool.activations((shape.taps - 1) * width_);
    };
    const HyenaSurroundings around{pool.activations(history * 3 * width_), beyond(), beyond()};
    void* reach = pool.activations(history * 3 * width_);
    void* piece_workspace = pool.empty(shard.hyena_piece_workspace(shape));
    void* piece_kept = pool.empty(shard.hyena_piece_kept(shape));
    const auto arrived = [] {};
    time(name + " piece forward", forward,
         [&] { shard.hyena_piece(shape, weights, around, arrived, z, y, piece_kept, piece_workspace); });
    time(name + " piece backward", backward, [&] {
      shard.hyena_piece_backward(shape, weights, around, arrived, z, piece_kept, dy, dz, reach, gradients,
                                 piece_workspace);
    });
  }

  void attention() {
    const AttentionShape shape = attention_shape(width_, rows_);
    Pool pool(backend_);
    void *qkv = pool.activations(3 * count()), *dqkv = pool.activations(3 * count());
    void *y = pool.activations(count()), *dy = pool.activations(count());
    void* statistics = pool.reals(rows_ * shape.heads);
    void* workspace = pool.empty(backend_.attention_workspace(shape));
    time("MHA forward", attention_cost(shape, value_, false),
         [&] { backend_.attention(shape, qkv, y, statistics, workspace); });
    time("MHA backward", attention_cost(shape, value_, true),
         [&] { backend_.attention_backward(shape, qkv, y, statistics, dy, dqkv, workspace); });
  }

  void loss() {
    Pool pool(backend_);
    void *logits = pool.activations(rows_ * kVocab), *sum = pool.reals(1);
    std::int32_t* targets = pool.tokens(rows_, kVocab);
    float* weights = pool.ones(rows_);
    time("cross-entropy", loss_cost(static_cast<double>(rows_), value_), [&] {
      backend_.cross_entropy(rows_, kVocab, logits, targets, weights, static_cast<float>(rows_), true, sum);
    });
  }

  // Over as many parameters as the dense layers of one block have.
  void optimizer() {
    const std::int64_t parameters = width_ * (4 * width_ + 3 * mlp_inner(width_));
    const DType type = backend_.activation_type();
    Pool pool(backend_);
    void *g = pool.reals(parameters), *p = pool.reals(parameters), *m = pool.reals(parameters);
    void *v = pool.reals(parameters, 0, 1), *compute = nullptr;
    if (type == DType::bf16) compute = pool.activations(parameters);
    auto* norm = static_cast<double*>(pool.values(1, DType::f64, 0, 1));
    const OptimizerStep host{1e-4f, 0.1f, 0.05f, 1};
    auto* step = static_cast<OptimizerStep*>(pool.empty(sizeof host));
    backend_.upload(step, &host, sizeof host);
    time("gradient norm and AdamW", adamw_cost(static_cast<double>(parameters), type), [&] {
      backend_.zero(norm, sizeof *norm);
      backend_.squared_norm(parameters, g, norm);
      backend_.adamw(parameters, {0.9f, 0.95f, 1e-8f, 0.1f, 1}, step, norm, g, p, m, v, compute);
    });
  }

 private:
  std::int64_t count() const { return rows_ * width_; }
  void time(const std::string& name, const Cost& cost, const std::function<void()>& work) {
    told_(name, measure_.median(work), {cost});
  }

  Backend& backend_;
  Measure& measure_;
  const Told& told_;
  std::int64_t rows_, width_;
  double value_;
};

}  // namespace

void operators(Backend& backend, Measure& measure, const Size& size, const Told& told) {
  Operators bench(backend, measure, size, told);
  bench.hyena("SE", HyenaOperator::SE);
  bench.hyena("MR", HyenaOperator::MR);
  bench.hyena("LI", HyenaOperator::LI);
  bench.attention();
  bench.dense("dense D to 3D", size.width, 3 * size.width);
  bench.dense("dense D to MLP", size.width, mlp_inner(size.width));
  bench.norm();
  bench.gated();
  bench.loss();
  bench.optimizer();
}

}  // namespace striped::bench
