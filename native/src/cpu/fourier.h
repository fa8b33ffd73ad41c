// Discrete Fourier transforms of any length, in double precision.
#pragma once

#include <complex>
#include <cstdint>
#include <vector>

namespace striped::cpu {

using Complex = std::complex<double>;

// exp(-2πi · turns / whole), exact in the number of turns.
Complex turned(std::int64_t turns, std::int64_t whole);

class Fourier {
 public:
  explicit Fourier(std::int64_t length);
  // In place: x_m = Σ_n x_n exp(-2πi·n·m / length).
  void forward(Complex* x) const;
  // The same with the opposite turn, divided by the length: what undoes forward().
  void inverse(Complex* x) const;

 private:
  void by_chirp(Complex* x) const;

  std::int64_t length_, padded_;
  std::vector<Complex> roots_;  // of the padded length
  // For lengths that are no powers of two (Bluestein): n·m = (n² + m² - (m - n)²) / 2 makes the transform a
  // convolution with a chirp, which one of a power of two does.
  std::vector<Complex> chirp_, spectrum_;
};

}  // namespace striped::cpu
