// striped::ShardOperators' calls on CUDA: whole sequences in pieces, all on one device, against the equations
// of the whole in double precision. Every array is random and fresh, outputs, workspaces and what has not
// arrived yet are poisoned, guards lie behind every array, and a second run must give the same bits. Built by
// CMake as test_cuda_pieces, and as test_pieces_emulated for the processor (emulation/). Arguments: `small`
// (for the emulation), `short` (for the sanitizer) or `all`; then a seed, to see a failure again. Exit code 1
// when anything fails, 77 without a GPU.
#include "cuda_modal_pieces.h"
#include "cuda_piece_arrays.h"
#include "cuda_rows_checks.h"

using namespace cuda_fixture;

namespace {

// hyena_piece and hyena_piece_backward, with the exchanges that ranks would make.
class PieceTrial : public PieceArrays {
 public:
  PieceTrial(const Case& test, int pieces, Inputs& in, const Results& expected)
      : PieceArrays(test, pieces, in, expected),
        edge_rows_(std::min<std::int64_t>(shape_.taps - 1, shape_.length)),
        edge_(static_cast<std::size_t>(shape_.batch * edge_rows_ * shape_.width), type_),
        before_(static_cast<std::size_t>(shape_.batch * (shape_.taps - 1) * shape_.width), type_),
        after_(before_.size(), type_) {
    expect_filter(expected);
  }

  bool arrivals_right() const { return arrivals_ == 2; }

  // Both passes; the outputs' bytes.
  Bytes call() {
    poison();
    arrivals_ = 0;
    hide_surroundings();
    const HyenaSurroundings around{projections_.data(), before_.data(), after_.data()};
    cuda::hyena_piece(
        shape_, weights(), type_, around,
        [&] {
          bring_projections();
          bring_before();
          arrivals_ += 1;
        },
        in_.z.data(), y_.data(), nullptr, workspace_.data(), plans_, nullptr);
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    workspace_.poison();
    hide_surroundings();
    cuda::hyena_piece_backward(
        shape_, weights(), type_, around,
        [&] {
          bring_projections();
          bring_before();
          bring_after();
          arrivals_ += 1;
        },
        in_.z.data(), nullptr, in_.dy.data(), dz_.data(), reach_.data(), out_.gradients(), workspace_.data(),
        plans_, nullptr);
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    finish_projections();
    return bytes_of(outputs_);
  }

 private:
  void hide_surroundings() {
    for (DeviceArray* array : {&projections_, &before_, &after_, &edge_}) array->poison();
  }
  void bring_before() {
    cuda::hyena_gate(shape_, weights(), type_, projections_.data(), in_.z.data(),
                     {shape_.length - edge_rows_, edge_rows_}, edge_.data(), nullptr);
    bring(true, before_);
  }
  void bring_after() {
    cuda::hyena_query(shape_, weights(), type_, projections_.data(), in_.z.data(), in_.dy.data(),
                      {0, edge_rows_}, edge_.data(), nullptr);
    bring(false, after_);
  }
  void bring(bool before, DeviceArray& to) {
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    Values rows = pieces_.halo(before, shape_.taps - 1, shape_.width, edge_.get(), edge_rows_);
    to.put(rows);
  }

  int arrivals_ = 0;
  std::int64_t edge_rows_;
  DeviceArray edge_, before_, after_;
};

template <class Trial>
void run_as(const Case& test, int pieces) {
  Inputs in = random_inputs(test);
  Results expected;
  Trial trial(test, pieces, in, expected);
  expected = hyena_reference::reference(test.shape, in);
  const bool same = trial.call() == trial.call();
  judge(test, " in " + std::to_string(pieces), trial.outputs(), same && trial.arrivals_right(),
        trial.guards_intact());
}

void run(const Case& test, int pieces) {
  if (test.shape.kind == HyenaKind::long_implicit) {
    run_as<ModalPieceTrial>(test, pieces);
  } else {
    run_as<PieceTrial>(test, pieces);
  }
}

// Featurizers and gates by themselves, around a convolution on the host.
class GateTrial : public PieceArrays {
 public:
  GateTrial(const Case& test, int pieces, Inputs& in, const Results& expected)
      : PieceArrays(test, pieces, in, expected),
        convolved_(in.dy.size(), type_),
        u_(in.dy.size(), type_),
        g_(in.dy.size(), type_),
        part_(static_cast<std::size_t>(shape_.batch * part_rows().count * shape_.width), type_),
        filter_values_(in.filter),
        skip_values_(in.skip) {
    for (std::size_t i = 0; i < in.decay.size(); ++i) filter_values_[i] *= in.decay[i];
  }

  bool parts_agree() const { return parts_agree_; }

  Bytes call() {
    poison();
    for (DeviceArray* array : {&convolved_, &u_, &g_, &part_}) array->poison();
    bring_projections();
    const RowRange all{0, shape_.length};
    const void* const before = projections_.data();
    cuda::hyena_gate(shape_, weights(), type_, before, in_.z.data(), all, u_.data(), nullptr);
    cuda::hyena_gate(shape_, weights(), type_, before, in_.z.data(), part_rows(), part_.data(), nullptr);
    parts_agree_ = is_part_of(u_);
    Values values = convolve(u_.get(), false);
    convolved_.put(values);
    cuda::hyena_query(shape_, weights(), type_, before, in_.z.data(), convolved_.data(), all, y_.data(),
                      nullptr);
    cuda::hyena_query(shape_, weights(), type_, before, in_.z.data(), in_.dy.data(), all, g_.data(), nullptr);
    cuda::hyena_query(shape_, weights(), type_, before, in_.z.data(), in_.dy.data(), part_rows(),
                      part_.data(), nullptr);
    parts_agree_ = parts_agree_ && is_part_of(g_);
    values = convolve(g_.get(), true);
    g_.put(values);
    cuda::hyena_gate_backward(shape_, weights(), type_, before, in_.z.data(), convolved_.data(),
                              in_.dy.data(), g_.data(), dz_.data(), reach_.data(),
                              out_.gradients().featurizer, workspace_.data(), nullptr);
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    finish_projections();
    return bytes_of(outputs_);
  }

 private:
  // Some rows, neither the first nor the last ones where there are others.
  RowRange part_rows() const {
    const std::int64_t first = shape_.length / 3;
    return {first, std::max<std::int64_t>(1, shape_.length / 2 - first)};
  }
  bool is_part_of(const DeviceArray& whole) const {
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    const Values rows = part_.get(), all = whole.get();
    const RowRange range = part_rows();
    const std::int64_t run = range.count * shape_.width;
    for (std::int64_t b = 0; b < shape_.batch; ++b) {
      const auto from = all.begin() + (b * shape_.length + range.first) * shape_.width;
      if (!std::equal(from, from + run, rows.begin() + b * run)) return false;
    }
    return part_.guard_intact() && whole.guard_intact();
  }
  // h ∗ x + d ⊙ x over whole sequences, or its adjoint.
  Values convolve(const Values& x, bool adjoint) const {
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    const HyenaShape& s = pieces_.whole;
    Values out(x.size());
    for (std::int64_t b = 0; b < s.batch; ++b) {
      for (std::int64_t t = 0; t < s.length; ++t) {
        for (std::int64_t c = 0; c < s.width; ++c) {
          const std::int64_t at = (b * s.length + t) * s.width + c;
          const double* const h = &filter_values_[c / (s.width / s.groups) * s.taps];
          if (s.has_skip) out[at] += skip_values_[c] * x[at];
          for (std::int64_t j = 0; j < s.taps && j <= t; ++j) {
            const std::int64_t earlier = at - j * s.width;
            if (adjoint) {
              out[earlier] += h[j] * x[at];
            } else {
              out[at] += h[j] * x[earlier];
            }
          }
        }
      }
    }
    return out;
  }

  bool parts_agree_ = false;
  DeviceArray convolved_, u_, g_, part_;
  Values filter_values_, skip_values_;
};

void run_gates(const Case& test, int pieces) {
  Inputs in = random_inputs(test);
  Results expected;
  GateTrial trial(test, pieces, in, expected);
  expected = hyena_reference::reference(test.shape, in);
  const bool same = trial.call() == trial.call();
  judge(test, " gates in " + std::to_string(pieces), trial.outputs(), same && trial.parts_agree(),
        trial.guards_intact());
}

void gates(ElementType type) {
  run_gates(fir(type, 1, 80, 264, 8, 3), 2);
  run_gates(fir(type, 2, 33, 33, 3, 5, 3, true), 3);
  run_gates(fir(type, 1, 24, 72, 8, 2, 8), 4);
  run_gates(fir(type, 1, 10, 40, 1, 4, 4), 10);
  run_gates(fir(type, 2, 40, 16, 1, 4, 1), 2);
}

// Pieces longer and shorter than filter and featurizer, in the kernels that this type and width have.
void pieces(ElementType type) {
  for (const int h : {1, 2, 4, 7, 31, 128, 129, 257, 258, 400}) {
    const std::int64_t width = width_for(h);
    run(fir(type, 1, 4 * (h + 37), width, 16, h, 3, h % 2 == 0, h > 100), 4);
    run(fir(type, 1, 5 * (h / 3 + 2), width, 16, h, 3, h % 2 == 1), 5);
    run(fir(type, 2, 2 * h + 6, 48, h % 2 == 0 ? 1 : 3, h, 3, h % 2 == 0, h > 30), 2);
  }
  run(fir(type, 1, 12, 192, 16, 7, 3, true), 12);
  run(fir(type, 2, 33, 33, 3, 12, 8, true), 3);
  run(fir(type, 1, 15, 40, 1, 40, 8), 5);
  run(fir(type, 1, 60, 64, 1, 7, 1), 3);
  run(fir(type, 1, 20, 24, 1, 1, 1, true), 2);
  run(fir(type, 1, 75, 192, 16, 7), 1);
}

// Every kernel and every way in which edges can lie, in a size that the emulation does in seconds.
void small() {
  const ElementType bf16 = ElementType::bf16, fp32 = ElementType::f32;
  run(fir(bf16, 1, 120, width_for(31), 16, 31, 3, true), 2);
  run(fir(bf16, 1, 60, width_for(31), 16, 31), 3);
  run(fir(bf16, 1, 120, 240, 15, 31, 3, true, true), 2);
  run(fir(bf16, 1, 288, width_for(130), 16, 130, 3, true, true), 2);
  run(fir(fp32, 1, 60, 33, 3, 12, 8, true, true), 2);
  run(fir(fp32, 1, 15, 24, 1, 20, 8), 5);
  run(fir(fp32, 2, 6, 24, 8, 7, 3, true), 6);
  run(fir(fp32, 1, 12, 24, 1, 1, 3, true), 2);
  run(fir(fp32, 1, 20, 24, 1, 7, 1), 2);
  run(fir(fp32, 1, 10, 24, 1, 1, 1, true), 2);
}

// States that enter and leave: pieces in one strip and in several, and of rows that are no whole tiles.
void modal_pieces(bool small) {
  const ElementType f32 = ElementType::f32, bf16 = ElementType::bf16;
  run(modal(f32, 1, 77, 24, 1, 3, 3, false), 1);
  run(modal(f32, 1, 12, 24, 1, 4, 8), 12);
  run(modal(f32, 2, 65, 33, 3, 7, 4), 5);
  run(modal(f32, 2, 384, 32, 1, 16), 3);
  run(modal(f32, 1, 300, 64, 64, 32, 1), 2);
  run(modal(bf16, 1, 771, 64, 1, 16), 3);
  run(modal(bf16, 2, 66, 96, 3, 20, 3, false), 2);
  run(modal(bf16, 1, 512, 32, 1, 16), 1);
  run(modal(bf16, 2, 768, 64, 8, 5, 3, false), 3);
  run(modal(bf16, 1, 1280, 64, 1, 9), 5);
  run(modal(bf16, 1, 4608, 32, 1, 16), 2);
  if (small) return;
  run(modal(f32, 1, 3000, 1024, 16, 16), 3);
  run(modal(bf16, 1, 2304, 64, 1, 16), 1);
  run(modal(bf16, 2, 7680, 256, 1, 16), 5);
  run(modal(bf16, 1, 4096, 4096, 1, 16), 4);
  run(modal(bf16, 1, 10240, 256, 32, 11, 3, false), 2);
}

void tests(const std::string& size) {
  check_rows();
  modal_pieces(size == "small");
  for (const ElementType type : {ElementType::f32, ElementType::bf16}) {
    gates(type);
    if (size == "small") continue;
    pieces(type);
    if (size == "short") continue;
    run(fir(type, 1, 4096, 4096, 16, 128, 3, true, true), 2);
    run(fir(type, 1, 8191, 1024, 16, 7, 3), 1);
    run(fir(type, 2, 8000, 256, 16, 128, 3, true, true), 8);
    run_gates(fir(type, 1, 3000, 1024, 16, 4, 3, true), 3);
  }
  if (size == "small") small();
}

}  // namespace

int main(int count, char** arguments) { return run_tests(count, arguments, tests); }
