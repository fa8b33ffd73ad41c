// The backend interface: the operators a device must provide to train a multi-hybrid model.
//
// Kernels know shapes, not model configurations: everything a call needs is in its arguments. Calls are
// asynchronous where the device is (one in-order queue a backend); synchronize() waits. Every result is
// deterministic for the same inputs, device and thread count. Pointers are device pointers, 256-byte aligned
// at the start of a buffer; all arrays are dense, row-major, last dimension fastest.
//
// Data types: "activation" arrays have the backend's activation type (f64 or f32 on the CPU; f32 or bf16 on
// CUDA). "Parameter" arrays of dense layers, embeddings have that type too. Small parameters (norm weights,
// featurizers, filters, skips, residues, log-poles, biases) and all gradients of parameters are "real":
// f64 where activations are f64, f32 otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace striped {

enum class DType : std::uint8_t { f64, f32, bf16 };
std::size_t size_of(DType type);
// The type of gradients and small parameters beside activations of this type.
DType real_type(DType activation);

// A dense layer: y[rows, out] = x[rows, in] · w[out, in]ᵀ (+ bias[out]).
struct DenseShape {
  std::int64_t rows, in, out;
  // Which dense layer of the model this is (0-based), or -1: where FP8 scaling factors are kept.
  int site = -1;
  // FP8 is allowed here when the backend runs in FP8 (projections and MLP, never the unembedding).
  bool allow_fp8 = false;
};

enum class HyenaKind : std::uint8_t { short_explicit, medium_regularised, long_implicit };

// Inner Hyena operator, paper eq. 1 without its dense projections: from z = [q | k | v] of shape
// [batch, length, 3·width] to y[batch, length, width]:
//   (q', k', v') = featurizer(z);  u = k' ⊙ v';  y = q' ⊙ (conv(h, u) + d ⊙ u).
// Convolutions are causal and depthwise; sequences of a batch are independent.
struct HyenaShape {
  HyenaKind kind;
  std::int64_t batch, length, width;
  std::int64_t groups;  // width % groups == 0; group g owns channels [g·width/groups, (g+1)·width/groups)
  int featurizer_taps;  // usually 3
  int taps;             // short_explicit, medium_regularised
  int order;            // long_implicit: exponentials a filter (N)
  bool has_skip;
};

struct HyenaWeights {
  const void* featurizer;  // [3·width, featurizer_taps], tap 0 is the current token
  const void* filter;      // [groups, taps], tap 0 is the current token; ĥ for medium_regularised
  const void* decay;       // [groups, taps] factors with h = ĥ ⊙ decay, or null (no decay)
  const void* skip;        // [width] or null
  const void* residues;    // [groups, order]            h_t = Σ_n residues_n · exp(t · log_poles_n)
  const void* log_poles;   // [groups, order], negative
};

// Gradients of HyenaWeights, same shapes, "real"; every call adds to them.
struct HyenaGradients {
  void* featurizer;
  void* filter;
  void* skip;
  void* residues;
  void* log_poles;
};

// Causal attention over qkv[batch, length, (heads + 2·kv_heads)·head_dim] (q, then k, then v), rotary
// embedding included (rotates the first against the second half of a head's dimensions; position/rope_scale).
struct AttentionShape {
  std::int64_t batch, length;
  int heads, kv_heads, head_dim;
  std::int64_t window;  // tokens seen including the current one; 0: the whole prefix
  double rope_base;     // 0: no rotary embedding
  double rope_scale;
};

enum class Activation : std::uint8_t { silu, gelu, identity };  // gelu: exact (erf)

// Hyper-parameters that change every step; they lie in device memory so that a captured step can be replayed.
struct OptimizerStep {
  float learning_rate;
  float bias_correction1;  // 1 - beta1^t
  float bias_correction2;  // 1 - beta2^t
  float gradient_scale;    // multiplies the summed gradients: 1 / accumulation steps (and ranks)
};

struct AdamWSettings {
  float beta1, beta2, eps, weight_decay;
  float clip;  // of the global norm; 0: none
};

// Places in a backend's queue with the times at which the device came past them, for measuring many calls in
// a row without waiting for each.
class Timeline {
 public:
  virtual ~Timeline() = default;
  virtual void mark() = 0;
  // Seconds from the first mark to each; waits for the last.
  virtual std::vector<double> seconds() = 0;
};

// Of the whole device, by whomever it is used; 0 where unknown.
struct DeviceMemory {
  std::size_t used = 0, total = 0;
};

class ShardOperators;

class Communicator;

// How the devices of several processes find each other: `share` gives every rank the bytes of the first one.
struct DeviceRanks {
  int rank, size;
  std::function<void(void* data, std::size_t bytes)> share;
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string name() const = 0;         // "cpu", "cuda"
  virtual std::string device_name() const = 0;  // e.g. "NVIDIA H200", "Intel Xeon, 2 threads"
  virtual DType activation_type() const = 0;
  // Peak dense FLOP/s at this precision for MFU, 0 where unknown.
  virtual double peak_flops() const = 0;

  // Memory. allocate() throws striped::Error with code "out-of-memory"; memory is poisoned in debug builds.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* pointer) = 0;
  virtual void upload(void* device, const void* host, std::size_t bytes) = 0;
  virtual void download(void* host, const void* device, std::size_t bytes) = 0;
  virtual void zero(void* device, std::size_t bytes) = 0;
  virtual void synchronize() = 0;

  // Dense layers. `accumulate` adds to dx or dw instead of writing it; bias gradients always accumulate.
  virtual void dense(const DenseShape&, const void* x, const void* w, const void* bias, void* y) = 0;
  virtual void dense_input_gradient(const DenseShape&, const void* dy, const void* w, void* dx,
                                    bool accumulate) = 0;
  virtual void dense_weight_gradient(const DenseShape&, const void* dy, const void* x, void* dw, void* dbias,
                                     bool accumulate) = 0;

  // Embedding: x[rows, width] = table[tokens]. Tokens are int32.
  virtual void embedding(std::int64_t rows, std::int64_t width, const std::int32_t* tokens, const void* table,
                         void* x) = 0;
  virtual void embedding_gradient(std::int64_t rows, std::int64_t width, std::int64_t vocab,
                                  const std::int32_t* tokens, const void* dx, void* dtable) = 0;

  // RMSNorm fused with the residual add: s = x + branch (branch may be null: s = x), written to `sum` (may be
  // x or branch; may be null when branch is null); y = s / rms(s) · w; reciprocal_rms[rows] is kept for the
  // backward pass.
  virtual void rms_norm(std::int64_t rows, std::int64_t width, double eps, const void* x, const void* branch,
                        const void* w, void* sum, void* y, void* reciprocal_rms) = 0;
  // dx += gradient through the norm (dx already holds the gradient of the residual stream); dw += .
  virtual void rms_norm_backward(std::int64_t rows, std::int64_t width, const void* sum, const void* w,
                                 const void* reciprocal_rms, const void* dy, void* dx, void* dw) = 0;
  // x += y, element-wise.
  virtual void add(std::int64_t count, void* x, const void* y) = 0;

  // Inner operators. Workspaces are scratch: contents do not outlive the call. `kept` is what a forward call
  // leaves for the backward call, which does not change it.
  virtual std::size_t hyena_kept(const HyenaShape&) const = 0;
  virtual std::size_t hyena_workspace(const HyenaShape&) const = 0;
  virtual void hyena(const HyenaShape&, const HyenaWeights&, const void* z, void* y, void* kept,
                     void* workspace) = 0;
  virtual void hyena_backward(const HyenaShape&, const HyenaWeights&, const void* z, const void* kept,
                              const void* dy, void* dz, const HyenaGradients&, void* workspace) = 0;
  virtual std::size_t attention_workspace(const AttentionShape&) const = 0;
  // `statistics` is [batch, heads, length] "real" (log-sum-exp), kept for the backward pass.
  virtual void attention(const AttentionShape&, const void* qkv, void* y, void* statistics,
                         void* workspace) = 0;
  virtual void attention_backward(const AttentionShape&, const void* qkv, const void* y,
                                  const void* statistics, const void* dy, void* dqkv, void* workspace) = 0;

  // Gated activation: y[rows, inner] = act(g) ⊙ u for gu[rows, 2·inner] = [g | u].
  virtual void gated(std::int64_t rows, std::int64_t inner, Activation, const void* gu, void* y) = 0;
  // dgu may be gu.
  virtual void gated_backward(std::int64_t rows, std::int64_t inner, Activation, const void* gu,
                              const void* dy, void* dgu) = 0;

  // Weighted cross-entropy. logits[rows, vocab] become their gradient, scaled by weight/total_weight when
  // `gradient`; *loss_sum ("real", on the device) += Σ weight · -log p(target). Weight 0 rows give zero
  // gradient.
  virtual void cross_entropy(std::int64_t rows, std::int64_t vocab, void* logits, const std::int32_t* targets,
                             const float* weights, float total_weight, bool gradient, void* loss_sum) = 0;

  // Optimiser over flat "real" buffers. *squared_norm (f64, on the device) += Σ g².
  virtual void squared_norm(std::int64_t count, const void* gradients, double* squared_norm) = 0;
  // Decoupled AdamW (Loshchilov & Hutter 2019), gradients scaled by step->gradient_scale and clipped by the
  // global norm sqrt(*squared_norm)·gradient_scale; `compute` (may be null) receives the updated parameters
  // in the activation type.
  virtual void adamw(std::int64_t count, const AdamWSettings&, const OptimizerStep* step,
                     const double* squared_norm, const void* gradients, void* parameters, void* moment1,
                     void* moment2, void* compute) = 0;

  // Operators on pieces of sequences, for context parallelism; null where the backend has none.
  virtual ShardOperators* shards() { return nullptr; }

  // Element-wise on small "real" arrays (the log-poles of LI are learnt as p, log_pole = -exp(p)): y =
  // -exp(x), and x *= y. The versions here go through the host; a device does better to have its own.
  virtual void negative_exponential(std::int64_t count, const void* x, void* y);
  virtual void multiply(std::int64_t count, void* x, const void* y);

  // Joins the other ranks' devices, which must all do so; null where this backend's memory is the machine's,
  // which needs none of its own. Throws Error that says what is missing.
  virtual std::unique_ptr<Communicator> join(const DeviceRanks& ranks);
  // Tells this device from all others of its machine; empty where ranks may share it.
  virtual std::string device_id() const { return ""; }
  // What makes the first step longer than others, for the log of a run; empty: nothing.
  virtual std::string first_step() const { return ""; }

  // Recording, to run a whole step with one launch (a CUDA graph): calls between begin_recording() and
  // end_recording() are not run but recorded, with their pointers; replay() runs them again, in the same
  // order. Shapes must have run once before they are recorded; allocate, release, upload, download and
  // synchronize must not be called in between. False where the backend cannot record. A new recording
  // replaces the old one.
  virtual bool can_record() const { return false; }
  virtual bool begin_recording() { return false; }
  virtual void end_recording() {}
  // Ends one in which a call failed; nothing of it stays.
  virtual void drop_recording() noexcept {}
  virtual void replay() {}

  // For measuring. Seconds that `work`'s calls take on the device, from the end of everything before them.
  virtual double elapsed(const std::function<void()>& work);
  // The version here looks at the host's clock, which serves a backend whose calls return when they are done.
  virtual std::unique_ptr<Timeline> timeline();
  virtual DeviceMemory device_memory() const { return {}; }
  // Version of the device's driver; empty where there is none.
  virtual std::string driver() const { return ""; }
  // Device to device. The version here goes through the host; a device does better to have its own.
  virtual void copy(void* to, const void* from, std::size_t bytes);
  // Bytes of the largest cache, 0 where unknown.
  virtual std::size_t cache_bytes() const { return 0; }
};

// threads 0: all cores. `precision` "fp64" is for tests and the numerics probe.
std::unique_ptr<Backend> make_cpu_backend(const std::string& precision, int threads);
// Throws Error "no-cuda" with what is missing and how to mend it; also when built without CUDA.
std::unique_ptr<Backend> make_cuda_backend(const std::string& precision, int device);
// GPUs that this process sees; 0 where there are none or the engine has no CUDA.
int cuda_device_count();

}  // namespace striped
