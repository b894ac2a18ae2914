// The numbers among personal data (pii.h): telephones, identity and card numbers, IP addresses.
#pragma once
#include <string_view>

#include "data/pii.h"

namespace puyu {

constexpr bool is_digit_ascii(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_alpha_ascii(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
constexpr bool is_alnum_ascii(char c) { return is_digit_ascii(c) || is_alpha_ascii(c); }

bool luhn_ok(std::string_view digits);
bool chinese_id_ok(std::string_view id);  // 18 characters: province, date, check character
// What begins at s[i], a digit, '+' or '('; an empty span when it is no personal number.
PiiSpan number_at(std::string_view s, size_t i);
// The IPv6 address that holds the ':' at s[i].
PiiSpan ipv6_around(std::string_view s, size_t i, size_t from);

}  // namespace puyu
