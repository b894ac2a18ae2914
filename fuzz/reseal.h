// Puts the right checksum into a mutated file of data/sealed_file.h, so that mutations get past it.
#pragma once
#include <cstring>
#include <string>

#include "base/hash.h"

namespace puyu {

inline std::string reseal(std::string_view bytes) {
  std::string out(bytes);
  if (out.size() < 64) return out;
  uint64_t size = out.size() - 64,
           sum = hash64(std::string_view(out).substr(32, 32), hash64(std::string_view(out).substr(64)));
  std::memcpy(out.data() + 16, &size, 8), std::memcpy(out.data() + 24, &sum, 8);
  return out;
}

}  // namespace puyu
