#include "text/roff_internal.h"

#include <algorithm>

namespace puyu::roff {
namespace {

std::string_view trim(std::string_view s) {
  size_t from = s.find_first_not_of(" \t\n");
  return from == std::string_view::npos ? std::string_view{} : s.substr(from, s.find_last_not_of(" \t\n") - from + 1);
}

bool is_name_heading(std::string_view line) {
  for (std::string_view name : {"NAME", "Name", "名称", "名字", "命令名", "名稱"})
    if (line.starts_with(name)) return true;
  return false;
}

// "ls,dir -- list" -> "ls, dir - list"; the dash may be any that pages use, with spaces around it.
bool split_name(std::string_view line, std::string& names, std::string& description) {
  constexpr std::string_view kDashes[] = {" - ", " -- ", " --- ", " – ", " — ", " ── ", " － ", "──", "—", " -"};
  size_t at = std::string_view::npos, length = 0;
  for (std::string_view dash : kDashes)
    if (size_t found = line.find(dash); found < at) at = found, length = dash.size();
  if (at == std::string_view::npos) return false;
  description = trim(line.substr(at + length));
  names.clear();
  bool after_comma = false;
  for (char c : trim(line.substr(0, at))) {
    if (c == ',' && names.ends_with(' ')) names.pop_back();
    if (after_comma && c != ' ') names += ' ';
    after_comma = c == ',';
    if (!(c == ' ' && names.ends_with(' '))) names += c;
  }
  return !names.empty() && !description.empty();
}

// One line a description in the NAME section; lines without a dash belong to the line before.
std::string tidy_name(std::string_view body) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < body.size();) {
    size_t end = std::min(body.find('\n', at), body.size());
    std::string_view line = trim(body.substr(at, end - at));
    at = end + 1;
    if (line.empty()) continue;
    std::string names, description;
    bool split = split_name(line, names, description);
    std::string tidy = split ? names + " - " + description : std::string(line);
    // "a,\nb - text" and "a - text\nthat goes on"
    bool open = !lines.empty() && (lines.back().ends_with(',') || lines.back().find(" - ") == std::string::npos);
    if (lines.empty() || (split && !open))
      lines.push_back(tidy);
    else
      lines.back() += " " + tidy;
  }
  std::string out;
  for (const std::string& line : lines) {
    std::string names, description;
    out += "    " + (split_name(line, names, description) ? names + " - " + description : line) + "\n";
  }
  return out;
}

}  // namespace

void Page::put(std::string_view line) {
  if (gap_ && !out_.empty() && !out_.ends_with("\n\n")) out_ += '\n';
  gap_ = false;
  out_.append(static_cast<size_t>(indent_ + (tag_next_ ? 0 : hang_)), ' ');
  out_ += line;
  out_ += '\n';
}

void Page::flush() {
  if (paragraph_.empty()) return;
  put(trim(paragraph_));
  paragraph_.clear();
  joins_ = false;
}

void Page::heading(const std::string& title, int depth) {
  flush();
  fill_ = true, tag_next_ = false, indent_ = 4, hang_ = 0;
  if (!out_.empty() && !out_.ends_with("\n\n")) out_ += '\n';
  gap_ = false;
  out_.append(depth ? 2 : 0, ' ');
  out_ += trim(title);
  out_ += '\n';
}

void Page::text(const std::string& line, bool joins) {
  if (tag_next_) {
    paragraph_ += line;
    if (joins) return;
    flush();
    tag_next_ = false;
  } else if (fill_) {
    if (line.starts_with(' ')) flush();  // a leading space breaks the line, as in troff
    if (!paragraph_.empty() && !joins_) paragraph_ += ' ';
    paragraph_ += line;
    joins_ = joins;
  } else if (joins || joins_) {
    paragraph_ += line;
    joins_ = joins;
    if (!joins) flush();
  } else {
    put(line);
  }
}

void Page::paragraph() {
  flush();
  gap_ = true, hang_ = 0, tag_next_ = false;
}

void Page::item() {
  flush();
  gap_ = true, hang_ = 4, tag_next_ = true;
}

void Page::item(const std::string& tag) {
  flush();
  gap_ = true, hang_ = 4, tag_next_ = !tag.empty();
  if (tag_next_) put(trim(tag));
  tag_next_ = false;
}

void Page::indent(int by) {
  flush();
  if (by > 0) indent_ += hang_ ? hang_ : 0;
  indent_ = std::min(std::max(4, indent_ + by), 40);
  hang_ = 0;
}

std::string Page::take() {
  flush();
  size_t heading_end = out_.find('\n');
  if (heading_end == std::string::npos || !is_name_heading(out_)) return std::move(out_);
  size_t next = heading_end;  // the NAME section ends before the next line at the margin
  do next = out_.find('\n', next + 1);
  while (next != std::string::npos && next + 1 < out_.size() && (out_[next + 1] == ' ' || out_[next + 1] == '\n'));
  size_t body_end = next == std::string::npos ? out_.size() : next + 1;
  std::string body = tidy_name(std::string_view(out_).substr(heading_end + 1, body_end - heading_end - 1));
  return out_.substr(0, heading_end + 1) + body + (body_end < out_.size() ? "\n" : "") + out_.substr(body_end);
}

}  // namespace puyu::roff
