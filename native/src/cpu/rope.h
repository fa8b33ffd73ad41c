// Rotary position embedding: heads are copied out of (and back into) the packed qkv rows, rotated on the way.
#pragma once

#include "context.h"
#include "striped/backend.h"

namespace striped::cpu {

// A table of this shape's angles for positions below `length` at least, computed when the last one does not
// serve; null when there is no rotation.
const RopeTable* rope_table(Context&, const AttentionShape&, std::int64_t length);

// Rows of one head, the first at `position` of its sequence.
struct HeadRows {
  std::int64_t rows, position;
  int head_dim;
};

// Copies rows of a head, `stride` apart, to target[rows, head_dim], rotated when there is a table.
template <class T>
void rotate_head(const RopeTable*, const HeadRows&, const T* source, std::int64_t stride, T* target);

// target rows, `target_stride` apart, = R(position)ᵀ · Σ over `heads` of source[heads, rows, head_dim].
template <class T>
void rotate_back(const RopeTable*, const HeadRows&, const T* source, int heads, T* target,
                 std::int64_t target_stride);

}  // namespace striped::cpu
