// Hyena-LI on pieces of sequences: hyena_piece and hyena_piece_backward with the states that go from piece to
// piece, found by hyena_states and hyena_carry.
#pragma once

#include "cuda_piece_arrays.h"
#include "hyena_modal.h"

namespace cuda_fixture {

class ModalPieceTrial : public PieceArrays {
 public:
  ModalPieceTrial(const Case& test, int pieces, Inputs& in, const Results& expected)
      : PieceArrays(test, pieces, in, expected),
        kept_(cuda::hyena_piece_kept(shape_, type_) / 4, kReal),
        alone_(static_cast<std::size_t>(shape_.batch * shape_.order * shape_.width), kReal),
        carried_(alone_.size(), kReal),
        before_(alone_.size(), kReal),
        after_(alone_.size(), kReal) {
    expect_filter(expected);
  }

  bool arrivals_right() const { return arrivals_ == 2; }
  bool guards_intact() const {
    return PieceArrays::guards_intact() && kept_.guard_intact() && alone_.guard_intact() &&
           carried_.guard_intact();
  }

  // Both passes; the outputs' bytes.
  Bytes call() {
    poison();
    kept_.poison();
    arrivals_ = 0;
    find_states(nullptr);
    cuda::hyena_piece(
        shape_, weights(), type_, around(),
        [&] {
          bring_states(true, before_);
          arrivals_ += 1;
        },
        in_.z.data(), y_.data(), kept_.data(), workspace_.data(), plans_, nullptr);
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    find_states(in_.dy.data());
    const Values before = before_.get();
    before_.poison();
    cuda::hyena_piece_backward(
        shape_, weights(), type_, around(),
        [&] {
          Values again = before;
          before_.put(again);
          bring_states(false, after_);
          arrivals_ += 1;
        },
        in_.z.data(), kept_.data(), in_.dy.data(), dz_.data(), reach_.data(), out_.gradients(),
        workspace_.data(), plans_, nullptr);
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    finish_projections();
    return bytes_of(outputs_);
  }

 private:
  // Whole sequences in one piece have nothing around them.
  HyenaSurroundings around() const {
    if (pieces_.count == 1) return {};
    return {projections_.data(), before_.data(), after_.data()};
  }
  // Of each piece alone; then hides what has not arrived.
  void find_states(const void* dy) {
    workspace_.poison();
    alone_.poison();
    bring_projections();
    cuda::modal_states(shape_, weights(), type_, around().projections, in_.z.data(), dy, alone_.data(),
                       workspace_.data(), nullptr);
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    for (DeviceArray* array : {dy == nullptr ? &before_ : &after_, &workspace_}) array->poison();
  }
  // From the states of pieces alone to those that enter them.
  void bring_states(bool before, DeviceArray& to) {
    const Values alone = alone_.get();
    Values entering(alone.size());
    to.put(entering);
    const std::int64_t state = shape_.order * shape_.width;
    for (int hop = 1; hop < pieces_.count; ++hop) {
      Values carried = alone;
      carried_.put(carried);
      cuda::modal_carry(shape_, weights(), shape_.batch, to.data(), carried_.data(), nullptr);
      check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
      carried = carried_.get();
      for (std::int64_t piece = 0; piece < shape_.batch; ++piece) {
        const std::int64_t from = before ? piece - 1 : piece + 1;
        if (piece % pieces_.count == (before ? 0 : pieces_.count - 1)) continue;
        std::copy_n(carried.begin() + from * state, state, entering.begin() + piece * state);
      }
      to.put(entering);
    }
  }

  int arrivals_ = 0;
  DeviceArray kept_, alone_, carried_, before_, after_;
};

}  // namespace cuda_fixture
