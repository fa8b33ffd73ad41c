// Hyena-LI on tensor cores (sm_90, bf16): kernels and launchers behind hyena_modal.h. See docs/kernels.md,
// "LI".
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "hyena.h"

namespace striped::cuda::modal {

// How a call is spread: sequences are cut into strips only where channels and batch alone would leave the
// device idle, since a strip needs its first state from a pass of its own.
struct Layout {
  int tiles;        // of 256 tokens, a sequence
  int strips;       // a sequence
  int strip_tiles;  // tiles a strip; the last may have fewer
};
Layout layout(const HyenaShape&);

// States of one direction, fp32 [..., width, 16]; those of a strip begin from zero.
struct States {
  float* tiles;  // [batch, tiles]: after each tile of g, or null
  float* ends;   // [batch, strips]: leaving each strip; then, in place, entering it
};

bool tensor_supports(const HyenaShape&);
// Pieces of sequences must consist of whole tiles: a state that comes from beyond an end must meet the end of
// a tile.
bool tensor_supports_piece(const HyenaShape&);
std::size_t tensor_kept(const HyenaShape&);
std::size_t tensor_workspace(const HyenaShape&, bool piece);
// `around` null: whole sequences; `reach` is for pieces, and `arrived` is called behind what needs no states
// from around them.
void tensor_forward(const HyenaShape&, const HyenaWeights&, const HyenaSurroundings* around,
                    const Arrived& arrived, const void* z, void* y, void* kept, void* workspace,
                    cudaStream_t);
void tensor_backward(const HyenaShape&, const HyenaWeights&, const HyenaSurroundings* around,
                     const Arrived& arrived, const void* z, const void* kept, const void* dy, void* dz,
                     void* reach, const HyenaGradients&, void* workspace, cudaStream_t);

// First pass over strips: u = k' ⊙ v' forwards in time, or g = dy ⊙ q' backwards (`reversed`, dy not null).
// `leaving` [batch, order, width], which may be null, becomes the states at the sequence's other end.
void launch_states(const HyenaShape&, const HyenaWeights&, const HyenaSurroundings* around,
                   const Arrived& arrived, const void* z, const void* dy, bool reversed, const States&,
                   float* leaving, cudaStream_t);

}  // namespace striped::cuda::modal
