// cuDNN's fused attention as operation graphs. cuDNN recognises attention by its pattern of products,
// reductions and pointwise operations; nothing between q, k, v and y reaches memory.
#include <cmath>
#include <limits>

#include "attention.h"
#include "cudnn_graph.h"
#include "striped/error.h"

namespace striped::cuda {
namespace {

using cudnn::Data;
using cudnn::Dimensions;
using cudnn::Graph;
using cudnn::Pointwise;
using cudnn::Reduction;
using cudnn::Tensor;

constexpr std::size_t kAlign = 256;
std::size_t align(std::size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

// Shapes and strides of the arrays as they lie in memory. q and k may have been rotated into rows of their
// own.
struct Geometry {
  std::int64_t batch, heads, kv_heads, length, dim;
  std::int64_t rotated_stride;  // of a token in the array with q and k
  std::int64_t packed_stride;   // of a token in qkv and dqkv

  explicit Geometry(const AttentionShape& s)
      : batch(s.batch), heads(s.heads), kv_heads(s.kv_heads), length(s.length), dim(s.head_dim) {
    packed_stride = (heads + 2 * kv_heads) * dim;
    rotated_stride = s.rope_base != 0 ? (heads + kv_heads) * dim : packed_stride;
  }
  Dimensions rows(std::int64_t count) const { return {batch, count, length, dim}; }
  Dimensions row_strides(std::int64_t stride) const { return {length * stride, dim, stride, 1}; }
  // Keys and values of the score products: the head's dimensions come first.
  Dimensions columns(std::int64_t count) const { return {batch, count, dim, length}; }
  Dimensions column_strides(std::int64_t stride) const { return {length * stride, dim, 1, stride}; }
  Dimensions scores() const { return {batch, heads, length, length}; }
  Dimensions score_strides() const { return {heads * length * length, length * length, length, 1}; }
  Dimensions transposed_score_strides() const {
    return {heads * length * length, length * length, 1, length};
  }
  Dimensions statistics() const { return {batch, heads, length, 1}; }
  Dimensions statistic_strides() const { return {heads * length, length, 1, 1}; }
};

// Scores of keys after the query, or before its window, become -inf.
Tensor mask(Graph& graph, const AttentionShape& s, const Tensor& scores, float hidden_score) {
  const Tensor hidden = graph.scalar(hidden_score);
  const auto index = [&](std::int64_t axis) {
    return graph.pointwise(Pointwise::index, scores, nullptr, nullptr, Data::int32, Data::float32, {}, axis);
  };
  Tensor row = index(2), column = index(3);
  const Tensor causal =
      graph.pointwise(Pointwise::greater_or_equal, row, &column, nullptr, Data::boolean, Data::boolean);
  const Tensor masked = graph.pointwise(Pointwise::select, scores, &hidden, &causal);
  if (s.window == 0 || s.window >= s.length) return masked;
  const Tensor window = graph.scalar(static_cast<float>(s.window));
  const Tensor second_hidden = graph.scalar(hidden_score);
  row = graph.pointwise(Pointwise::index, masked, nullptr, nullptr, Data::int32, Data::float32, {}, 2);
  column = graph.pointwise(Pointwise::index, masked, nullptr, nullptr, Data::int32, Data::float32, {}, 3);
  const Tensor reach =
      graph.pointwise(Pointwise::add, column, &window, nullptr, Data::float32, Data::float32, {}, 3);
  const Tensor near = graph.pointwise(Pointwise::greater, reach, &row, nullptr, Data::boolean, Data::boolean);
  return graph.pointwise(Pointwise::select, masked, &second_hidden, &near);
}

float hidden_score(const cudnn::Session& session) {
  // Older versions want a finite number there.
  return session.functions().version() < 91000 ? std::numeric_limits<float>::lowest()
                                               : -std::numeric_limits<float>::infinity();
}

float score_scale(const AttentionShape& s) { return 1.0f / std::sqrt(static_cast<float>(s.head_dim)); }

}  // namespace

struct FusedAttention::Forward {
  Tensor q, k, v, y, statistics;
  cudnn::Plan plan;

  static Forward build(const cudnn::Session& session, const AttentionShape& s) {
    const Geometry g(s);
    Graph graph(session);
    const Tensor q = graph.array(Data::bfloat16, g.rows(g.heads), g.row_strides(g.rotated_stride));
    const Tensor k = graph.array(Data::bfloat16, g.columns(g.kv_heads), g.column_strides(g.rotated_stride));
    const Tensor v = graph.array(Data::bfloat16, g.rows(g.kv_heads), g.row_strides(g.packed_stride));
    const Tensor y = graph.array(Data::bfloat16, g.rows(g.heads), g.row_strides(g.heads * g.dim));
    const Tensor statistics = graph.array(Data::float32, g.statistics(), g.statistic_strides());

    const Tensor products = graph.virtual_array(Data::float32, g.scores(), g.score_strides());
    graph.matmul(q, k, products);
    const Tensor scale = graph.scalar(score_scale(s));
    const Tensor scaled = graph.pointwise(Pointwise::multiply, products, &scale);
    const Tensor scores = mask(graph, s, scaled, hidden_score(session));

    const Tensor peak = graph.virtual_array(Data::float32, g.statistics(), g.statistic_strides());
    graph.reduce(Reduction::maximum, scores, peak);
    const Tensor shifted = graph.pointwise(Pointwise::subtract, scores, &peak);
    const Tensor exponentials = graph.pointwise(Pointwise::exponential, shifted);
    const Tensor total = graph.virtual_array(Data::float32, g.statistics(), g.statistic_strides());
    graph.reduce(Reduction::sum, exponentials, total);
    const Tensor logarithm = graph.pointwise(Pointwise::logarithm, total);
    graph.pointwise(Pointwise::add, peak, &logarithm, nullptr, Data::float32, Data::float32, statistics);
    const Tensor weights = graph.pointwise(Pointwise::divide, exponentials, &total, nullptr, Data::bfloat16);
    graph.matmul(weights, v, y);
    return {q, k, v, y, statistics, graph.build(false)};
  }
};

struct FusedAttention::Backward {
  Tensor q, k, v, y, dy, statistics, dq, dk, dv, output_sums;
  std::optional<Tensor> dq_sums;  // fp32 sums of dq, where blocks add to it in any order
  std::size_t output_sums_bytes, dq_sums_bytes;
  cudnn::Plan plan;

  // dk or dv: the product over the queries, summed over the query heads of a kv head.
  static void sum_over_queries(Graph& graph, const Geometry& g, const Tensor& weights, const Tensor& rows,
                               const Tensor& result) {
    const Tensor turned = graph.virtual_array(Data::bfloat16, g.scores(), g.transposed_score_strides());
    graph.reshape(weights, turned);
    if (g.heads == g.kv_heads) {
      graph.matmul(turned, rows, result);
      return;
    }
    const Tensor all_heads = graph.virtual_array(Data::bfloat16, g.rows(g.heads),
                                                 {g.heads * g.length * g.dim, g.length * g.dim, g.dim, 1});
    graph.matmul(turned, rows, all_heads);
    graph.reduce(Reduction::sum, all_heads, result);
  }

  static Backward build(const cudnn::Session& session, const AttentionShape& s, bool deterministic) {
    const Geometry g(s);
    Graph graph(session);
    const auto output = [&] {
      return graph.array(Data::bfloat16, g.rows(g.heads), g.row_strides(g.heads * g.dim));
    };
    const auto gradient = [&](std::int64_t heads) {
      return graph.array(Data::bfloat16, g.rows(heads), g.row_strides(g.packed_stride));
    };
    const Tensor q = graph.array(Data::bfloat16, g.rows(g.heads), g.row_strides(g.rotated_stride));
    const Tensor k = graph.array(Data::bfloat16, g.columns(g.kv_heads), g.column_strides(g.rotated_stride));
    const Tensor v = graph.array(Data::bfloat16, g.columns(g.kv_heads), g.column_strides(g.packed_stride));
    const Tensor y = output(), dy = output();
    const Tensor statistics = graph.array(Data::float32, g.statistics(), g.statistic_strides());
    const Tensor dq = gradient(g.heads), dk = gradient(g.kv_heads), dv = gradient(g.kv_heads);
    const Tensor scale = graph.scalar(score_scale(s)), one = graph.scalar(1.0f);

    // Σ_d dy · y of every query.
    const Tensor products = graph.virtual_array(
        Data::float32, g.rows(g.heads), {g.heads * g.length * g.dim, g.length * g.dim, g.heads * g.dim, 1});
    graph.pointwise(Pointwise::multiply, dy, &y, nullptr, Data::float32, Data::float32, products);
    const Tensor sums = graph.virtual_array(Data::float32, g.statistics(), g.statistic_strides());
    graph.reduce(Reduction::sum, products, sums);
    const Tensor output_sums = graph.array(Data::float32, g.statistics(), g.statistic_strides());
    graph.pointwise(Pointwise::multiply, sums, &one, nullptr, Data::float32, Data::float32, output_sums);

    // The weights once more, and dv.
    const Tensor raw = graph.virtual_array(Data::float32, g.scores(), g.score_strides());
    graph.matmul(q, k, raw);
    const Tensor scaled = graph.pointwise(Pointwise::multiply, raw, &scale);
    const Tensor shifted = graph.pointwise(Pointwise::subtract, scaled, &statistics);
    const Tensor scores = mask(graph, s, shifted, hidden_score(session));
    const Tensor weights = graph.pointwise(Pointwise::exponential, scores);
    sum_over_queries(graph, g, weights, dy, dv);

    // Gradients of the scores, dk and dq.
    const Tensor weight_gradients = graph.virtual_array(Data::float32, g.scores(), g.score_strides());
    graph.matmul(dy, v, weight_gradients);
    const Tensor centred = graph.pointwise(Pointwise::subtract, weight_gradients, &output_sums);
    const Tensor weighted = graph.pointwise(Pointwise::multiply, centred, &weights);
    const Tensor score_gradients =
        graph.pointwise(Pointwise::multiply, weighted, &scale, nullptr, Data::float32);
    sum_over_queries(graph, g, score_gradients, q, dk);
    const Tensor key_rows =
        graph.virtual_array(Data::bfloat16, g.rows(g.kv_heads), g.row_strides(g.rotated_stride));
    graph.reshape(k, key_rows);
    std::optional<Tensor> dq_sums;
    if (deterministic) {
      graph.matmul(score_gradients, key_rows, dq);
    } else {
      dq_sums = graph.array(Data::float32, g.rows(g.heads),
                            {g.heads * g.length * g.dim, g.length * g.dim, g.dim, 1});
      graph.matmul(score_gradients, key_rows, *dq_sums);
      graph.pointwise(Pointwise::identity, *dq_sums, nullptr, nullptr, Data::float32, Data::float32, dq);
    }
    const std::size_t queries = static_cast<std::size_t>(g.batch * g.heads * g.length) * sizeof(float);
    return {q,
            k,
            v,
            y,
            dy,
            statistics,
            dq,
            dk,
            dv,
            output_sums,
            dq_sums,
            align(queries),
            dq_sums ? align(queries * g.dim) : 0,
            graph.build(false)};
  }

  std::size_t workspace() const { return output_sums_bytes + dq_sums_bytes + plan.workspace(); }
};

FusedAttention::FusedAttention(const cudnn::Session& session, const AttentionShape& s,
                               std::size_t deterministic_limit)
    : forward_(std::make_unique<Forward>(Forward::build(session, s))) {
  try {
    backward_ = std::make_unique<Backward>(Backward::build(session, s, true));
  } catch (const Error&) {
    backward_ = nullptr;
  }
  if (!backward_ || backward_->workspace() > deterministic_limit) {
    backward_ = std::make_unique<Backward>(Backward::build(session, s, false));
  }
}

FusedAttention::~FusedAttention() = default;

std::size_t FusedAttention::forward_workspace() const { return forward_->plan.workspace(); }
std::size_t FusedAttention::backward_workspace() const { return backward_->workspace(); }
bool FusedAttention::deterministic() const { return !backward_->dq_sums; }

void FusedAttention::forward(const Arrays& a, void* workspace) const {
  const Forward& f = *forward_;
  f.plan.run(
      {{f.q.id, a.q}, {f.k.id, a.k}, {f.v.id, a.v}, {f.y.id, a.output}, {f.statistics.id, a.statistics}},
      workspace);
}

void FusedAttention::backward(const Arrays& a, void* workspace) const {
  const Backward& b = *backward_;
  char* memory = static_cast<char*>(workspace);
  std::vector<std::pair<std::int64_t, const void*>> arrays = {{b.q.id, a.q},
                                                              {b.k.id, a.k},
                                                              {b.v.id, a.v},
                                                              {b.y.id, a.y},
                                                              {b.dy.id, a.dy},
                                                              {b.dq.id, a.dq},
                                                              {b.dk.id, a.dk},
                                                              {b.dv.id, a.dv},
                                                              {b.statistics.id, a.statistics},
                                                              {b.output_sums.id, memory}};
  if (b.dq_sums) arrays.emplace_back(b.dq_sums->id, memory + b.output_sums_bytes);
  b.plan.run(arrays, memory + b.output_sums_bytes + b.dq_sums_bytes);
}

}  // namespace striped::cuda
