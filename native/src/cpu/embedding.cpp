// Token embedding: rows of a table, and their gradients scattered back.
#include <algorithm>

#include "operators.h"

namespace striped::cpu {

template <class T>
void embedding(Context& context, std::int64_t rows, std::int64_t width, const std::int32_t* tokens,
               const T* table, T* x) {
  context.pool.split(rows, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) std::copy_n(table + tokens[r] * width, width, x + r * width);
  });
}

// Threads own columns of the table, so that each sum runs over the rows in order.
template <class T>
void embedding_gradient(Context& context, std::int64_t rows, std::int64_t width, const std::int32_t* tokens,
                        const T* dx, T* dtable) {
  context.pool.split(
      width, 16,
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t r = 0; r < rows; ++r) {
          T* __restrict target = dtable + tokens[r] * width;
          const T* __restrict source = dx + r * width;
          for (std::int64_t c = begin; c < end; ++c) target[c] += source[c];
        }
      },
      1);
}

#define STRIPED_INSTANTIATE(T)                                                                      \
  template void embedding(Context&, std::int64_t, std::int64_t, const std::int32_t*, const T*, T*); \
  template void embedding_gradient(Context&, std::int64_t, std::int64_t, const std::int32_t*, const T*, T*);
STRIPED_INSTANTIATE(float)
STRIPED_INSTANTIATE(double)
#undef STRIPED_INSTANTIATE

}  // namespace striped::cpu
