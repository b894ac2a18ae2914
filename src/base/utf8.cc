#include "base/utf8.h"

#include <cstdint>

namespace puyu {
namespace {
bool tail(unsigned char c) { return (c & 0xC0) == 0x80; }
// Length of the valid prefix of a broken character at i (at least 1): what one U+FFFD stands for.
size_t broken_length(std::string_view s, size_t i) {
  auto c = static_cast<unsigned char>(s[i]);
  size_t need = c >= 0xF0 && c <= 0xF4 ? 4 : c >= 0xE0 && c < 0xF0 ? 3 : c >= 0xC2 && c < 0xE0 ? 2 : 1, n = 1;
  while (n < need && i + n < s.size() && tail(static_cast<unsigned char>(s[i + n]))) {
    auto d = static_cast<unsigned char>(s[i + n]);
    if (n == 1 &&
        ((c == 0xE0 && d < 0xA0) || (c == 0xED && d >= 0xA0) || (c == 0xF0 && d < 0x90) || (c == 0xF4 && d >= 0x90)))
      break;
    ++n;
  }
  return n;
}
}  // namespace

void append_utf8(std::string& out, char32_t c) {
  auto put = [&](char32_t v) { out += static_cast<char>(v); };
  if (c < 0x80) return put(c);
  if (c < 0x800) return put(0xC0 | (c >> 6)), put(0x80 | (c & 63));
  if (c < 0x10000) return put(0xE0 | (c >> 12)), put(0x80 | ((c >> 6) & 63)), put(0x80 | (c & 63));
  put(0xF0 | (c >> 18)), put(0x80 | ((c >> 12) & 63)), put(0x80 | ((c >> 6) & 63)), put(0x80 | (c & 63));
}

size_t first_invalid_utf8(std::string_view s) {
  char32_t c;
  for (size_t i = 0; i < s.size();) {
    uint64_t w;
    if (i + 8 <= s.size() && (__builtin_memcpy(&w, s.data() + i, 8), (w & 0x8080808080808080ull) == 0)) {
      i += 8;  // eight ASCII bytes at a time
      continue;
    }
    // Three bytes of most scripts of the first plane; E0 and ED have rules of their own.
    if (uint32_t v; i + 4 <= s.size() && (__builtin_memcpy(&v, s.data() + i, 4), (v & 0xC0C0F0u) == 0x8080E0u) &&
                    (v & 15u) != 0 && (v & 15u) != 13) {
      i += 3;
      continue;
    }
    size_t n = decode_utf8(s, i, c);
    if (n == 0) return i;
    i += n;
  }
  return s.size();
}

std::string repair_utf8(std::string_view s) {
  std::string out;
  char32_t c;
  for (size_t i = 0; i < s.size();) {
    size_t n = decode_utf8(s, i, c);
    if (n == 0) {
      n = broken_length(s, i);
      out += "\xEF\xBF\xBD";
    } else {
      out.append(s.substr(i, n));
    }
    i += n;
  }
  return out;
}

std::string_view utf8_prefix(std::string_view s, size_t n) {
  if (s.size() <= n) return s;
  while (n > 0 && tail(static_cast<unsigned char>(s[n]))) --n;
  return s.substr(0, n);
}

size_t display_width(std::string_view s) {
  size_t w = 0;
  char32_t c;
  for (size_t i = 0; i < s.size();) {
    size_t n = decode_utf8(s, i, c);
    if (n == 0) c = 0xFFFD, n = 1;
    i += n;
    if ((c >= 0x300 && c < 0x370) || (c >= 0x200B && c <= 0x200F) || (c >= 0xFE00 && c <= 0xFE0F)) continue;
    bool wide = (c >= 0x1100 && c <= 0x115F) || (c >= 0x2E80 && c <= 0xA4CF) || (c >= 0xAC00 && c <= 0xD7A3) ||
                (c >= 0xF900 && c <= 0xFAFF) || (c >= 0xFE30 && c <= 0xFE6F) || (c >= 0xFF00 && c <= 0xFF60) ||
                (c >= 0xFFE0 && c <= 0xFFE6) || (c >= 0x1F300 && c <= 0x1FAFF) || (c >= 0x20000 && c <= 0x3FFFD);
    w += wide ? 2 : 1;
  }
  return w;
}

}  // namespace puyu
