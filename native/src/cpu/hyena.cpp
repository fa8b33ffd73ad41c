// The inner Hyena operators: blocks of channels spread over threads; weight gradients are left as one partial
// sum a sequence and added up in a fixed order.
#include "hyena_task.h"
#include "operators.h"

namespace striped::cpu {
namespace {

template <class T, class Filter>
std::int64_t partial_size(const HyenaShape& s, bool piece) {
  return (Filter(s, piece).gradients() + 3 * s.featurizer_taps + 1) * s.width;
}

// The scratch of a worker, in whole cache lines.
template <class T, class Filter>
std::int64_t scratch_size(const HyenaShape& s, bool piece) {
  return (ChannelTask<T, Filter>::scratch(s, piece) + 63) / 64 * 64;
}

template <class T, class Filter>
std::size_t workspace(const Context& context, const HyenaShape& s, bool piece) {
  const std::int64_t values = context.pool.threads() * scratch_size<T, Filter>(s, piece) +
                              s.batch * partial_size<T, Filter>(s, piece);
  return static_cast<std::size_t>(values) * sizeof(T);
}

template <class T, class Filter>
void run_forward(Context& context, const HyenaShape& s, const HyenaWeights& w, const Piece<T>* piece,
                 const T* z, T* y, T* workspace) {
  const std::int64_t scratch = scratch_size<T, Filter>(s, piece != nullptr);
  context.pool.run(s.batch * block_count(s, kLanes<T>), [&](std::int64_t index, int worker) {
    ChannelTask<T, Filter>(s, w, piece, index, workspace + worker * scratch).forward(z, y);
  });
}

// Adds up the partial sums of the sequences for the small weights that every channel has of its own.
template <class T>
void reduce_channels(const HyenaShape& s, const HyenaGradients& out, const T* partial, std::int64_t offset,
                     std::int64_t stride, std::int64_t begin, std::int64_t end) {
  const std::int64_t taps = s.featurizer_taps;
  for (std::int64_t c = begin; c < end; ++c) {
    const auto total = [&](std::int64_t row) {
      T sum = 0;
      for (std::int64_t b = 0; b < s.batch; ++b) sum += partial[b * stride + offset + row * s.width + c];
      return sum;
    };
    for (std::int64_t stream = 0; stream < 3; ++stream) {
      T* target = static_cast<T*>(out.featurizer) + (stream * s.width + c) * taps;
      for (std::int64_t f = 0; f < taps; ++f) target[f] += total(stream * taps + f);
    }
    if (s.has_skip) static_cast<T*>(out.skip)[c] += total(3 * taps);
  }
}

template <class T, class Filter>
void run_backward(Context& context, const HyenaShape& s, const HyenaWeights& w, const Piece<T>* piece,
                  const T* z, const T* dy, T* dz, const HyenaGradients& out, T* workspace) {
  const std::int64_t scratch = scratch_size<T, Filter>(s, piece != nullptr);
  const std::int64_t stride = partial_size<T, Filter>(s, piece != nullptr);
  const std::int64_t blocks = block_count(s, kLanes<T>);
  T* partial = workspace + context.pool.threads() * scratch;
  context.pool.run(s.batch * blocks, [&](std::int64_t index, int worker) {
    ChannelTask<T, Filter> task(s, w, piece, index, workspace + worker * scratch);
    task.backward(z, dy, dz);
    task.finish(partial + index / blocks * stride);
  });
  const Filter filter(s, piece != nullptr);
  context.pool.split(s.groups, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t g = begin; g < end; ++g) filter.reduce(g, w, out, partial, stride, s.batch);
  });
  reduce_channels(s, out, partial, filter.gradients() * s.width, stride, 0, s.width);
}

template <class T>
void forward(Context& context, const HyenaShape& s, const HyenaWeights& w, const Piece<T>* piece, const T* z,
             T* y, T* workspace) {
  if (s.kind == HyenaKind::long_implicit) {
    run_forward<T, ModalFilter<T>>(context, s, w, piece, z, y, workspace);
  } else {
    run_forward<T, FirFilter<T>>(context, s, w, piece, z, y, workspace);
  }
}

template <class T>
void backward(Context& context, const HyenaShape& s, const HyenaWeights& w, const Piece<T>* piece, const T* z,
              const T* dy, T* dz, const HyenaGradients& out, T* workspace) {
  if (s.kind == HyenaKind::long_implicit) {
    run_backward<T, ModalFilter<T>>(context, s, w, piece, z, dy, dz, out, workspace);
  } else {
    run_backward<T, FirFilter<T>>(context, s, w, piece, z, dy, dz, out, workspace);
  }
}

template <class T>
Piece<T> piece_of(const HyenaSurroundings& around, T* reach) {
  return {static_cast<const T*>(around.projections), static_cast<const T*>(around.before),
          static_cast<const T*>(around.after), reach};
}

}  // namespace

template <class T>
std::size_t hyena_workspace(const Context& context, const HyenaShape& s, bool piece) {
  return s.kind == HyenaKind::long_implicit ? workspace<T, ModalFilter<T>>(context, s, piece)
                                            : workspace<T, FirFilter<T>>(context, s, piece);
}

template <class T>
void hyena(Context& context, const HyenaShape& s, const HyenaWeights& w, const T* z, T* y, T* workspace) {
  forward<T>(context, s, w, nullptr, z, y, workspace);
}

template <class T>
void hyena_backward(Context& context, const HyenaShape& s, const HyenaWeights& w, const T* z, const T* dy,
                    T* dz, const HyenaGradients& out, T* workspace) {
  backward<T>(context, s, w, nullptr, z, dy, dz, out, workspace);
}

template <class T>
void hyena_piece(Context& context, const HyenaShape& s, const HyenaWeights& w,
                 const HyenaSurroundings& around, const T* z, T* y, T* workspace) {
  const Piece<T> piece = piece_of<T>(around, nullptr);
  forward(context, s, w, &piece, z, y, workspace);
}

template <class T>
void hyena_piece_backward(Context& context, const HyenaShape& s, const HyenaWeights& w,
                          const HyenaSurroundings& around, const T* z, const T* dy, T* dz, T* reach,
                          const HyenaGradients& out, T* workspace) {
  const Piece<T> piece = piece_of<T>(around, reach);
  backward(context, s, w, &piece, z, dy, dz, out, workspace);
}

#define STRIPED_INSTANTIATE(T)                                                                           \
  template std::size_t hyena_workspace<T>(const Context&, const HyenaShape&, bool);                      \
  template void hyena(Context&, const HyenaShape&, const HyenaWeights&, const T*, T*, T*);               \
  template void hyena_backward(Context&, const HyenaShape&, const HyenaWeights&, const T*, const T*, T*, \
                               const HyenaGradients&, T*);                                               \
  template void hyena_piece(Context&, const HyenaShape&, const HyenaWeights&, const HyenaSurroundings&,  \
                            const T*, T*, T*);                                                           \
  template void hyena_piece_backward(Context&, const HyenaShape&, const HyenaWeights&,                   \
                                     const HyenaSurroundings&, const T*, const T*, T*, T*,               \
                                     const HyenaGradients&, T*);
STRIPED_INSTANTIATE(float)
STRIPED_INSTANTIATE(double)
#undef STRIPED_INSTANTIATE

}  // namespace striped::cpu
