#include "data/pii_numbers.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

namespace puyu {
namespace {

// A run of digits with single separators between them, as people write numbers.
struct Run {
  std::string digits;
  std::vector<size_t> ends;    // the offset after each digit
  std::vector<size_t> groups;  // lengths of the groups between separators
  char separator = 0;          // the one used throughout; '?' when several are
};

Run read_run(std::string_view s, size_t i, size_t most) {
  Run r;
  size_t group = 0;
  while (i < s.size() && r.digits.size() < most) {
    if (is_digit_ascii(s[i])) {
      r.digits += s[i++], r.ends.push_back(i), ++group;
    } else if (group && (s[i] == ' ' || s[i] == '-' || s[i] == '.') && i + 1 < s.size() && is_digit_ascii(s[i + 1])) {
      r.separator = r.separator == 0 || r.separator == s[i] ? s[i] : '?';
      r.groups.push_back(group), group = 0, ++i;
    } else {
      break;
    }
  }
  if (group) r.groups.push_back(group);
  return r;
}

// No digit or letter goes on after a number, nor a separator and more digits.
bool ends_at(std::string_view s, size_t end) {
  if (end >= s.size()) return true;
  if (is_alnum_ascii(s[end]) || s[end] == '_') return false;
  return !((s[end] == '.' || s[end] == '-') && end + 1 < s.size() && is_digit_ascii(s[end + 1]));
}
bool begins_at(std::string_view s, size_t i) {
  if (i == 0) return true;
  char c = s[i - 1];
  if (is_alnum_ascii(c) || c == '_' || c == '#' || c == '$') return false;
  if (c == '/') return i >= 2 && s[i - 2] == '/';  // http://93.184.216.34, not Chrome/119.0.6045.105
  return !((c == '.' || c == '-' || c == ',') && i >= 2 && is_digit_ascii(s[i - 2]));
}

int number(std::string_view digits) {
  int v = 0;
  for (char c : digits) v = v * 10 + (c - '0');
  return v;
}

bool card_prefix(std::string_view d) {
  int two = number(d.substr(0, 2)), four = number(d.substr(0, 4));
  size_t n = d.size();
  if (d[0] == '4') return n == 13 || n == 16 || n == 19;
  if (two >= 51 && two <= 55) return n == 16;
  if (four >= 2221 && four <= 2720) return n == 16;
  if (two == 34 || two == 37) return n == 15;
  if (two == 36 || two == 38 || two == 30) return n == 14;
  if (two == 62) return n >= 16;
  if (four == 6011 || two == 65) return n == 16;
  if (two == 35) return n == 16;
  return two == 95 && n >= 16;  // Chinese domestic cards
}

bool groups_are(const Run& r, std::initializer_list<size_t> want) {
  return std::equal(r.groups.begin(), r.groups.end(), want.begin(), want.end());
}

bool card_form(const Run& r) {
  if (r.separator == 0) return true;
  if (r.separator != ' ' && r.separator != '-') return false;
  for (size_t g = 0; g + 1 < r.groups.size(); ++g)
    if (r.groups[g] != 4) return groups_are(r, {4, 6, 5}) || groups_are(r, {4, 6, 4});
  return true;
}

bool mobile_digits(std::string_view d) { return d.size() == 11 && d[0] == '1' && d[1] >= '3'; }

// The 3- and 4-digit codes of Chinese towns: 010, 02x, 03xx to 09xx.
size_t area_digits(std::string_view d) {
  if (d.size() < 10 || d[0] != '0') return 0;
  if (d[1] == '1') return d[2] == '0' ? 3 : 0;
  if (d[1] == '2') return 3;
  return d[1] >= '3' ? 4 : 0;
}

bool chinese_land_line(const Run& r) {
  size_t area = area_digits(r.digits);
  if (!area || r.groups.empty() || r.groups[0] != area || r.groups.size() != 2) return false;
  return r.digits[area] >= '2' && (r.groups[1] == 7 || r.groups[1] == 8);
}

// Service numbers (800, 888, …, the Chinese 400) are nobody's.
bool american(const Run& r) {
  int area = number(r.digits.substr(0, 3));
  bool service = area == 400 || area == 800 || (area >= 822 && area <= 888 && r.digits[1] == r.digits[2]);
  return groups_are(r, {3, 3, 4}) && r.separator != '?' && !service && r.digits[0] >= '2' && r.digits[3] >= '2';
}

// 0086-10-62345678
bool international(const Run& r) {
  return r.digits.starts_with("00") && r.digits[2] != '0' && r.groups.size() > 1 && r.groups[0] <= 5 &&
         r.digits.size() <= 17;
}

PiiSpan phone_with_plus(std::string_view s, size_t i) {
  if (i > 0 && (is_alnum_ascii(s[i - 1]) || s[i - 1] == '+')) return {};
  std::string digits;
  size_t end = i + 1, at = i + 1;
  for (int separators = 0; at < s.size() && digits.size() <= 15; ++at) {
    if (is_digit_ascii(s[at])) {
      digits += s[at], end = at + 1, separators = 0;
    } else if ((s[at] != ' ' && s[at] != '-' && s[at] != '(' && s[at] != ')' && s[at] != '.') || ++separators > 2 ||
               digits.empty()) {
      break;
    }
  }
  // The country and the subscriber: at least 8 digits; +86 goes before a mobile or a land line.
  if (digits.size() < 8 || digits.size() > 15 || digits[0] == '0' || !ends_at(s, end)) return {};
  return {i, end, PiiKind::kPhone};
}

PiiSpan phone_with_bracket(std::string_view s, size_t i) {
  size_t close = i + 1;
  while (close < s.size() && is_digit_ascii(s[close]) && close - i <= 4) ++close;
  size_t area = close - i - 1;
  if (close >= s.size() || s[close] != ')' || area < 3) return {};
  size_t next = close + 1 + (close + 1 < s.size() && s[close + 1] == ' ');
  Run r = read_run(s, next, 9);
  std::string code(s.substr(i + 1, area));
  bool us = area == 3 && code[0] >= '2' && groups_are(r, {3, 4});
  bool cn = area_digits(code + "00000000") == area && (groups_are(r, {8}) || groups_are(r, {7}));
  if ((!us && !cn) || r.digits[0] < '2' || !ends_at(s, r.ends.back())) return {};
  return {i, r.ends.back(), PiiKind::kPhone};
}

bool looks_like_version(std::string_view s, size_t i) {
  static constexpr std::string_view kBefore[] = {"version", "release", "section", "chapter", "v",  "ver", "rev",
                                                 "版本",    "版",      "第",      "节",      "章", "r"};
  while (i > 0 && (s[i - 1] == ' ' || s[i - 1] == '.' || s[i - 1] == ':' || s[i - 1] == '(')) --i;
  std::string before;
  for (char c : s.substr(i > 8 ? i - 8 : 0, std::min<size_t>(i, 8)))
    before += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  for (std::string_view word : kBefore)
    if (before.ends_with(word) && (static_cast<unsigned char>(word[0]) >= 0x80 || before.size() == word.size() ||
                                   !is_alnum_ascii(before[before.size() - word.size() - 1])))
      return true;
  return false;
}

PiiSpan ipv4_at(std::string_view s, size_t i) {
  std::array<int, 4> part{};
  size_t at = i;
  for (size_t p = 0; p < 4; ++p) {
    size_t from = at;
    while (at < s.size() && is_digit_ascii(s[at]) && at - from < 4) ++at;
    if (at == from || at - from > 3 || (s[from] == '0' && at - from > 1)) return {};
    part[p] = number(s.substr(from, at - from));
    if (part[p] > 255) return {};
    if (p < 3 && (at >= s.size() || s[at++] != '.')) return {};
  }
  if (!ends_at(s, at) || (i > 0 && (s[i - 1] == '.' || s[i - 1] == '-' || s[i - 1] == '_'))) return {};
  bool is_private = part[0] == 0 || part[0] == 10 || part[0] == 127 || part[0] >= 224 ||
                    (part[0] == 172 && part[1] >= 16 && part[1] < 32) || (part[0] == 192 && part[1] == 168) ||
                    (part[0] == 169 && part[1] == 254) || (part[0] == 100 && part[1] >= 64 && part[1] < 128);
  // Numbers of sections and versions are small; 8.8.8.8 and 1.1.1.1 are servers that people name.
  bool small = std::all_of(part.begin(), part.end(), [](int p) { return p < 20; }) &&
               !std::all_of(part.begin(), part.end(), [&](int p) { return p == part[0]; });
  if (is_private || small || looks_like_version(s, i)) return {};
  return {i, at, PiiKind::kIpv4};
}

}  // namespace

bool luhn_ok(std::string_view digits) {
  int sum = 0;
  for (size_t k = 0; k < digits.size(); ++k) {
    int d = digits[digits.size() - 1 - k] - '0';
    if (k % 2 == 1) d = d > 4 ? 2 * d - 9 : 2 * d;
    sum += d;
  }
  return sum % 10 == 0;
}

bool chinese_id_ok(std::string_view id) {
  static constexpr std::array<int, 17> kWeights = {7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2};
  static constexpr std::array<int, 13> kDays = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (id.size() != 18 || !std::all_of(id.begin(), id.end() - 1, is_digit_ascii)) return false;
  int province = number(id.substr(0, 2)), year = number(id.substr(6, 4)), month = number(id.substr(10, 2)),
      day = number(id.substr(12, 2)), sum = 0;
  bool known = (province >= 11 && province <= 15) || (province >= 21 && province <= 23) ||
               (province >= 31 && province <= 37) || (province >= 41 && province <= 46) ||
               (province >= 50 && province <= 54) || (province >= 61 && province <= 65) ||
               (province >= 81 && province <= 83) || province == 71;
  if (!known || year < 1900 || year > 2099 || month < 1 || month > 12 || day < 1) return false;
  bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  if (day > kDays[month] + (leap && month == 2)) return false;
  for (size_t k = 0; k < 17; ++k) sum += (id[k] - '0') * kWeights[k];
  char check = "10X98765432"[sum % 11];
  return id[17] == check || (check == 'X' && id[17] == 'x');
}

PiiSpan number_at(std::string_view s, size_t i) {
  if (s[i] == '+') return phone_with_plus(s, i);
  if (s[i] == '(') return begins_at(s, i) ? phone_with_bracket(s, i) : PiiSpan{};
  if (!begins_at(s, i)) return {};
  if (i + 18 <= s.size() && chinese_id_ok(s.substr(i, 18)) && ends_at(s, i + 18))
    return {i, i + 18, PiiKind::kChineseId};
  if (PiiSpan ip = ipv4_at(s, i); ip.end) return ip;
  Run r = read_run(s, i, 24);
  const std::string& d = r.digits;
  if (d.size() < 10 || !ends_at(s, r.ends.back())) return {};
  if (d.size() >= 13 && d.size() <= 19 && card_form(r) && card_prefix(d) && luhn_ok(d))
    return {i, r.ends.back(), PiiKind::kCard};
  bool mobile_form = r.separator == 0 || groups_are(r, {3, 4, 4}) || groups_are(r, {2, 3, 4, 4}) ||
                     groups_are(r, {3, 8}) || groups_are(r, {2, 11});
  std::string_view subscriber = d;
  if (d.size() == 13 && d.starts_with("86")) subscriber.remove_prefix(2);
  if (d.size() == 15 && d.starts_with("0086")) subscriber.remove_prefix(4);
  if (mobile_digits(subscriber) && (mobile_form || d.size() == 15)) return {i, r.ends.back(), PiiKind::kPhone};
  if (r.separator != '?' && (chinese_land_line(r) || american(r) || international(r)))
    return {i, r.ends.back(), PiiKind::kPhone};
  return {};
}

PiiSpan ipv6_around(std::string_view s, size_t i, size_t from) {
  auto part_of = [](char c) {
    return is_digit_ascii(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':';
  };
  size_t begin = i, end = i;
  while (begin > from && i - begin < 5 && part_of(s[begin - 1])) --begin;
  while (end < s.size() && end - begin < 46 && part_of(s[end])) ++end;
  bool cut = (begin > 0 && (is_alnum_ascii(s[begin - 1]) || s[begin - 1] == '_')) ||
             (end < s.size() && (is_alnum_ascii(s[end]) || s[end] == '_'));
  while (end > begin && s[end - 1] == ':' && !(end - begin >= 2 && s[end - 2] == ':')) --end;
  std::string_view a = s.substr(begin, end - begin);
  if (cut || a.size() < 6) return {};
  size_t groups = 0, gaps = 0, length = 0;
  bool digit = false;
  for (size_t k = 0; k <= a.size(); ++k) {
    if (k < a.size() && a[k] != ':') {
      digit |= is_digit_ascii(a[k]);
      if (++length > 4) return {};
      continue;
    }
    if (length) ++groups;
    if (k + 1 < a.size() && a[k] == ':' && a[k + 1] == ':') ++gaps;
    length = 0;
  }
  if (a[0] == ':' && a[1] != ':') return {};
  bool whole = gaps == 0 && groups == 8, compressed = gaps == 1 && groups >= 2 && groups < 8;
  std::string lower(a.substr(0, 4));
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return static_cast<char>(c >= 'A' && c <= 'F' ? c + 32 : c); });
  bool local = lower.starts_with("fe8") || lower.starts_with("fc") || lower.starts_with("fd");
  if ((!whole && !compressed) || !digit || local) return {};
  return {begin, end, PiiKind::kIpv6};
}

}  // namespace puyu
