// NAME lines of manual pages, from cleaned text or roff source.
#include <algorithm>
#include <cctype>

#include "align/instructions.h"
#include "base/utf8.h"

namespace puyu {
namespace {

constexpr size_t kMaxEnglish = 80, kMaxChinese = 30;  // columns; longer ones are no one-line answers

std::string_view trim(std::string_view s) {
  const size_t b = s.find_first_not_of(" \t\r"), e = s.find_last_not_of(" \t\r");
  return b == std::string_view::npos ? std::string_view{} : s.substr(b, e - b + 1);
}

// Font changes, escaped dashes and zero-width escapes of roff.
std::string plain(std::string_view roff) {
  std::string out;
  for (size_t i = 0; i < roff.size(); ++i) {
    if (roff[i] != '\\' || i + 1 >= roff.size()) {
      out += roff[i];
    } else if (const char c = roff[++i]; c == 'f') {
      ++i;
      if (i < roff.size() && roff[i] == '(') i += 2;
      if (i < roff.size() && roff[i] == '[') i = std::min(roff.find(']', i), roff.size());
    } else if (c == '(') {
      if (const std::string_view name = roff.substr(i + 1, 2); name == "em" || name == "en" || name == "mi") out += '-';
      i += 2;
    } else if (c == '-' || c == '\\') {
      out += c == '-' ? '-' : '\\';
    } else if (c == ' ') {
      out += ' ';
    } else if (c != '&' && c != '/' && c != ',' && c != '%' && c != ':') {
      out += c;
    }
  }
  return out;
}

bool is_name_heading(std::string_view line) {
  line = trim(line);
  while (line.starts_with('#')) line.remove_prefix(1);
  if (line.starts_with(".SH") || line.starts_with(".Sh")) line.remove_prefix(3);
  line = trim(line);
  if (line.size() >= 2 && line.front() == '"' && line.back() == '"') line = line.substr(1, line.size() - 2);
  for (const char* h : {"NAME", "Name", "名称", "名字", "名稱", "名 称", "NAME 名称", "NAME (名称)", "NAME(名称)"})
    if (trim(line) == h) return true;
  return false;
}

// "ls, dir - list files" -> "ls", "list files".
bool split_name_line(const std::string& line, std::string& name, std::string& description) {
  for (const char* dash : {" - ", " -- ", " — ", " – ", " -"}) {
    const size_t at = line.find(dash);
    if (at == std::string::npos || at == 0) continue;
    std::string_view names = trim(std::string_view(line).substr(0, at));
    names = names.substr(0, names.find(','));
    std::string_view text = trim(std::string_view(line).substr(at + std::string_view(dash).size()));
    if (names.empty() || text.empty() || names.find(' ') != std::string_view::npos) return false;
    name = names;
    description = text;
    return true;
  }
  return false;
}

// The pages that a text refers to, "ls" of "ls(1)", each as often as it does.
std::vector<std::string> references(std::string_view text) {
  auto in_name = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '-'; };
  std::vector<std::string> out;
  for (size_t open = text.find('('); open != std::string_view::npos; open = text.find('(', open + 1)) {
    if (open + 2 >= text.size() || text[open + 1] < '1' || text[open + 1] > '8' || text[open + 2] != ')') continue;
    size_t begin = open;
    while (begin > 0 && in_name(text[begin - 1])) --begin;
    if (begin < open) out.emplace_back(text.substr(begin, open - begin));
  }
  return out;
}

bool has_chinese(std::string_view s) {
  char32_t c = 0;
  for (size_t i = 0, n = 0; i < s.size(); i += n) {
    n = std::max<size_t>(1, decode_utf8(s, i, c));
    if (c >= 0x4e00 && c <= 0x9fff) return true;
  }
  return false;
}

}  // namespace

bool read_name_line(const std::string& text, std::string& name, std::string& description) {
  std::string_view rest = text;
  std::string joined;
  bool inside = false;
  while (!rest.empty()) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (!inside) {
      inside = is_name_heading(line);
      continue;
    }
    line = trim(line);
    if (line.starts_with(".SH") || line.starts_with(".Sh") || line.starts_with('#')) break;
    if (line.empty() && !joined.empty()) break;
    if (line.starts_with(".B ") || line.starts_with(".I ")) line.remove_prefix(3);
    if (line.empty() || line.starts_with('.') || line.starts_with("'\\\"")) continue;
    joined += (joined.empty() ? "" : " ") + plain(line);
    if (joined.size() > 1000) break;
  }
  return split_name_line(joined, name, description);
}

void ManualPages::add(const std::string& text) {
  for (std::string& name : references(text)) ++references_[std::move(name)];
  std::string name, description;
  if (!read_name_line(text, name, description)) return;
  const bool chinese = has_chinese(description);
  if (display_width(description) > (chinese ? 2 * kMaxChinese : kMaxEnglish)) return;
  ManualPage& p = pages_[name];
  p.name = name;
  std::string& slot = chinese ? p.chinese : p.english;
  if (slot.empty()) slot = description;
}

std::vector<ManualPage> ManualPages::choose(size_t count) const {
  auto rank = [&](const ManualPage& p) {
    const auto seen = references_.find(p.name);
    return std::pair(!p.english.empty() && !p.chinese.empty(), seen == references_.end() ? 0 : seen->second);
  };
  std::vector<ManualPage> out;
  for (const auto& [name, page] : pages_) out.push_back(page);
  std::stable_sort(out.begin(), out.end(), [&](const ManualPage& x, const ManualPage& y) { return rank(x) > rank(y); });
  if (out.size() > count) out.resize(count);
  return out;
}

}  // namespace puyu
