// The strategy of ContextHyena for general long filters: a Fourier transform over the ranks, by decimation in
// frequency with the pieces as its radix. Every rank has some residues of the spectrum of all channels.
// Pieces of the gated input pass from rank to rank, each of which adds them to its residues as they come;
// what a rank's residues add to a piece of the result goes back the same way, while the pieces before and
// behind are worked on. No rank ever holds more than its own share and two ranks' pieces.
#pragma once

#include <array>

#include "parallel/surroundings.h"

namespace striped::parallel {

class FourierSpread final : public ContextHyena {
 public:
  FourierSpread(const HyenaShape& whole, const Sharding& sharding, Backend& backend)
      : work_(whole, sharding, backend) {}
  std::size_t kept_bytes() const override;
  std::size_t workspace_bytes() const override;
  void forward(Communicator& ranks, const HyenaWeights& weights, const void* z, void* y,
               const ContextBuffers& buffers) override;
  void backward(Communicator& ranks, const HyenaWeights& weights, const void* z, const void* dy, void* dz,
                const HyenaGradients& gradients, const ContextBuffers& buffers) override;

 private:
  struct Kept;
  struct Scratch;
  FourierPart part(int rank) const;
  std::int64_t local_values() const { return work_.rows() * work_.piece.width; }
  std::size_t local_bytes() const { return static_cast<std::size_t>(local_values()) * size_of(work_.value); }
  // Calls visit(piece, first value of its rows in the local values) for the pieces of a rank.
  template <class Visit>
  void for_pieces(int rank, const Visit& visit) const;
  // Arrays of as many values as there are locally, one on its way while the other is worked on.
  using Turns = std::array<void*, 2>;
  // This rank's residues of what all ranks have, and back: `local` becomes the sum over all ranks' residues.
  void to_residues(Communicator& ranks, const void* local, const Turns& arriving, void* spectrum) const;
  void to_rows(Communicator& ranks, const void* spectrum, const Turns& leaving, void* arriving,
               void* local) const;

  PieceWork work_;
};

}  // namespace striped::parallel
