// Which characters stand side by side in some piece of a vocabulary: where two do that stand so in none, text falls
// apart, because joins only ever make pieces. Exact for pairs of ASCII, a Bloom filter for the others: a false alarm
// costs time, never a result. For src/text/ only.
#pragma once
#include <cstdint>
#include <vector>

namespace puyu {

class PairFilter {
 public:
  void add(char32_t a, char32_t b) { bits_[place(a, b) / 64] |= uint64_t{1} << (place(a, b) % 64); }
  bool has(char32_t a, char32_t b) const {
    const uint64_t at = place(a, b);
    return bits_[at / 64] >> (at % 64) & 1;
  }

 private:
  static constexpr int kHashBits = 20;
  static constexpr uint64_t kAscii = 128 * 128, kMix = 0x9E3779B97F4A7C15ull;
  static uint64_t place(char32_t a, char32_t b) {
    if ((a | b) < 128) return a << 7 | b;
    const uint64_t key = (static_cast<uint64_t>(a) << 21 | b) * kMix;
    return kAscii + ((key ^ key >> 32) * kMix >> (64 - kHashBits));
  }
  std::vector<uint64_t> bits_ = std::vector<uint64_t>((kAscii + (uint64_t{1} << kHashBits)) / 64);
};

}  // namespace puyu
