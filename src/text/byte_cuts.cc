#include "text/byte_cuts.h"

#include <algorithm>

#include "base/utf8.h"

namespace puyu {
namespace {

bool continues(char b) { return (b & 0xC0) == 0x80; }

// The character that ends before `at`, or false when the bytes there are none.
bool character_before(std::string_view s, size_t at, char32_t& c) {
  for (size_t n = 1; n <= std::min<size_t>(4, at); ++n)
    if (!continues(s[at - n])) return decode_utf8(s, at - n, c) == n;
  return false;
}

}  // namespace

void ByteCuts::add(std::string_view piece) {
  for (size_t at = 1; at < piece.size(); ++at) {
    if (continues(piece[at])) continue;
    char32_t left = 0, right = 0;
    if (character_before(piece, at, left) && decode_utf8(piece, at, right) > 0)
      whole_.add(left, right);
    else
      partial_.set(pair(piece[at - 1], piece[at]));
  }
}

size_t ByteCuts::part_end(std::string_view text, size_t at) const {
  char32_t left = 0, right = 0;
  size_t n = decode_utf8(text, at, left);
  bool valid = n > 0;
  for (at += std::max<size_t>(n, 1); at < text.size(); at += std::max<size_t>(n, 1), left = right) {
    n = decode_utf8(text, at, right);
    if (valid && n > 0 && !whole_.has(left, right) && !partial_.test(pair(text[at - 1], text[at]))) return at;
    valid = n > 0;
  }
  return text.size();
}

}  // namespace puyu
