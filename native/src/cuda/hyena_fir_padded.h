// Hyena-SE and Hyena-MR on tensor cores for groups that do not fill tiles of 16 channels: slices of whole
// groups are copied to arrays in which they do, for the kernels of hyena_fir.h. See docs/kernels.md, "Groups
// that do not fill tiles".
#pragma once

#include <cuda_runtime.h>

#include "hyena.h"

namespace striped::cuda {

// What fir_supports() but for the width and the groups, of three channels and more.
bool padded_supports(const HyenaShape&, ElementType);
// `slice_bytes`: about what the copies of a slice take.
std::size_t padded_workspace(const HyenaShape&, std::size_t slice_bytes);
void padded_forward(const HyenaShape&, const HyenaWeights&, std::size_t slice_bytes, const void* z, void* y,
                    void* workspace, cudaStream_t);
void padded_backward(const HyenaShape&, const HyenaWeights&, std::size_t slice_bytes, const void* z,
                     const void* dy, void* dz, const HyenaGradients&, void* workspace, cudaStream_t);

}  // namespace striped::cuda
