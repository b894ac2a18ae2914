// Looking at LaTeX sources.
#pragma once
#include <algorithm>
#include <string_view>
#include <vector>

namespace puyu {

inline bool is_tex_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '@'; }

// The length of the command at s[at] == '\\' with its backslash: "\name" or "\%".
inline size_t tex_command_length(std::string_view s, size_t at) {
  size_t end = at + 1;
  while (end < s.size() && is_tex_letter(s[end])) ++end;
  return end == at + 1 ? std::min<size_t>(2, s.size() - at) : end - at;
}

inline size_t skip_tex_spaces(std::string_view s, size_t at) {
  while (at < s.size() && (s[at] == ' ' || s[at] == '\t' || s[at] == '\n')) ++at;
  return at;
}

constexpr size_t kNoBrace = ~size_t{0};
// For every "{" the place of its "}", else kNoBrace. Escaped braces do not count.
std::vector<size_t> match_tex_braces(std::string_view s);

}  // namespace puyu
