// Where the residual stream and the inside of a sublayer meet. Inside, a tensor rank has all rows and its
// share of the channels, so what its output projection makes is a summand. Outside, it has its share of the
// rows (sequence parallel) or all of them, summed.
//
//                     sequence parallel            tensor parallel alone
//   in, forward       all-gather rows              nothing
//   out, forward      reduce-scatter rows          all-reduce
//   out, backward     all-gather rows              nothing
//   in, backward      reduce-scatter rows          all-reduce
#pragma once

#include "core/execution.h"
#include "core/model_shape.h"

namespace striped::parallel {

class TensorBoundary {
 public:
  using Buffer = Arena::Buffer;

  TensorBoundary() = default;
  TensorBoundary(const ModelShape& shape, DType type)
      : share_(shape.stream_rows() * shape.width),
        type_(type),
        gathers_(shape.place.sequence),
        sums_(shape.place.tensor.count > 1) {}

  // Which of two buffers the inside uses: one with all rows where the stream has a share of them.
  Buffer inside(Buffer whole, Buffer stream) const { return gathers_ ? whole : stream; }

  // From the stream's rows to inside(whole, stream).
  void enter(const Execution& run, Buffer stream, Buffer whole) const {
    if (gathers_) run.ranks.tensor->all_gather(run.at(stream), run.at(whole), share_, type_);
  }
  // From the summands in inside(whole, stream) to the stream's rows of their sum.
  void leave(const Execution& run, Buffer whole, Buffer stream) const {
    if (gathers_)
      run.ranks.tensor->reduce_scatter(run.at(whole), run.at(stream), share_, type_);
    else if (sums_)
      run.ranks.tensor->all_reduce(run.at(stream), share_, type_);
  }

  // The same beside the backend's queue, which may do other work until meet().
  void enter_aside(const Execution& run, Buffer stream, Buffer whole) {
    mark_ = run.ranks.tensor->aside([&] { enter(run, stream, whole); });
  }
  void leave_aside(const Execution& run, Buffer whole, Buffer stream) {
    mark_ = run.ranks.tensor->aside([&] { leave(run, whole, stream); });
  }
  // Ends what was begun aside last, with these buffers.
  void meet(const Execution& run, Buffer whole, Buffer stream) const {
    if (!sums_) return;
    run.ranks.tensor->join(mark_);
    // Both are in use until here.
    if (gathers_) run.at(whole);
    run.at(stream);
  }

 private:
  std::int64_t share_ = 0;  // values of the stream on this rank
  DType type_ = DType::f32;
  bool gathers_ = false, sums_ = false;
  std::uint64_t mark_ = 0;  // of what is aside
};

}  // namespace striped::parallel
