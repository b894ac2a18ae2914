// XXH3: the checksum of every format we write and the hash of text. Stable across machines and versions.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace puyu {

uint64_t hash64(std::string_view bytes, uint64_t seed = 0);
std::string hex64(uint64_t v);  // 16 digits
struct Hash128 {
  uint64_t lo, hi;
  bool operator==(const Hash128&) const = default;
  auto operator<=>(const Hash128&) const = default;
};
Hash128 hash128(std::string_view bytes, uint64_t seed = 0);

// The same as hash64 over bytes that arrive in pieces.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;
  void update(std::string_view bytes);
  uint64_t digest() const;

 private:
  void* state_;
};

}  // namespace puyu
