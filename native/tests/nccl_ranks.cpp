// Ranks on GPUs as far as that can be told without GPUs: what is asked of NCCL, in which order, behind what,
// and what is done when it fails. The stand-ins (standin/) keep the order that streams give, and no other.
#include <dlfcn.h>
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "communicator_checks.h"
#include "context_suite.h"
#include "nccl.h"
#include "nccl_communicator.h"
#include "parallel/thread_communicator.h"
#include "parallel_training.h"

namespace {

using namespace striped;
using namespace std::chrono_literals;

template <typename Function>
Function* standin_function(const char* name) {
  static void* const library = dlopen(STANDIN_DIRECTORY "/libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
  return reinterpret_cast<Function*>(dlsym(library, name));
}
void fail_next(const char* function, int status) {
  standin_function<standin::FailNext>("standin_fail_next")(function, status);
}
standin::Counts counts() { return standin_function<standin::GetCounts>("standin_counts")(); }

struct Queue {
  Queue() { cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, 0); }
  ~Queue() { cudaStreamDestroy(stream); }
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;
  void wait() const { cudaStreamSynchronize(stream); }
  void queue(std::function<void()> work) const {
    cudaLaunchHostFunc(
        stream,
        [](void* data) {
          const std::unique_ptr<std::function<void()>> job(static_cast<std::function<void()>*>(data));
          (*job)();
        },
        new std::function<void()>(std::move(work)));
  }
  cudaStream_t stream = nullptr;
};

// Joined over threads, as processes join over MPI.
std::unique_ptr<Communicator> join(
    Communicator& threads, const Queue& stream,
    std::function<void(void*, std::size_t)> will_change = [](void*, std::size_t) {}) {
  const auto share = [&](void* data, std::size_t bytes) {
    threads.broadcast(data, static_cast<std::int64_t>(bytes / 2), DType::bf16, 0);
  };
  return cuda::join_gpus({0, stream.stream, std::move(will_change)}, {threads.rank(), threads.size(), share});
}

// For a backend whose work is done when its call returns: waits wherever a GPU's stream would.
class Awaited final : public Communicator {
 public:
  Awaited(std::unique_ptr<Communicator> ranks, const Queue& stream)
      : ranks_(std::move(ranks)), stream_(stream) {}
  int rank() const override { return ranks_->rank(); }
  int size() const override { return ranks_->size(); }
  void all_reduce(void* data, std::int64_t count, DType type) override {
    ranks_->all_reduce(data, count, type);
    end();
  }
  void all_gather(const void* data, void* out, std::int64_t count, DType type) override {
    ranks_->all_gather(data, out, count, type);
    end();
  }
  void reduce_scatter(const void* data, void* out, std::int64_t count, DType type) override {
    ranks_->reduce_scatter(data, out, count, type);
    end();
  }
  void all_to_all(const void* data, void* out, std::int64_t count, DType type) override {
    ranks_->all_to_all(data, out, count, type);
    end();
  }
  void broadcast(void* data, std::int64_t count, DType type, int root) override {
    ranks_->broadcast(data, count, type, root);
    end();
  }
  void barrier() override { ranks_->barrier(); }
  void exchange(const std::vector<Send>& sends, const std::vector<Receive>& receives, DType type) override {
    ranks_->exchange(sends, receives, type);
    end();
  }
  void fork() override {
    aside_ = true;
    ranks_->fork();
  }
  std::uint64_t mark() override {
    aside_ = false;
    return ranks_->mark();
  }
  void join(std::uint64_t mark) override {
    ranks_->join(mark);
    stream_.wait();
  }
  double waited() override { return ranks_->waited(); }
  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<Awaited>(ranks_->split(color, key), stream_);
  }

 private:
  void end() const {
    if (!aside_) stream_.wait();
  }
  std::unique_ptr<Communicator> ranks_;
  const Queue& stream_;
  bool aside_ = false;
};

std::string code_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.code();
  }
  return "";
}

}  // namespace

TEST_CASE("nccl: every call, in groups too") {
  for (const int size : {1, 2, 3, 4}) {
    CAPTURE(size);
    const standin::Counts before = counts();
    CHECK_NOTHROW(parallel::run_ranks(size, [](Communicator& threads) {
      const Queue stream;
      Awaited ranks(join(threads, stream), stream);
      communicator_checks::check(ranks);
      communicator_checks::check_split(ranks);
    }));
    const standin::Counts after = counts();
    CHECK(after.made - before.made == 2 * size);
    CHECK(after.destroyed - before.destroyed == 2 * size);
    CHECK(after.aborted == before.aborted);
  }
}

TEST_CASE("nccl: a call waits for the backend's stream, and the stream for the call") {
  parallel::run_ranks(3, [](Communicator& threads) {
    const Queue stream;
    const auto ranks = join(threads, stream);
    std::vector<double> values(64, -1), seen(50);
    for (int round = 0; round < 50; ++round) {
      stream.queue([&, round] {
        std::this_thread::sleep_for(
            std::chrono::microseconds(random_bits(1, 9, threads.rank() + 3 * round) % 300));
        std::fill(values.begin(), values.end(), round + threads.rank());
      });
      ranks->all_reduce(values.data(), 64, DType::f64);
      stream.queue([&, round] { seen[static_cast<std::size_t>(round)] = values[63]; });
    }
    stream.wait();
    for (int round = 0; round < 50; ++round)
      communicator_checks::require(seen[static_cast<std::size_t>(round)] == 3 * round + 3, *ranks,
                                   "the order");
  });
}

TEST_CASE("nccl: what is made aside leaves the backend's stream alone until it is joined") {
  parallel::run_ranks(2, [](Communicator& threads) {
    const Queue stream;
    const auto ranks = join(threads, stream);
    std::atomic<bool> went_on{false};
    double value = 0, joined = 0;
    stream.queue([&] { value = 1 + threads.rank(); });
    // The second rank comes only after the first one's stream has gone on.
    if (threads.rank() == 1) threads.barrier();
    ranks->fork();
    ranks->all_reduce(&value, 1, DType::f64);
    const std::uint64_t mark = ranks->mark();
    stream.queue([&] { went_on = true; });
    if (threads.rank() == 0) {
      while (!went_on) std::this_thread::sleep_for(1ms);
      threads.barrier();
    }
    ranks->join(mark);
    stream.queue([&] { joined = value; });
    stream.wait();
    communicator_checks::require(joined == 3, *ranks, "the sum behind its mark");
  });
}

TEST_CASE("nccl: the time that a stream stands still for others is told, once") {
  parallel::run_ranks(2, [](Communicator& threads) {
    const Queue stream;
    const auto ranks = join(threads, stream);
    double value = 1;
    if (threads.rank() == 1) stream.queue([] { std::this_thread::sleep_for(150ms); });
    ranks->all_reduce(&value, 1, DType::f64);
    stream.wait();
    const double waited = ranks->waited();
    communicator_checks::require(threads.rank() == 0 ? waited > 0.1 : waited < 0.1, *ranks,
                                 "the time waited");
    communicator_checks::require(ranks->waited() == 0, *ranks, "the time waited since");
  });
}

TEST_CASE("nccl: memory that a call will write is announced before") {
  parallel::run_ranks(2, [](Communicator& threads) {
    const Queue stream;
    std::vector<std::pair<void*, std::size_t>> told;
    const auto ranks =
        join(threads, stream, [&](void* data, std::size_t bytes) { told.emplace_back(data, bytes); });
    float in[4] = {}, out[4] = {};
    ranks->all_gather(in, out, 2, DType::f32);
    ranks->reduce_scatter(out, in, 2, DType::f32);
    ranks->all_to_all(in, out, 2, DType::f32);
    stream.wait();
    const std::vector<std::pair<void*, std::size_t>> expected = {{out, 16}, {in, 8}, {out, 8}, {out + 2, 8}};
    communicator_checks::require(told == expected, *ranks, "what is announced");
  });
}

TEST_CASE("nccl: ranks that make different calls are told, rather than given a result") {
  std::atomic<int> failed{0};
  CHECK(code_of([&] {
          parallel::run_ranks(2, [&](Communicator& threads) {
            const Queue stream;
            const auto ranks = join(threads, stream);
            double values[2] = {};
            ranks->all_reduce(values, threads.rank() + 1, DType::f64);
            stream.wait();
            if (code_of([&] { ranks->waited(); }) == "nccl") ++failed;
            threads.barrier();
            throw Error("done", "");
          });
        }) == "done");
  CHECK(failed == 2);
}

TEST_CASE("nccl: a rank that fails aborts, and does not wait for those that never come") {
  for (const char* function : {"ncclAllReduce", "ncclSend", ""}) {
    CAPTURE(function);
    const standin::Counts before = counts();
    const std::string code = code_of([&] {
      parallel::run_ranks(2, [&](Communicator& threads) {
        const Queue stream;
        const auto ranks = join(threads, stream);
        const auto part = ranks->split(0, threads.rank());
        double value = 1;
        if (threads.rank() == 1) {
          // Its peer waits in this one; it fails before it gets there.
          threads.barrier();
          throw Error("mine", "rank 1 cannot go on");
        }
        part->all_reduce(&value, 1, DType::f64);
        threads.barrier();
        if (*function != 0) fail_next(function, 3);
        ranks->exchange({{1, &value, 1}}, {}, DType::f64);
        ranks->all_reduce(&value, 1, DType::f64);
        throw Error("mine", "neither can rank 0");
      });
    });
    CHECK(code == (*function != 0 ? "nccl" : "mine"));
    CHECK(counts().aborted - before.aborted == 4);
    CHECK(counts().destroyed == before.destroyed);
  }
}

TEST_CASE("nccl: after a failed group the next one stands alone") {
  parallel::run_ranks(2, [](Communicator& threads) {
    const Queue stream;
    const auto ranks = join(threads, stream);
    const int other = 1 - threads.rank();
    const double value = threads.rank();
    double got = -1;
    fail_next("ncclSend", 3);
    communicator_checks::require(
        code_of([&] { ranks->exchange({{other, &value, 1}}, {{other, &got, 1}}, DType::f64); }) == "nccl",
        *ranks, "a failed send");
    const auto again = join(threads, stream);
    again->exchange({{other, &value, 1}}, {{other, &got, 1}}, DType::f64);
    stream.wait();
    communicator_checks::require(got == other, *ranks, "the message of the next group");
  });
}

TEST_CASE("nccl: ranks train as one, with what is made aside really aside") {
  using namespace training;
  const auto train_on = [](const Degrees& degrees) {
    const Plan plan = parse_plan(plan_of(degrees));
    Trained first;
    parallel::run_ranks(rank_count(plan.run.parallel), [&](Communicator& threads) {
      const Queue stream;
      const auto backend = make_cpu_backend("fp64", 1);
      Trained trained = train(plan, *backend, std::make_unique<Awaited>(join(threads, stream), stream));
      if (threads.rank() == 0) first = std::move(trained);
    });
    return first;
  };
  const Trained expected = train_on({1, 1, 0, false, false});
  for (const auto* list : {&layouts(), &context_layouts()}) {
    for (const Degrees& degrees : *list) {
      CAPTURE(degrees);
      CHECK(largest_error(train_on(degrees), expected) < kExact);
    }
  }
}

TEST_CASE("nccl: operators over context ranks, with what is made aside really aside") {
  using namespace context_checks;
  for (const int size : {2, 3, 4}) {
    for (const SequenceOrder order : kOrders) {
      for (const SmallCheck& check : small_checks(size, order)) {
        std::string wrong;
        parallel::run_ranks(size, [&](Communicator& world) {
          const Queue stream;
          const auto backend = make_cpu_backend("fp64", 1);
          Awaited ranks(join(world, stream), stream);
          Findings findings;
          check({world, ranks, *backend, *backend, findings});
          if (world.rank() == 0) wrong = findings.wrong;
        });
        CHECK(wrong == "");
      }
    }
  }
}
