#include "fourier.h"

#include <cmath>
#include <numbers>
#include <utility>

namespace striped::cpu {
namespace {

void transform(Complex* x, std::int64_t length, const std::vector<Complex>& roots) {
  for (std::int64_t i = 1, j = 0; i < length; ++i) {
    std::int64_t bit = length >> 1;
    for (; (j & bit) != 0; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) std::swap(x[i], x[j]);
  }
  for (std::int64_t half = 1; half < length; half *= 2) {
    const std::int64_t step = length / (2 * half);
    for (std::int64_t first = 0; first < length; first += 2 * half) {
      for (std::int64_t i = 0; i < half; ++i) {
        const Complex even = x[first + i],
                      odd = x[first + half + i] * roots[static_cast<std::size_t>(i * step)];
        x[first + i] = even + odd;
        x[first + half + i] = even - odd;
      }
    }
  }
}

std::int64_t power_of_two(std::int64_t least) {
  std::int64_t power = 1;
  while (power < least) power *= 2;
  return power;
}

}  // namespace

Complex turned(std::int64_t turns, std::int64_t whole) {
  const double angle =
      -2 * std::numbers::pi * static_cast<double>(turns % whole) / static_cast<double>(whole);
  return {std::cos(angle), std::sin(angle)};
}

Fourier::Fourier(std::int64_t length) : length_(length), padded_(power_of_two(length)) {
  const bool chirps = padded_ != length;
  if (chirps) padded_ = power_of_two(2 * length - 1);
  for (std::int64_t i = 0; i < (padded_ + 1) / 2; ++i) roots_.push_back(turned(i, padded_));
  if (!chirps) return;
  spectrum_.resize(static_cast<std::size_t>(padded_));
  for (std::int64_t n = 0; n < length; ++n) {
    chirp_.push_back(turned(n * n, 2 * length));
    const Complex back = std::conj(chirp_.back());
    spectrum_[static_cast<std::size_t>(n)] = back;
    spectrum_[static_cast<std::size_t>((padded_ - n) % padded_)] = back;
  }
  transform(spectrum_.data(), padded_, roots_);
}

void Fourier::by_chirp(Complex* x) const {
  std::vector<Complex> work(static_cast<std::size_t>(padded_));
  for (std::size_t n = 0; n < chirp_.size(); ++n) work[n] = x[n] * chirp_[n];
  transform(work.data(), padded_, roots_);
  // An inverse transform is a forward one between two conjugations.
  for (std::size_t k = 0; k < work.size(); ++k) work[k] = std::conj(work[k] * spectrum_[k]);
  transform(work.data(), padded_, roots_);
  for (std::size_t m = 0; m < chirp_.size(); ++m)
    x[m] = std::conj(work[m]) * chirp_[m] / static_cast<double>(padded_);
}

void Fourier::forward(Complex* x) const {
  if (chirp_.empty())
    transform(x, length_, roots_);
  else
    by_chirp(x);
}

void Fourier::inverse(Complex* x) const {
  for (std::int64_t i = 0; i < length_; ++i) x[i] = std::conj(x[i]);
  forward(x);
  for (std::int64_t i = 0; i < length_; ++i) x[i] = std::conj(x[i]) / static_cast<double>(length_);
}

}  // namespace striped::cpu
