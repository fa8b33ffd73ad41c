// Counter-based random numbers: every value is a pure function of (seed, stream, counter), so that nothing
// has to be saved to resume exactly and no order of evaluation matters.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace striped {

// Finaliser of SplitMix64 (Steele, Lea, Flood 2014).
constexpr std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

constexpr std::uint64_t random_bits(std::uint64_t seed, std::uint64_t stream, std::uint64_t counter) {
  return mix(mix(mix(seed) ^ stream) ^ counter);
}

// FNV-1a, 64 bits.
constexpr std::uint64_t hash_text(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return hash;
}

inline std::string hexadecimal(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

// Standard normal by Box-Muller, one value a counter.
inline double random_normal(std::uint64_t seed, std::uint64_t stream, std::uint64_t counter) {
  constexpr double kUnit = 1.0 / 9007199254740992.0;  // 2^-53
  constexpr double kTau = 6.283185307179586476925;
  const std::uint64_t first = random_bits(seed, stream, 2 * counter);
  const std::uint64_t second = random_bits(seed, stream, 2 * counter + 1);
  const double radius = std::sqrt(-2.0 * std::log((static_cast<double>(first >> 11) + 0.5) * kUnit));
  return radius * std::cos(kTau * (static_cast<double>(second >> 11) * kUnit));
}

// Element `index` of a random permutation of [0, count): a four-round Feistel network, walked until it falls
// into range (Black & Rogaway 2002).
inline std::uint64_t random_permutation(std::uint64_t seed, std::uint64_t stream, std::uint64_t count,
                                        std::uint64_t index) {
  int half = 1;
  while ((std::uint64_t{1} << (2 * half)) < count) ++half;
  const std::uint64_t mask = (std::uint64_t{1} << half) - 1;
  std::uint64_t value = index;
  do {
    std::uint64_t left = value >> half, right = value & mask;
    for (std::uint64_t round = 0; round < 4; ++round) {
      const std::uint64_t next = left ^ (random_bits(seed, stream + round, right) & mask);
      left = right;
      right = next;
    }
    value = (left << half) | right;
  } while (value >= count);
  return value;
}

}  // namespace striped
