// Aligned tables for a terminal and for Markdown: columns by display width (Chinese counts double), numbers right.
#pragma once
#include <string>
#include <vector>

namespace puyu {

struct TextTable {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;  // as wide as the header
  std::vector<bool> right;                     // right-aligned columns; missing: left
};
std::string to_text(const TextTable& table);
std::string to_markdown(const TextTable& table);

// printf's %.*f; "–" for what is not finite.
std::string fixed(double value, int digits);

}  // namespace puyu
