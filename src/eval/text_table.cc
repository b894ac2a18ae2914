#include "eval/text_table.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/check.h"
#include "base/utf8.h"

namespace puyu {
namespace {

bool is_right(const TextTable& t, size_t column) { return column < t.right.size() && t.right[column]; }

std::vector<size_t> column_widths(const TextTable& t) {
  std::vector<size_t> out;
  out.reserve(t.header.size());
  for (const auto& h : t.header) out.push_back(display_width(h));
  for (const auto& row : t.rows) {
    CHECK(row.size() == t.header.size(), "a row is as wide as the header");
    for (size_t i = 0; i < row.size(); ++i) out[i] = std::max(out[i], display_width(row[i]));
  }
  return out;
}

std::string pad(const std::string& cell, size_t width, bool right) {
  std::string space(width - display_width(cell), ' ');
  return right ? space + cell : cell + space;
}

std::string join(const TextTable& t, const std::vector<std::string>& cells, const std::vector<size_t>& widths,
                 const char* separator) {
  std::string out;
  for (size_t i = 0; i < cells.size(); ++i) {
    if (i) out += separator;
    out += pad(cells[i], widths[i], is_right(t, i));
  }
  return out;
}

}  // namespace

std::string to_text(const TextTable& t) {
  auto widths = column_widths(t);
  auto line = [&](const std::vector<std::string>& cells) {
    std::string s = join(t, cells, widths, "  ");
    s.erase(s.find_last_not_of(' ') + 1);
    return s + "\n";
  };
  size_t total = 2 * (widths.size() - 1);
  for (size_t w : widths) total += w;
  std::string out = line(t.header);
  for (size_t i = 0; i < total; ++i) out += "─";
  out += "\n";
  for (const auto& row : t.rows) out += line(row);
  return out;
}

std::string to_markdown(const TextTable& t) {
  TextTable safe = t;
  for (auto& row : safe.rows)
    for (auto& cell : row)
      for (size_t at = 0; (at = cell.find('|', at)) != std::string::npos; at += 2) cell.insert(at, "\\");
  auto widths = column_widths(safe);
  std::string out = "| " + join(safe, safe.header, widths, " | ") + " |\n|";
  for (size_t i = 0; i < widths.size(); ++i)
    out += std::string(widths[i] + 1, '-') + (is_right(safe, i) ? ":" : "-") + "|";
  out += "\n";
  for (const auto& row : safe.rows) out += "| " + join(safe, row, widths, " | ") + " |\n";
  return out;
}

std::string fixed(double value, int digits) {
  if (!std::isfinite(value)) return "–";
  char buf[64];
  std::snprintf(buf, sizeof buf, "%.*f", digits, value);
  return buf;
}

}  // namespace puyu
