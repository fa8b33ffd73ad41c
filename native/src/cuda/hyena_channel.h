// Hyena-SE and Hyena-MR in bf16 with a filter a channel, or in groups of any size, by the tensor cores of any
// GPU that has them for bf16: the chunk-parallel form (paper A.1), one channel at a time. The kernels of
// whole groups (hyena_fir.h) and of short filters (hyena_short.h) are preferred where they apply. See
// docs/kernels.md, "A filter a channel on tensor cores".
#pragma once

#include <cuda_runtime.h>

#include "hyena.h"

namespace striped::cuda {

// Explicit filters of up to 256 taps (128 before compute capability 9, whose blocks have less shared memory)
// behind featurizers of up to 3, an even width.
bool channel_supports(const HyenaShape&, ElementType);
std::size_t channel_workspace(const HyenaShape&);
void channel_forward(const HyenaShape&, const HyenaWeights&, const void* z, void* y, cudaStream_t);
void channel_backward(const HyenaShape&, const HyenaWeights&, const void* z, const void* dy, void* dz,
                      const HyenaGradients&, void* workspace, cudaStream_t);

}  // namespace striped::cuda
