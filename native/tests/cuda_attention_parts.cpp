// Attention on parts of sequences, of the CUDA backend against the CPU's in fp64: rows split and joined,
// parts on top of one another, and pieces put together against the attention of the whole. Built like
// cuda_operators.cpp.
//
//   test_cuda_attention_parts [fp32|bf16|small ...]     "small" leaves out the long shapes
#include <cstdlib>
#include <cstring>

#include "cuda_suite.h"
#include "striped/shard_operators.h"

namespace {

using namespace device_test;
using striped::AttentionPart;
using striped::AttentionShape;
using striped::ShardOperators;

struct Keys {
  std::int64_t count, offset;
};

// Memory of both backends; that of the GPU holds NaN, as what is left there from before may.
class Workspaces {
 public:
  Workspaces(Backend& cpu, Backend& gpu, std::size_t cpu_bytes, std::size_t gpu_bytes)
      : on_cpu(cpu.allocate(cpu_bytes + 8)), on_gpu(gpu.allocate(gpu_bytes + 8)), cpu_(cpu), gpu_(gpu) {
    const std::vector<char> poison(gpu_bytes, '\xff');
    gpu.upload(on_gpu, poison.data(), gpu_bytes);
  }
  ~Workspaces() {
    cpu_.release(on_cpu);
    gpu_.release(on_gpu);
  }
  Workspaces(const Workspaces&) = delete;

  void *const on_cpu, *const on_gpu;

 private:
  Backend &cpu_, &gpu_;
};

class Suite : public DeviceSuite {
 public:
  explicit Suite(const std::string& precision) : DeviceSuite(precision) {}

  void run(bool small);

 private:
  void split(const AttentionShape&, std::int64_t rows, std::int64_t position);
  // Queries on one set of keys after the other. Of `sizes` only heads, dimensions and window count.
  void parts(AttentionPart sizes, std::int64_t queries, const std::vector<Keys>& keys);
  void pieces(AttentionShape whole, int count);

  // A workspace must serve every offset.
  Workspaces workspaces(AttentionPart part) {
    part.offset = 0;
    return Workspaces(*cpu_, *gpu_, cpu_->shards()->attention_part_workspace(part),
                      gpu_->shards()->attention_part_workspace(part));
  }
};

void Suite::split(const AttentionShape& s, std::int64_t rows, std::int64_t position) {
  const std::int64_t queries = rows * s.heads * s.head_dim, keys = 2 * rows * s.kv_heads * s.head_dim;
  Pair qkv = activations(uniform(queries + keys)), q = activations(queries), kv = activations(keys);
  Pair dq = reals(uniform(queries)), dkv = reals(uniform(keys)), dqkv = activations(queries + keys);
  const auto run = [&](Backend& backend, auto get) {
    ShardOperators& shards = *backend.shards();
    shards.attention_split(s, rows, position, get(qkv), get(q), get(kv));
    shards.attention_join(s, rows, position, get(dq), get(dkv), get(dqkv));
  };
  check(
      "split " + sizes({rows, position, s.heads, s.kv_heads, s.head_dim}) + (s.rope_base != 0 ? " rope" : ""),
      limit_, {{"q", &q}, {"kv", &kv}, {"dqkv", &dqkv}},
      [&] { run(*cpu_, [](Pair& p) -> void* { return p.reference; }); },
      [&] { run(*gpu_, [](Pair& p) { return p.device; }); });
}

void Suite::parts(AttentionPart p, std::int64_t queries, const std::vector<Keys>& keys) {
  const std::int64_t width = queries * p.heads * p.head_dim;
  p.queries = queries;
  Pair q = activations(uniform(width, -2, 2)), dy = activations(uniform(width)), y = reals(width),
       statistics = reals(queries * p.heads), dq = reals(uniform(width, -0.1, 0.1));
  std::string name = "parts " + sizes({queries, p.heads, p.kv_heads, p.head_dim, p.window}) + " on";
  std::vector<std::unique_ptr<Pair>> kv, dkv;
  std::vector<AttentionPart> all;
  for (const Keys& some : keys) {
    const std::int64_t values = 2 * some.count * p.kv_heads * p.head_dim;
    kv.emplace_back(new Pair(activations(uniform(values, -2, 2))));
    dkv.emplace_back(new Pair(reals(uniform(values, -0.1, 0.1))));
    p.keys = some.count, p.offset = some.offset;
    all.push_back(p);
    name += " " + std::to_string(some.count) + "+" + std::to_string(some.offset);
  }
  std::vector<std::unique_ptr<Workspaces>> scratch;
  for (const AttentionPart& part : all) scratch.emplace_back(new Workspaces(workspaces(part)));
  const auto forward = [&](ShardOperators& shards, auto get, auto memory) {
    for (std::size_t i = 0; i < all.size(); ++i)
      shards.attention_part(all[i], get(q), get(*kv[i]), i == 0, get(y), get(statistics),
                            memory(*scratch[i]));
  };
  const auto on_cpu = [](Pair& pair) -> void* { return pair.reference; };
  const auto on_gpu = [](Pair& pair) { return pair.device; };
  const auto cpu_memory = [](Workspaces& w) { return w.on_cpu; };
  const auto gpu_memory = [](Workspaces& w) { return w.on_gpu; };
  check(
      name, limit_, {{"y", &y}, {"statistics", &statistics}},
      [&] { forward(*cpu_->shards(), on_cpu, cpu_memory); },
      [&] { forward(*gpu_->shards(), on_gpu, gpu_memory); });

  Pair result = activations(std::vector<double>(y.reference, y.reference + width));
  Pair sums = reals(std::vector<double>(statistics.reference, statistics.reference + queries * p.heads));
  const auto backward = [&](ShardOperators& shards, auto get, auto memory) {
    for (std::size_t i = 0; i < all.size(); ++i)
      shards.attention_part_backward(all[i], get(q), get(*kv[i]), get(result), get(sums), get(dy), get(dq),
                                     get(*dkv[i]), memory(*scratch[i]));
  };
  Outputs outputs = {{"dq", &dq}};
  for (const auto& pair : dkv) outputs.emplace_back("dkv " + std::to_string(outputs.size()), pair.get());
  check(
      name, limit_, outputs, [&] { backward(*cpu_->shards(), on_cpu, cpu_memory); },
      [&] { backward(*gpu_->shards(), on_gpu, gpu_memory); });
}

// As the ring does it, but on one GPU.
void Suite::pieces(AttentionShape s, int count) {
  const std::int64_t rows = s.length / count, heads = s.heads, dim = s.head_dim;
  const std::int64_t queries = rows * heads * dim, keys = 2 * rows * s.kv_heads * dim;
  Pair qkv = activations(uniform(count * (queries + keys), -2, 2)),
       dy = activations(uniform(count * queries));
  Pair y = reals(count * queries), dqkv = activations(count * (queries + keys));
  Pair q = activations(count * queries), kv = activations(count * keys);
  Pair statistics = reals(heads * s.length), piece_statistics = reals(heads * s.length);
  Pair dq = reals(std::vector<double>(count * queries)), dkv = reals(std::vector<double>(count * keys));
  const Workspaces of_whole(*cpu_, *gpu_, cpu_->attention_workspace(s), gpu_->attention_workspace(s));
  const AttentionPart first{rows, rows, 0, s.heads, s.kv_heads, s.head_dim, s.window};
  const Workspaces of_part = workspaces(first);
  ShardOperators& shards = *gpu_->shards();
  const auto at = [&](const Pair& pair, std::int64_t piece, std::int64_t values, DType type) -> void* {
    return static_cast<char*>(pair.device) + piece * values * striped::size_of(type);
  };
  const auto for_parts = [&](auto visit) {
    for (int mine = 0; mine < count; ++mine) {
      for (int its = mine; its >= 0; --its) {
        AttentionPart part = first;
        part.offset = (mine - its) * rows;
        visit(mine, its, part);
      }
    }
  };
  const std::string name = "pieces " + sizes({count, rows, s.heads, s.kv_heads, dim, s.window}) +
                           (s.rope_base != 0 ? " rope" : "");
  check(
      name, limit_, {{"y", &y}},
      [&] { cpu_->attention(s, qkv.reference, y.reference, statistics.reference, of_whole.on_cpu); },
      [&] {
        for (int piece = 0; piece < count; ++piece)
          shards.attention_split(s, rows, piece * rows, at(qkv, piece, queries + keys, type_),
                                 at(q, piece, queries, type_), at(kv, piece, keys, type_));
        for_parts([&](int mine, int its, const AttentionPart& part) {
          shards.attention_part(part, at(q, mine, queries, type_), at(kv, its, keys, type_), mine == its,
                                at(y, mine, queries, DType::f32),
                                at(piece_statistics, mine, rows * heads, DType::f32), of_part.on_gpu);
        });
      });

  Pair own_y = activations(count * queries), own_dqkv = activations(count * (queries + keys));
  gpu_->attention(s, qkv.device, own_y.device, statistics.device, of_whole.on_gpu);
  gpu_->attention_backward(s, qkv.device, own_y.device, statistics.device, dy.device, own_dqkv.device,
                           of_whole.on_gpu);
  Pair result = activations(y.result());
  check(
      name, limit_, {{"dqkv", &dqkv}},
      [&] {
        cpu_->attention_backward(s, qkv.reference, y.reference, statistics.reference, dy.reference,
                                 dqkv.reference, of_whole.on_cpu);
      },
      [&] {
        dq.reset_device();
        dkv.reset_device();
        for_parts([&](int mine, int its, const AttentionPart& part) {
          shards.attention_part_backward(
              part, at(q, mine, queries, type_), at(kv, its, keys, type_), at(result, mine, queries, type_),
              at(piece_statistics, mine, rows * heads, DType::f32), at(dy, mine, queries, type_),
              at(dq, mine, queries, DType::f32), at(dkv, its, keys, DType::f32), of_part.on_gpu);
        });
        for (int piece = 0; piece < count; ++piece)
          shards.attention_join(s, rows, piece * rows, at(dq, piece, queries, DType::f32),
                                at(dkv, piece, keys, DType::f32), at(dqkv, piece, queries + keys, type_));
      });
  const auto against_own = [&](const char* what, const Pair& pair, const Pair& own) {
    const double error = difference_of(pair.result(), own.result().data());
    expect(precision_ + " " + name + " " + what + " against the whole", error <= limit_, error, limit_);
  };
  against_own("y", y, own_y);
  against_own("dqkv", dqkv, own_dqkv);
}

void Suite::run(bool small) {
  split({1, 0, 4, 2, 64, 0, 1e4, 1}, 37, 0);
  split({1, 0, 4, 2, 64, 0, 1e4, 1}, 70, 5001);
  split({1, 0, 4, 2, 64, 0, 1e4, 1}, 130, 1000);
  split({1, 0, 2, 2, 128, 0, 1e6, 16}, 33, 123457);
  split({1, 0, 3, 1, 20, 0, 1e4, 1}, 1, 1023);
  split({1, 0, 6, 3, 256, 0, 0, 1}, 5, 9);
  split({1, 0, 2, 1, 13, 0, 0, 1}, 29, 3);

  const auto heads = [](int queries, int keys, int dim, std::int64_t window) {
    return AttentionPart{0, 0, 0, queries, keys, dim, window};
  };
  parts(heads(2, 1, 64, 0), 100, {{100, 0}, {77, 90}, {64, 300}});
  parts(heads(3, 1, 128, 0), 44, {{44, 0}, {41, 50}, {44, 88}});
  parts(heads(2, 2, 128, 0), 35, {{35, 0}, {35, 35}});
  parts(heads(2, 1, 64, 50), 92, {{92, 0}, {92, 92}, {92, 184}});
  parts(heads(2, 1, 64, 150), 40, {{40, 0}, {40, 40}, {40, 120}, {40, 200}});
  parts(heads(2, 2, 96, 0), 36, {{36, 0}, {40, 20}, {50, -10}});
  parts(heads(2, 1, 20, 0), 33, {{33, 0}, {65, 65}});
  parts(heads(3, 3, 13, 9), 45, {{45, 0}, {45, 45}, {20, 3}});
  parts(heads(2, 1, 256, 0), 20, {{35, 36}, {33, 10}});
  parts(heads(1, 1, 64, 0), 1, {{1, 0}, {1, 1}, {100, 150}});
  parts(heads(4, 1, 64, 0), 72, {{3, 2}, {50, 49}, {72, 0}});

  pieces({1, 84, 2, 1, 64, 0, 1e4, 1}, 3);
  pieces({1, 96, 2, 1, 128, 0, 1e4, 4}, 2);
  pieces({1, 63, 2, 2, 20, 25, 1e4, 1}, 3);
  // The whole goes head by head by cuDNN, and the second head's statistics begin at no multiple of 16 bytes.
  if (precision_ == "bf16") pieces({1, 513, 2, 2, 8, 0, 1e4, 1}, 3);
  if (small) return;
  parts(heads(6, 2, 128, 0), 132, {{132, 0}, {130, 140}, {132, 264}});
  parts(heads(8, 1, 64, 0), 200, {{200, 0}, {200, 200}, {333, 400}});
  parts(heads(4, 2, 64, 500), 128, {{128, 0}, {128, 128}, {128, 384}, {128, 640}});
  pieces({1, 450, 4, 2, 64, 0, 1e4, 1}, 3);
  pieces({1, 369, 4, 2, 64, 150, 1e4, 1}, 3);
  parts(heads(4, 2, 128, 0), 1500, {{1500, 0}, {1500, 1500}, {1100, 3000}});
  parts(heads(4, 2, 64, 1200), 1024, {{1024, 0}, {1024, 1024}});
  pieces({1, 3072, 4, 2, 128, 0, 1e4, 1}, 3);
  pieces({1, 2000, 4, 4, 64, 0, 1e4, 1}, 2);
}

}  // namespace

int main(int count, char** arguments) {
  std::vector<std::string> precisions;
  bool small = false;
  for (int i = 1; i < count; ++i) {
    if (std::strcmp(arguments[i], "small") == 0) {
      small = true;
    } else {
      precisions.emplace_back(arguments[i]);
    }
  }
  // So few MiB that backward passes of the longest shapes take their heads one group after another.
  setenv("STRIPED_ATTENTION_WORKSPACE", small ? "1" : "12", 0);
  if (precisions.empty()) precisions = {"fp32", "bf16"};
  if (!run_suites(precisions, [&](const std::string& precision) {
        Suite suite(precision);
        suite.run(small);
        suite.report();
      }))
    return kSkipped;
  return exit_code();
}
