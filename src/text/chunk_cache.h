// Chunks of text that were encoded before and their ids: real text repeats its words, so most chunks are found here
// with one look-up and no joining. One table a thread, direct mapped, shared by all encoders (each has a number); what
// it holds never changes a result. For src/text/ only.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

namespace puyu {

// A hash of short strings without a call, a loop or a read past the end.
inline uint64_t hash_chunk(std::string_view s) {
  constexpr uint64_t kA = 0x9E3779B97F4A7C15ull, kB = 0xD6E8FEB86659FD93ull;
  auto word = [&](size_t at) {
    uint64_t w;
    std::memcpy(&w, s.data() + at, 8);
    return w;
  };
  auto half = [&](size_t at) {
    uint32_t w;
    std::memcpy(&w, s.data() + at, 4);
    return uint64_t{w};
  };
  const size_t n = s.size();
  uint64_t h = n * kB;
  if (n >= 8) {
    for (size_t i = 0; i + 8 < n; i += 8) h = (h ^ word(i)) * kA, h ^= h >> 32;
    h ^= word(n - 8);
  } else if (n >= 4) {
    h ^= half(0) | half(n - 4) << 32;
  } else if (n > 0) {
    auto byte = [&](size_t at) { return uint64_t{static_cast<unsigned char>(s[at])}; };
    h ^= byte(0) | byte(n / 2) << 8 | byte(n - 1) << 16;
  }
  h *= kA;
  return (h ^ h >> 29) * kB;
}

inline bool same_bytes(const char* a, const char* b, size_t n) {  // n <= 32; as memcmp, without the call
  auto differ = [&](auto zero, size_t at) {
    decltype(zero) x, y;
    std::memcpy(&x, a + at, sizeof x);
    std::memcpy(&y, b + at, sizeof y);
    return x ^ y;
  };
  if (n >= 8) {
    uint64_t d = differ(uint64_t{0}, n - 8) | differ(uint64_t{0}, 0);
    if (n > 16) d |= differ(uint64_t{0}, 8) | differ(uint64_t{0}, n - 16);
    return d == 0;
  }
  if (n >= 4) return (differ(uint32_t{0}, 0) | differ(uint32_t{0}, n - 4)) == 0;
  for (size_t i = 0; i < n; ++i)
    if (a[i] != b[i]) return false;
  return true;
}

class ChunkCache {
 public:
  static constexpr size_t kMaxBytes = 30, kMaxIds = 7;  // longer chunks seldom come again

  static ChunkCache& of_this_thread() {
    static thread_local const std::unique_ptr<ChunkCache> cache = std::make_unique<ChunkCache>();
    return *cache;
  }
  static uint32_t new_owner() {
    static std::atomic<uint32_t> next{1};
    return next.fetch_add(1);
  }

  struct alignas(64) Entry {
    uint32_t owner = 0;  // 0: empty
    uint8_t bytes = 0, count = 0;
    char text[kMaxBytes];
    int32_t ids[kMaxIds];
    bool holds(uint32_t who, std::string_view s) const {
      return owner == who && bytes == s.size() && same_bytes(text, s.data(), bytes);
    }
    // Too long a result is not kept.
    void store(uint32_t who, std::string_view s, std::span<const int32_t> made) {
      if (made.size() > kMaxIds) return;
      owner = who, bytes = static_cast<uint8_t>(s.size()), count = static_cast<uint8_t>(made.size());
      std::memcpy(text, s.data(), s.size());
      std::memcpy(ids, made.data(), made.size_bytes());
    }
  };
  Entry& at(uint64_t hash) { return entries_[hash >> (64 - kBits)]; }

 private:
  static constexpr int kBits = 14;  // 1 MiB
  std::array<Entry, size_t{1} << kBits> entries_;
};

}  // namespace puyu
