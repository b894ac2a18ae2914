#include "base/hash.h"

#include <xxhash.h>

#include "base/check.h"

namespace puyu {

uint64_t hash64(std::string_view b, uint64_t seed) { return XXH3_64bits_withSeed(b.data(), b.size(), seed); }

std::string hex64(uint64_t v) {
  std::string out(16, '0');
  for (size_t i = 16; i-- > 0; v >>= 4) out[i] = "0123456789abcdef"[v & 15];
  return out;
}

Hash128 hash128(std::string_view b, uint64_t seed) {
  XXH128_hash_t h = XXH3_128bits_withSeed(b.data(), b.size(), seed);
  return {h.low64, h.high64};
}

Hasher::Hasher() : state_(XXH3_createState()) {
  CHECK(state_);
  XXH3_64bits_reset(static_cast<XXH3_state_t*>(state_));
}
Hasher::~Hasher() { XXH3_freeState(static_cast<XXH3_state_t*>(state_)); }
void Hasher::update(std::string_view b) { XXH3_64bits_update(static_cast<XXH3_state_t*>(state_), b.data(), b.size()); }
uint64_t Hasher::digest() const { return XXH3_64bits_digest(static_cast<const XXH3_state_t*>(state_)); }

}  // namespace puyu
