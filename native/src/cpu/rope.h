// Rotary position embedding: heads are copied out of (and back into) the packed qkv rows, rotated on the way.
#pragma once

#include "context.h"
#include "striped/backend.h"

namespace striped::cpu {

// The table for this shape, computed when it differs from the last one; null when there is no rotation.
const RopeTable* rope_table(Context&, const AttentionShape&);

// Copies rows of a head, `stride` apart, to target[length, head_dim], rotated when there is a table.
template <class T>
void rotate_head(const RopeTable*, const AttentionShape&, const T* source, std::int64_t stride, T* target);

// target rows, `target_stride` apart, = R(position)ᵀ · Σ over `heads` of source[heads, length, head_dim].
template <class T>
void rotate_back(const RopeTable*, const AttentionShape&, const T* source, int heads, T* target,
                 std::int64_t target_stride);

}  // namespace striped::cpu
