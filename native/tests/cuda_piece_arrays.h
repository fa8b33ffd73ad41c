// What the tests of CUDA's operators on pieces of sequences have in common.
#pragma once

#include "cuda_fixture.h"
#include "fourier_plans.h"
#include "hyena_gates.h"

namespace cuda_fixture {

// Cases are whole sequences; their pieces lie one after the other, so that arrays of the whole are arrays of
// pieces as they are.
struct Pieces {
  HyenaShape whole;
  int count;  // of a sequence

  std::int64_t rows() const { return whole.length / count; }
  std::int64_t all() const { return whole.batch * count; }
  HyenaShape shape() const {
    HyenaShape s = whole;
    s.batch = all();
    s.length = rows();
    return s;
  }
  // The `reach` rows before each piece, [all, reach, width], or those behind it, from the last (first)
  // `source` rows of all pieces, [all, source, width]. Zero outside a sequence.
  Values halo(bool before, std::int64_t reach, std::int64_t width, const Values& from,
              std::int64_t source) const {
    Values out(static_cast<std::size_t>(all() * reach * width));
    for (std::int64_t i = 0; i < all() * reach; ++i) {
      const std::int64_t piece = i / reach, in_sequence = piece % count;
      const std::int64_t t =
          before ? in_sequence * rows() - reach + i % reach : (in_sequence + 1) * rows() + i % reach;
      if (t < 0 || t >= whole.length) continue;
      const std::int64_t row = t % rows() - (before ? rows() - source : 0);
      const std::int64_t at = (piece - in_sequence + t / rows()) * source + row;
      std::copy_n(from.begin() + at * width, width, out.begin() + i * width);
    }
    return out;
  }
};

// What all calls on the pieces of a case have in common. Rounds `in` to the arrays' types.
class PieceArrays {
 public:
  PieceArrays(const Case& test, int pieces, Inputs& in, const Results& expected)
      : pieces_{test.shape, pieces},
        shape_(pieces_.shape()),
        type_(test.type),
        reach_rows_(shape_.featurizer_taps - 1),
        in_(test, in),
        out_(test, in),
        y_(in.dy.size(), type_),
        dz_(in.z.size(), type_),
        reach_(
            static_cast<std::size_t>(shape_.batch * std::min(reach_rows_, shape_.length) * 3 * shape_.width),
            type_),
        beyond_(static_cast<std::size_t>(shape_.batch * reach_rows_ * 3 * shape_.width), type_),
        projections_(beyond_.size(), type_),
        workspace_(cuda::hyena_piece_workspace(shape_, type_, plans_) / 4 + 1, kReal) {
    z_values_ = in.z;
    outputs_ = {{"y", &y_, &expected.y, 0}, {"dz", &dz_, &expected.dz, 0}, out_.of_featurizer(expected)};
  }

  const std::vector<Output>& outputs() const { return outputs_; }
  bool guards_intact() const {
    return workspace_.guard_intact() && reach_.guard_intact() && projections_.guard_intact();
  }

 protected:
  HyenaWeights weights() const { return in_.weights(); }
  // For calls that convolve.
  void expect_filter(const Results& expected) {
    for (const Output& output : out_.of_filter(expected)) outputs_.push_back(output);
  }
  void poison() {
    for (auto& output : outputs_) output.start();
    for (DeviceArray* array : {&workspace_, &reach_, &beyond_, &projections_}) array->poison();
  }
  void bring_projections() {
    Values rows = pieces_.halo(true, reach_rows_, 3 * shape_.width, z_values_, shape_.length);
    projections_.put(rows);
  }
  // What later pieces' featurizers add.
  void finish_projections() {
    Values rows = pieces_.halo(false, reach_rows_, 3 * shape_.width, reach_.get(),
                               std::min(reach_rows_, shape_.length));
    beyond_.put(rows);
    cuda::featurizer_reach(shape_, weights(), type_, beyond_.data(), dz_.data(), nullptr);
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  }

  Pieces pieces_;
  HyenaShape shape_;  // of the pieces
  ElementType type_;
  std::int64_t reach_rows_;
  cuda::FourierPlans plans_;
  Values z_values_;
  InputArrays in_;
  GradientArrays out_;
  DeviceArray y_, dz_, reach_, beyond_, projections_, workspace_;
  std::vector<Output> outputs_;
};

}  // namespace cuda_fixture
