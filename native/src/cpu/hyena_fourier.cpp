// A long convolution over pieces of a sequence that lie with several ranks, by one step of a decimation in
// frequency whose radix is the number of pieces. With L = pieces · rows, residue q is the part
//   X[pieces·m + q + 1/4] = FFT_m( Σ_p x[p·rows + n] · exp(-2πi·(p·rows + n)·(q + 1/4) / L) )
// of the spectrum. Products of spectra at quarters between the integers are products of polynomials modulo
// z^L = -i: what a real convolution carries beyond L comes back as an imaginary part and is dropped, so that
// nothing is padded.
#include <cmath>
#include <vector>

#include "fourier.h"
#include "operators.h"

namespace striped::cpu {
namespace {

// exp(-2πi · k·(q + 1/4) / L) for place k of the sequence.
Complex twiddle(const FourierPart& part, int residue, std::int64_t k) {
  const std::int64_t quarters = 4 * part.pieces * part.rows;
  // Both factors are below 4 L, whose square has to fit: so the product is taken modulo 4 L as it grows.
  const auto product = static_cast<unsigned __int128>(k) * static_cast<unsigned>(4 * residue + 1);
  return turned(static_cast<std::int64_t>(product % static_cast<unsigned __int128>(quarters)), quarters);
}

// Taps of a group's filter, wherever they come from, and back from their gradients.
template <class T>
class LongFilter {
 public:
  LongFilter(const HyenaShape& s, const HyenaWeights& w, std::int64_t length)
      : shape_(s), weights_(w), length_(length) {}

  std::vector<double> taps(std::int64_t group) const {
    std::vector<double> taps(static_cast<std::size_t>(length_));
    if (shape_.kind == HyenaKind::long_implicit) {
      for (int n = 0; n < shape_.order; ++n) {
        const double residue = static_cast<const T*>(weights_.residues)[group * shape_.order + n];
        const double log_pole = pole(group, n);
        for (std::int64_t k = 0; k < length_; ++k)
          taps[static_cast<std::size_t>(k)] += residue * std::exp(log_pole * static_cast<double>(k));
      }
      return taps;
    }
    for (std::int64_t k = 0; k < explicit_taps(); ++k)
      taps[static_cast<std::size_t>(k)] =
          static_cast<const T*>(weights_.filter)[group * shape_.taps + k] * decay(group, k);
    return taps;
  }

  void add(const HyenaGradients& gradients, std::int64_t group, const std::vector<double>& d_taps) const {
    if (shape_.kind == HyenaKind::long_implicit) {
      for (int n = 0; n < shape_.order; ++n) {
        const std::int64_t at = group * shape_.order + n;
        const double log_pole = pole(group, n);
        double d_residue = 0, d_log_pole = 0;
        for (std::int64_t k = 0; k < length_; ++k) {
          const double by_power =
              d_taps[static_cast<std::size_t>(k)] * std::exp(log_pole * static_cast<double>(k));
          d_residue += by_power;
          d_log_pole += by_power * static_cast<double>(k);
        }
        static_cast<T*>(gradients.residues)[at] += static_cast<T>(d_residue);
        static_cast<T*>(gradients.log_poles)[at] +=
            static_cast<T>(d_log_pole * static_cast<double>(static_cast<const T*>(weights_.residues)[at]));
      }
      return;
    }
    for (std::int64_t k = 0; k < explicit_taps(); ++k)
      static_cast<T*>(gradients.filter)[group * shape_.taps + k] +=
          static_cast<T>(d_taps[static_cast<std::size_t>(k)] * decay(group, k));
  }

 private:
  std::int64_t explicit_taps() const { return std::min<std::int64_t>(shape_.taps, length_); }
  double pole(std::int64_t group, int n) const {
    return static_cast<const T*>(weights_.log_poles)[group * shape_.order + n];
  }
  double decay(std::int64_t group, std::int64_t k) const {
    const auto* factors = static_cast<const T*>(weights_.decay);
    return factors == nullptr ? 1.0 : static_cast<double>(factors[group * shape_.taps + k]);
  }
  HyenaShape shape_;
  HyenaWeights weights_;
  std::int64_t length_;
};

// The residues of one filter, and of the spectra of its group's channels.
template <class T>
class Residues {
 public:
  Residues(const FourierPart& part, const HyenaShape& s, const HyenaWeights& w)
      : part_(part),
        filter_(s, w, part.pieces * part.rows),
        skip_(static_cast<const T*>(w.skip)),
        transform_(part.rows) {}

  std::size_t values() const { return static_cast<std::size_t>(part_.count * part_.rows); }

  std::vector<Complex> of_filter(std::int64_t group) const {
    const std::vector<double> taps = filter_.taps(group);
    std::vector<Complex> result(values());
    for_places([&](std::size_t at, std::int64_t k, Complex factor) {
      result[at] += taps[static_cast<std::size_t>(k)] * factor;
    });
    for (int q = 0; q < part_.count; ++q) transform_.forward(result.data() + q * part_.rows);
    return result;
  }
  std::vector<Complex> of_channel(const T* spectrum, std::int64_t b, std::int64_t channel) const {
    std::vector<Complex> result(values());
    for (std::size_t at = 0; at < result.size(); ++at) {
      const T* const from = spectrum + place(b, at, channel);
      result[at] = {from[0], from[1]};
    }
    for (int q = 0; q < part_.count; ++q) transform_.forward(result.data() + q * part_.rows);
    return result;
  }
  // Turned back, before its sum over the residues.
  void store(std::vector<Complex> values, std::int64_t b, std::int64_t channel, T* spectrum) const {
    for (int q = 0; q < part_.count; ++q) transform_.inverse(values.data() + q * part_.rows);
    for (std::size_t at = 0; at < values.size(); ++at) {
      T* const to = spectrum + place(b, at, channel);
      to[0] = static_cast<T>(values[at].real());
      to[1] = static_cast<T>(values[at].imag());
    }
  }
  // What these residues add to a sequence of real values.
  std::vector<double> summands(std::vector<Complex> values) const {
    for (int q = 0; q < part_.count; ++q) transform_.inverse(values.data() + q * part_.rows);
    std::vector<double> sums(static_cast<std::size_t>(part_.pieces * part_.rows));
    for_places([&](std::size_t at, std::int64_t k, Complex factor) {
      sums[static_cast<std::size_t>(k)] += (values[at] * std::conj(factor)).real() / part_.pieces;
    });
    return sums;
  }
  double skip(std::int64_t channel) const {
    return skip_ == nullptr ? 0.0 : static_cast<double>(skip_[channel]);
  }
  const LongFilter<T>& filter() const { return filter_; }

 private:
  // visit(place in the residues, place in the sequence, their twiddle factor)
  template <class Visit>
  void for_places(const Visit& visit) const {
    for (int q = 0; q < part_.count; ++q) {
      for (std::int64_t k = 0; k < part_.pieces * part_.rows; ++k)
        visit(static_cast<std::size_t>(q * part_.rows + k % part_.rows), k,
              twiddle(part_, part_.first + q, k));
    }
  }
  std::int64_t place(std::int64_t b, std::size_t at, std::int64_t channel) const {
    return 2 * ((b * static_cast<std::int64_t>(values()) + static_cast<std::int64_t>(at)) * part_.width +
                channel);
  }

  FourierPart part_;
  LongFilter<T> filter_;
  const T* skip_;
  Fourier transform_;
};

// visit(sequence, row, its factor for each residue) for the rows of a piece.
template <class Visit>
void for_rows(Context& context, const FourierPart& part, int piece, const Visit& visit) {
  context.pool.run(part.rows, [&](std::int64_t row, int) {
    for (int q = 0; q < part.count; ++q) {
      const Complex factor = twiddle(part, part.first + q, piece * part.rows + row);
      for (std::int64_t b = 0; b < part.batch; ++b)
        visit(b, row, (b * part.count + q) * part.rows + row, factor);
    }
  });
}

}  // namespace

template <class T>
void fourier_add(Context& context, const FourierPart& part, int piece, const T* x, std::int64_t stride,
                 T* spectrum) {
  for_rows(context, part, piece, [&](std::int64_t b, std::int64_t row, std::int64_t at, Complex factor) {
    const T* __restrict from = x + b * stride + row * part.width;
    T* __restrict to = spectrum + 2 * at * part.width;
    const T real = static_cast<T>(factor.real()), imaginary = static_cast<T>(factor.imag());
    for (std::int64_t c = 0; c < part.width; ++c) {
      to[2 * c] += from[c] * real;
      to[2 * c + 1] += from[c] * imaginary;
    }
  });
}

template <class T>
void fourier_take(Context& context, const FourierPart& part, int piece, const T* spectrum, T* x,
                  std::int64_t stride) {
  const double share = 1.0 / part.pieces;
  for_rows(context, part, piece, [&](std::int64_t b, std::int64_t row, std::int64_t at, Complex factor) {
    const T* __restrict from = spectrum + 2 * at * part.width;
    T* __restrict to = x + b * stride + row * part.width;
    // The real part of the product with the factor's conjugate.
    const T real = static_cast<T>(factor.real() * share), imaginary = static_cast<T>(factor.imag() * share);
    for (std::int64_t c = 0; c < part.width; ++c) to[c] += from[2 * c] * real + from[2 * c + 1] * imaginary;
  });
}

template <class T>
void fourier_filter(Context& context, const FourierPart& part, const HyenaShape& s, const HyenaWeights& w,
                    T* spectrum) {
  const Residues<T> residues(part, s, w);
  const std::int64_t size = s.width / s.groups;
  context.pool.run(s.groups, [&](std::int64_t group, int) {
    const std::vector<Complex> filter = residues.of_filter(group);
    for (std::int64_t channel = group * size; channel < (group + 1) * size; ++channel) {
      for (std::int64_t b = 0; b < part.batch; ++b) {
        std::vector<Complex> values = residues.of_channel(spectrum, b, channel);
        for (std::size_t i = 0; i < values.size(); ++i) values[i] *= filter[i] + residues.skip(channel);
        residues.store(std::move(values), b, channel, spectrum);
      }
    }
  });
}

// A correlation is the product with a conjugate; the gradient of the skip is that of its tap 0.
template <class T>
void fourier_filter_backward(Context& context, const FourierPart& part, const HyenaShape& s,
                             const HyenaWeights& w, const T* u, T* g, const HyenaGradients& gradients) {
  const Residues<T> residues(part, s, w);
  const std::int64_t size = s.width / s.groups;
  context.pool.run(s.groups, [&](std::int64_t group, int) {
    const std::vector<Complex> filter = residues.of_filter(group);
    std::vector<Complex> d_filter(residues.values());
    for (std::int64_t channel = group * size; channel < (group + 1) * size; ++channel) {
      std::vector<Complex> d_channel(residues.values());
      for (std::int64_t b = 0; b < part.batch; ++b) {
        const std::vector<Complex> input = residues.of_channel(u, b, channel);
        std::vector<Complex> values = residues.of_channel(g, b, channel);
        for (std::size_t i = 0; i < values.size(); ++i) {
          d_channel[i] += values[i] * std::conj(input[i]);
          values[i] *= std::conj(filter[i] + residues.skip(channel));
        }
        residues.store(std::move(values), b, channel, g);
      }
      for (std::size_t i = 0; i < d_filter.size(); ++i) d_filter[i] += d_channel[i];
      if (w.skip != nullptr)
        static_cast<T*>(gradients.skip)[channel] +=
            static_cast<T>(residues.summands(std::move(d_channel))[0]);
    }
    residues.filter().add(gradients, group, residues.summands(std::move(d_filter)));
  });
}

#define STRIPED_INSTANTIATE(T)                                                                            \
  template void fourier_add(Context&, const FourierPart&, int, const T*, std::int64_t, T*);               \
  template void fourier_take(Context&, const FourierPart&, int, const T*, T*, std::int64_t);              \
  template void fourier_filter(Context&, const FourierPart&, const HyenaShape&, const HyenaWeights&, T*); \
  template void fourier_filter_backward(Context&, const FourierPart&, const HyenaShape&,                  \
                                        const HyenaWeights&, const T*, T*, const HyenaGradients&);
STRIPED_INSTANTIATE(float)
STRIPED_INSTANTIATE(double)
#undef STRIPED_INSTANTIATE

}  // namespace striped::cpu
