// UTF-8, strict (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace puyu {

// Decodes the character at s[i]; returns its length in bytes, or 0 when the bytes there are not valid UTF-8.
inline size_t decode_utf8(std::string_view s, size_t i, char32_t& out) {
  auto b = [&](size_t k) { return static_cast<unsigned char>(s[i + k]); };
  auto tail = [&](size_t k) { return (b(k) & 0xC0) == 0x80; };
  const size_t left = s.size() - i;
  if (left == 0) return 0;
  const unsigned c = b(0);
  if (c < 0x80) return out = c, 1;
  if (c < 0xC2) return 0;
  if (c < 0xE0) {
    if (left < 2 || !tail(1)) return 0;
    return out = ((c & 31u) << 6) | (b(1) & 63u), 2;
  }
  if (c < 0xF0) {
    if (left < 3 || !tail(1) || !tail(2)) return 0;
    const char32_t u = ((c & 15u) << 12) | ((b(1) & 63u) << 6) | (b(2) & 63u);
    if (u < 0x800 || (u >= 0xD800 && u < 0xE000)) return 0;
    return out = u, 3;
  }
  if (c > 0xF4 || left < 4 || !tail(1) || !tail(2) || !tail(3)) return 0;
  const char32_t u = ((c & 7u) << 18) | ((b(1) & 63u) << 12) | ((b(2) & 63u) << 6) | (b(3) & 63u);
  if (u < 0x10000 || u > 0x10FFFF) return 0;
  return out = u, 4;
}
void append_utf8(std::string& out, char32_t c);
// The offset of the first invalid byte, or s.size().
size_t first_invalid_utf8(std::string_view s);
inline bool valid_utf8(std::string_view s) { return first_invalid_utf8(s) == s.size(); }
// Every maximal invalid subpart becomes U+FFFD.
std::string repair_utf8(std::string_view s);
// Cuts to at most n bytes without cutting a character.
std::string_view utf8_prefix(std::string_view s, size_t n);
// Columns on a terminal: 2 for East Asian wide characters, 0 for combining marks, else 1.
size_t display_width(std::string_view s);

}  // namespace puyu
