// Stands in for hash.cc on a machine without libxxhash (PUYU_COMPUTE_ONLY): what needs a checksum says so.
#include "base/error.h"
#include "base/hash.h"

namespace puyu {
namespace {
[[noreturn]] void no_xxhash() {
  fail("[hash] this puyu was built without libxxhash, which checksums need; install libxxhash-dev and build again");
}
}  // namespace

uint64_t hash64(std::string_view, uint64_t) { no_xxhash(); }
std::string hex64(uint64_t) { no_xxhash(); }
Hash128 hash128(std::string_view, uint64_t) { no_xxhash(); }
Hasher::Hasher() : state_(nullptr) { no_xxhash(); }
Hasher::~Hasher() = default;
void Hasher::update(std::string_view) { no_xxhash(); }
uint64_t Hasher::digest() const { no_xxhash(); }

}  // namespace puyu
