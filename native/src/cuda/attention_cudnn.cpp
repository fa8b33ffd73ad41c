// cuDNN's fused attention as operation graphs. cuDNN recognises attention by its pattern of products,
// reductions and pointwise operations; nothing between q, k, v and y reaches memory.
#include <cmath>
#include <limits>

#include "attention.h"
#include "cuda_check.h"
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

constexpr std::size_t kArrayAlignment = 16;  // that graphs take their arrays to have
constexpr std::size_t kAlign = 256;
std::size_t align(std::size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

// Shapes and strides of arrays in memory, and of those between operations, for some of the sequences and kv
// heads of an attention.
struct Geometry {
  std::int64_t batch, heads, kv_heads, queries, keys, dim;
  std::int64_t statistic_stride;  // of a sequence in the statistics

  Geometry(const FusedShape& s, std::int64_t sequences, std::int64_t kv_heads_of_part)
      : batch(sequences),
        heads(s.heads / s.kv_heads * kv_heads_of_part),
        kv_heads(kv_heads_of_part),
        queries(s.queries),
        keys(s.keys),
        dim(s.head_dim),
        statistic_stride(s.heads * s.queries) {}
  Dimensions query_rows() const { return {batch, heads, queries, dim}; }
  Dimensions key_rows(std::int64_t count) const { return {batch, count, keys, dim}; }
  static Dimensions row_strides(const HeadStrides& s) { return {s.sequence, s.head, s.row, 1}; }
  // Keys and values of the score products: the head's dimensions come first.
  Dimensions key_columns() const { return {batch, kv_heads, dim, keys}; }
  static Dimensions column_strides(const HeadStrides& s) { return {s.sequence, s.head, 1, s.row}; }
  Dimensions scores() const { return {batch, heads, queries, keys}; }
  Dimensions score_strides() const { return {heads * queries * keys, queries * keys, keys, 1}; }
  Dimensions turned_scores() const { return {batch, heads, keys, queries}; }
  Dimensions turned_score_strides() const { return {heads * queries * keys, queries * keys, 1, keys}; }
  Dimensions statistics() const { return {batch, heads, queries, 1}; }
  Dimensions statistic_strides() const { return {statistic_stride, queries, 1, 1}; }
  // Of scratch arrays, packed.
  Dimensions sum_strides() const { return {heads * queries, queries, 1, 1}; }
  Dimensions packed_strides(std::int64_t rows) const { return {heads * rows * dim, rows * dim, dim, 1}; }
};

// Scores of keys after the query, or before its window, become -inf.
Tensor mask(Graph& graph, const FusedShape& s, const Tensor& scores, float hidden_score) {
  if (!s.causal) return scores;
  const Tensor hidden = graph.scalar(hidden_score);
  const auto index = [&](std::int64_t axis) {
    return graph.pointwise(Pointwise::index, scores, nullptr, nullptr, Data::int32, Data::float32, {}, axis);
  };
  Tensor row = index(2), column = index(3);
  const Tensor causal =
      graph.pointwise(Pointwise::greater_or_equal, row, &column, nullptr, Data::boolean, Data::boolean);
  const Tensor masked = graph.pointwise(Pointwise::select, scores, &hidden, &causal);
  if (s.window == 0 || s.window >= s.keys) return masked;
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

float score_scale(const FusedShape& s) { return 1.0f / std::sqrt(static_cast<float>(s.head_dim)); }

}  // namespace

struct FusedAttention::Forward {
  Tensor q, k, v, y, statistics;
  cudnn::Plan plan;

  static Forward build(const cudnn::Session& session, const FusedShape& s) {
    const Geometry g(s, s.batch, s.kv_heads);
    Graph graph(session);
    const Tensor q = graph.array(Data::bfloat16, g.query_rows(), g.row_strides(s.q));
    const Tensor k = graph.array(Data::bfloat16, g.key_columns(), g.column_strides(s.k));
    const Tensor v = graph.array(Data::bfloat16, g.key_rows(g.kv_heads), g.row_strides(s.v));
    const Tensor y = graph.array(Data::bfloat16, g.query_rows(), g.row_strides(s.y));
    const Tensor statistics = graph.array(Data::float32, g.statistics(), g.statistic_strides());

    const Tensor products = graph.virtual_array(Data::float32, g.scores(), g.score_strides());
    graph.matmul(q, k, products);
    const Tensor scale = graph.scalar(score_scale(s));
    const Tensor scaled = graph.pointwise(Pointwise::multiply, products, &scale);
    const Tensor scores = mask(graph, s, scaled, hidden_score(session));

    const Tensor peak = graph.virtual_array(Data::float32, g.statistics(), g.sum_strides());
    graph.reduce(Reduction::maximum, scores, peak);
    const Tensor shifted = graph.pointwise(Pointwise::subtract, scores, &peak);
    const Tensor exponentials = graph.pointwise(Pointwise::exponential, shifted);
    const Tensor total = graph.virtual_array(Data::float32, g.statistics(), g.sum_strides());
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
    const Tensor turned = graph.virtual_array(Data::bfloat16, g.turned_scores(), g.turned_score_strides());
    graph.reshape(weights, turned);
    if (g.heads == g.kv_heads) {
      graph.matmul(turned, rows, result);
      return;
    }
    const Tensor all_heads =
        graph.virtual_array(Data::bfloat16, g.key_rows(g.heads), g.packed_strides(g.keys));
    graph.matmul(turned, rows, all_heads);
    graph.reduce(Reduction::sum, all_heads, result);
  }

  static Backward build(const cudnn::Session& session, const FusedShape& s, const Geometry& g,
                        bool deterministic) {
    Graph graph(session);
    const auto on_queries = [&](const HeadStrides& strides) {
      return graph.array(Data::bfloat16, g.query_rows(), g.row_strides(strides));
    };
    const auto turned_keys = [&](const HeadStrides& strides) {
      return graph.array(Data::bfloat16, g.key_columns(), g.column_strides(strides));
    };
    const auto on_keys = [&](const HeadStrides& strides) {
      return graph.array(Data::bfloat16, g.key_rows(g.kv_heads), g.row_strides(strides));
    };
    const Tensor q = on_queries(s.q), k = turned_keys(s.k), v = turned_keys(s.v);
    const Tensor y = on_queries(s.y), dy = on_queries(s.y);
    const Tensor statistics = graph.array(Data::float32, g.statistics(), g.statistic_strides());
    const Tensor dq = on_queries(s.dq), dk = on_keys(s.dk), dv = on_keys(s.dv);
    const Tensor scale = graph.scalar(score_scale(s)), one = graph.scalar(1.0f);

    // Σ_d dy · y of every query.
    const Tensor products = graph.virtual_array(
        Data::float32, g.query_rows(), {g.heads * g.queries * g.dim, g.queries * g.dim, g.heads * g.dim, 1});
    graph.pointwise(Pointwise::multiply, dy, &y, nullptr, Data::float32, Data::float32, products);
    const Tensor sums = graph.virtual_array(Data::float32, g.statistics(), g.sum_strides());
    graph.reduce(Reduction::sum, products, sums);
    const Tensor output_sums = graph.array(Data::float32, g.statistics(), g.sum_strides());
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
    const Tensor key_rows = graph.virtual_array(Data::bfloat16, g.key_rows(g.kv_heads), g.row_strides(s.k));
    graph.reshape(k, key_rows);
    std::optional<Tensor> dq_sums;
    if (deterministic) {
      graph.matmul(score_gradients, key_rows, dq);
    } else {
      dq_sums = graph.array(Data::float32, g.query_rows(), g.packed_strides(g.queries));
      graph.matmul(score_gradients, key_rows, *dq_sums);
      graph.pointwise(Pointwise::identity, *dq_sums, nullptr, nullptr, Data::float32, Data::float32, dq);
    }
    const std::size_t queries = static_cast<std::size_t>(g.batch * g.heads * g.queries) * sizeof(float);
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

namespace {

// Sums of dq in a fixed order need the gradients of the scores in memory: two bytes a pair of tokens and
// head. Heads (and sequences) are independent, so as many go together as fit.
std::int64_t kv_heads_together(const FusedShape& s, std::int64_t sequences, std::size_t limit) {
  const auto padded = [](std::int64_t rows) { return std::ceil(static_cast<double>(rows) / 64) * 64; };
  const double bytes =
      2 * padded(s.queries) * padded(s.keys) * static_cast<double>(sequences * (s.heads / s.kv_heads));
  for (std::int64_t count = s.kv_heads; count > 0; --count) {
    if (s.kv_heads % count == 0 && bytes * static_cast<double>(count) <= static_cast<double>(limit))
      return count;
  }
  return 0;
}

}  // namespace

FusedAttention::FusedAttention(const cudnn::Session& session, const FusedShape& s,
                               std::size_t deterministic_limit)
    : shape_(s), stream_(session.stream()), forward_(std::make_unique<Forward>(Forward::build(session, s))) {
  part_batch_ = s.batch;
  part_kv_heads_ = kv_heads_together(s, s.batch, deterministic_limit);
  if (part_kv_heads_ < s.kv_heads) {
    part_batch_ = 1;
    part_kv_heads_ = kv_heads_together(s, 1, deterministic_limit);
  }
  if (part_kv_heads_ > 0) {
    try {
      const Geometry part(s, part_batch_, part_kv_heads_);
      backward_ = std::make_unique<Backward>(Backward::build(session, s, part, true));
      const bool is_whole = part_batch_ == s.batch && part_kv_heads_ == s.kv_heads;
      const std::size_t statistics = static_cast<std::size_t>(part.heads * part.queries) * sizeof(float);
      if (!is_whole && statistics % kArrayAlignment != 0) moved_statistics_ = statistics;
      return;
    } catch (const Error&) {
      // No engine for this shape: the one below serves it.
    }
  }
  part_batch_ = s.batch;
  part_kv_heads_ = s.kv_heads;
  backward_ =
      std::make_unique<Backward>(Backward::build(session, s, Geometry(s, s.batch, s.kv_heads), false));
}

FusedAttention::~FusedAttention() = default;

std::size_t FusedAttention::forward_workspace() const { return forward_->plan.workspace(); }
std::size_t FusedAttention::backward_workspace() const {
  return align(moved_statistics_) + backward_->workspace();
}
bool FusedAttention::deterministic() const { return !backward_->dq_sums; }

void FusedAttention::forward(const Arrays& a, void* workspace) const {
  const Forward& f = *forward_;
  f.plan.run(
      {{f.q.id, a.q}, {f.k.id, a.k}, {f.v.id, a.v}, {f.y.id, a.output}, {f.statistics.id, a.statistics}},
      workspace);
}

void FusedAttention::backward(const Arrays& a, void* workspace) const {
  const Backward& b = *backward_;
  const FusedShape& s = shape_;
  char* memory = static_cast<char*>(workspace) + align(moved_statistics_);
  constexpr std::int64_t kElement = 2;
  for (std::int64_t sequence = 0; sequence < s.batch; sequence += part_batch_) {
    for (std::int64_t kv_head = 0; kv_head < s.kv_heads; kv_head += part_kv_heads_) {
      const std::int64_t head = kv_head * (s.heads / s.kv_heads);
      const auto at = [&](const void* base, const HeadStrides& strides,
                          std::int64_t first_head) -> const void* {
        return static_cast<const char*>(base) +
               (sequence * strides.sequence + first_head * strides.head) * kElement;
      };
      const float* statistics = a.statistics + (sequence * s.heads + head) * s.queries;
      if (moved_statistics_ != 0) {
        check(cudaMemcpyAsync(workspace, statistics, moved_statistics_, cudaMemcpyDeviceToDevice, stream_),
              "attention");
        statistics = static_cast<const float*>(workspace);
      }
      std::vector<std::pair<std::int64_t, const void*>> arrays = {
          {b.q.id, at(a.q, s.q, head)},       {b.k.id, at(a.k, s.k, kv_head)},
          {b.v.id, at(a.v, s.v, kv_head)},    {b.y.id, at(a.y, s.y, head)},
          {b.dy.id, at(a.dy, s.y, head)},     {b.dq.id, at(a.dq, s.dq, head)},
          {b.dk.id, at(a.dk, s.dk, kv_head)}, {b.dv.id, at(a.dv, s.dv, kv_head)},
          {b.statistics.id, statistics},      {b.output_sums.id, memory}};
      if (b.dq_sums) arrays.emplace_back(b.dq_sums->id, memory + b.output_sums_bytes);
      b.plan.run(arrays, memory + b.output_sums_bytes + b.dq_sums_bytes);
    }
  }
}

}  // namespace striped::cuda
