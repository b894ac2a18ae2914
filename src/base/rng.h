// Reproducible random numbers: SplitMix64 as a counter-based generator. The whole state is {key, counter}, so a
// checkpoint stores 16 bytes and skipping ahead is an addition. Two streams with different keys do not overlap in
// practice. Not for secrets.
#pragma once
#include <cmath>
#include <cstdint>
#include <numbers>
#include <utility>

namespace puyu {

constexpr uint64_t mix64(uint64_t z) {  // Stafford's variant 13, as in SplitMix64 (Steele et al., 2014)
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

struct Rng {
  uint64_t key = 0;
  uint64_t counter = 0;

  constexpr explicit Rng(uint64_t seed = 0, uint64_t stream = 0) : key(mix64(seed + mix64(stream + 1))) {}
  constexpr uint64_t next() { return mix64(key + 0x9e3779b97f4a7c15ull * ++counter); }
  // Uniform in [0, 1), 53 bits.
  constexpr double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
  // Uniform in [0, n), n > 0; the bias is below n / 2^64.
  constexpr uint64_t below(uint64_t n) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(next()) * n) >> 64);
  }
  // Standard normal (Box-Muller; the second value is thrown away so that the state stays a counter).
  double normal() {
    double u = 1.0 - uniform(), v = uniform();
    return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
  }
  template <class It>
  void shuffle(It first, It last) {
    for (auto n = last - first; n > 1; --n) std::swap(first[n - 1], first[below(static_cast<uint64_t>(n))]);
  }
};

}  // namespace puyu
