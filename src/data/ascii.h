// Text of protocols: ASCII without regard to case, and blocks of "Name: value" lines (WARC, HTTP).
#pragma once
#include <algorithm>
#include <string>
#include <string_view>

namespace puyu {

inline std::string lower_ascii(std::string_view s) {
  std::string out(s);
  for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return out;
}

inline std::string_view trim_ascii(std::string_view s) {
  size_t from = s.find_first_not_of(" \t\r\n");
  return from == std::string_view::npos ? std::string_view{} : s.substr(from, s.find_last_not_of(" \t\r\n") - from + 1);
}

// fn(name in lower case, value) for every line after the first that holds a colon.
template <class F>
void for_each_header(std::string_view block, F&& fn) {
  for (size_t at = block.find('\n'); at != std::string_view::npos;) {
    size_t end = std::min(block.find('\n', at + 1), block.size());
    std::string_view line = block.substr(at + 1, end - at - 1);
    at = end == block.size() ? std::string_view::npos : end;
    if (size_t colon = line.find(':'); colon != std::string_view::npos)
      fn(lower_ascii(trim_ascii(line.substr(0, colon))), trim_ascii(line.substr(colon + 1)));
  }
}

// The value of a parameter in "text/html; charset=utf-8", or "".
inline std::string_view header_parameter(std::string_view value, std::string_view name) {
  std::string lower = lower_ascii(value);
  for (size_t at = lower.find(';'); at != std::string::npos; at = lower.find(';', at + 1)) {
    size_t end = std::min(lower.find(';', at + 1), lower.size()), equals = lower.find('=', at);
    if (equals == std::string::npos || equals > end ||
        trim_ascii(std::string_view(lower).substr(at + 1, equals - at - 1)) != name)
      continue;
    std::string_view v = trim_ascii(value.substr(equals + 1, end - equals - 1));
    if (v.size() >= 2 && (v.front() == '"' || v.front() == '\'') && v.back() == v.front())
      v = v.substr(1, v.size() - 2);
    return v;
  }
  return {};
}

}  // namespace puyu
