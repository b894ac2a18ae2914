// UTF-8, strict (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace puyu {

// Decodes the character at s[i]; returns its length in bytes, or 0 when the bytes there are not valid UTF-8.
size_t decode_utf8(std::string_view s, size_t i, char32_t& out);
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
