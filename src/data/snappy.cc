#include "data/snappy.h"

#include <cstdint>

namespace puyu {
namespace {

// Little endian; the bytes that are missing make it fail.
bool read_number(std::string_view& bytes, size_t width, size_t& out) {
  if (bytes.size() < width) return false;
  out = 0;
  for (size_t i = 0; i < width; ++i) out |= static_cast<size_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  bytes.remove_prefix(width);
  return true;
}

bool read_varint(std::string_view& bytes, size_t& out) {
  out = 0;
  for (int shift = 0; shift < 35 && !bytes.empty(); shift += 7) {
    const auto b = static_cast<unsigned char>(bytes[0]);
    bytes.remove_prefix(1);
    out |= static_cast<size_t>(b & 127) << shift;
    if (b < 128) return out <= UINT32_MAX;
  }
  return false;
}

bool copy_literal(std::string_view& bytes, size_t tag, size_t want, std::string& out) {
  size_t length = tag >> 2;
  if (length >= 60 && !read_number(bytes, length - 59, length)) return false;
  ++length;
  if (length > bytes.size() || length > want - out.size()) return false;
  out.append(bytes.substr(0, length));
  bytes.remove_prefix(length);
  return true;
}

// What was written `offset` bytes ago once more; the copy may overlap itself.
bool copy_back(std::string_view& bytes, size_t tag, size_t want, std::string& out) {
  size_t length = (tag >> 2) + 1, offset = 0;
  if ((tag & 3) == 1) {
    if (!read_number(bytes, 1, offset)) return false;
    length = ((tag >> 2) & 7) + 4;
    offset |= (tag >> 5) << 8;
  } else if (!read_number(bytes, (tag & 3) == 2 ? 2 : 4, offset)) {
    return false;
  }
  if (offset == 0 || offset > out.size() || length > want - out.size()) return false;
  if (offset >= length) {
    out.append(out, out.size() - offset, length);
  } else {
    for (size_t i = 0; i < length; ++i) out += out[out.size() - offset];
  }
  return true;
}

}  // namespace

bool snappy_decompress(std::string_view bytes, size_t most, std::string& out) {
  out.clear();
  size_t want = 0;
  if (!read_varint(bytes, want) || want > most) return false;
  out.reserve(want);
  while (!bytes.empty()) {
    const size_t tag = static_cast<unsigned char>(bytes[0]);
    bytes.remove_prefix(1);
    if (!(tag & 3 ? copy_back(bytes, tag, want, out) : copy_literal(bytes, tag, want, out))) return false;
  }
  return out.size() == want;
}

}  // namespace puyu
