#include "text/roff.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "base/utf8.h"
#include "text/roff_internal.h"

namespace puyu {
namespace roff {
namespace {

constexpr size_t kMaxStrings = 1000;

size_t count(std::string_view s, std::string_view what) {
  size_t n = 0;
  for (size_t at = s.find(what); at != std::string_view::npos; at = s.find(what, at + 2)) ++n;
  return n;
}

// Logical lines: a backslash at the end joins the next one.
class Lines {
 public:
  explicit Lines(std::string_view s) : s_(s) {}
  bool next(std::string& line) {
    if (at_ >= s_.size()) return false;
    line.clear();
    for (;;) {
      size_t end = std::min(s_.find('\n', at_), s_.size());
      line += s_.substr(at_, end - at_);
      at_ = std::min(end + 1, s_.size());
      if (line.ends_with('\r')) line.pop_back();
      size_t slashes = 0;
      while (slashes < line.size() && line[line.size() - 1 - slashes] == '\\') ++slashes;
      if (slashes % 2 == 0) return true;
      line.pop_back();
      if (at_ >= s_.size()) return true;
    }
  }

 private:
  std::string_view s_;
  size_t at_ = 0;
};

class Reader {
 public:
  explicit Reader(std::string_view source) : lines_(source) {}
  ManualPage read();

 private:
  void execute(std::string_view line);
  void request(std::string_view name, std::string_view rest);
  bool structure(std::string_view name, std::string_view rest);
  bool font(std::string_view name, std::string_view rest);
  bool link(std::string_view name, std::string_view rest);
  bool condition(std::string_view& rest) const;
  void skip_block(std::string_view rest);
  void skip_definition(std::string_view end);
  void table();
  void title(std::string_view rest);
  std::string clean(std::string_view s, bool* joins = nullptr) const { return plain(s, strings_, joins); }
  std::vector<std::string> clean_arguments(std::string_view rest) const {
    auto out = arguments(rest);
    for (std::string& a : out) a = clean(a);
    return out;
  }

  Lines lines_;
  Page page_;
  Mdoc mdoc_;
  Strings strings_;
  ManualPage result_;
  bool else_ = false;  // the branch that the next .el takes
  bool content_ = false;
};

// The value of a condition, which is taken off the front of `rest`: nroff is true, troff and what we cannot know false.
bool Reader::condition(std::string_view& rest) const {
  bool negate = false, value = false;
  while (!rest.empty() && (rest[0] == ' ' || rest[0] == '!')) {
    if (rest[0] == '!') negate = !negate;
    rest.remove_prefix(1);
  }
  if (rest.starts_with('\'') || rest.starts_with('"')) {  // 'a'b': equal strings
    char q = rest[0];
    size_t second = rest.find(q, 1);
    size_t third = second == std::string_view::npos ? second : rest.find(q, second + 1);
    if (third == std::string_view::npos) return rest = {}, false;
    value = clean(rest.substr(1, second - 1)) == clean(rest.substr(second + 1, third - second - 1));
    rest.remove_prefix(third + 1);
  } else {
    size_t end = std::min(rest.find_first_of(" \t"), rest.size());
    end = std::min(rest.substr(0, end).find("\\{"), end);
    std::string_view word = rest.substr(0, end);
    value = word == "n" || word == "\\n(.g" || word == "\\n[.g]" || word == "(\\n(.g)" || word == "1";
    rest.remove_prefix(end);
  }
  while (!rest.empty() && (rest[0] == ' ' || rest[0] == '\t')) rest.remove_prefix(1);
  return value != negate;
}

// Skips the body of a false condition whose first line is `rest`.
void Reader::skip_block(std::string_view rest) {
  auto depth = static_cast<int64_t>(count(rest, "\\{")) - static_cast<int64_t>(count(rest, "\\}"));
  for (std::string line; depth > 0 && lines_.next(line);)
    depth += static_cast<int64_t>(count(line, "\\{")) - static_cast<int64_t>(count(line, "\\}"));
}

void Reader::skip_definition(std::string_view end) {
  std::string last = "." + (end.empty() ? "." : std::string(end));
  for (std::string line; lines_.next(line);) {
    std::erase_if(line, [](char c) { return c == ' ' || c == '\t'; });  // ".  ." ends one too
    if (line == last) return;
  }
}

// .TS … .TE: one line a row, cells separated by two spaces.
void Reader::table() {
  page_.paragraph();
  page_.set_fill(false);
  char tab = '\t';
  bool format = true;
  std::string line, row;
  int open = 0;  // inside T{ … T}
  while (lines_.next(line) && !line.starts_with(".TE")) {
    if (format) {
      if (size_t at = line.find("tab("); at != std::string::npos && at + 4 < line.size()) tab = line[at + 4];
      size_t last = line.find_last_not_of(" \t");
      format = last == std::string::npos || line[last] != '.';
      continue;
    }
    if (line.starts_with(".T&")) {
      format = true;
      continue;
    }
    if (line == "_" || line == "=") continue;
    if (line.starts_with("T}")) open = 0, line.erase(0, 2);
    if (line.starts_with('.') || line.starts_with('\'')) {  // keep the words of font requests
      auto args = arguments(std::string_view(line).substr(1));
      bool letters = !args.empty() && args[0].size() <= 2 && std::string("BIRS").find(args[0][0]) != std::string::npos;
      line.clear();
      for (size_t i = 1; letters && i < args.size(); ++i) line += args[i] + (args[0].size() == 1 ? " " : "");
    }
    std::string text;
    for (char c : line) text += c == tab ? std::string("  ") : std::string(1, c);
    if (text.ends_with("T{")) open = 1, text.erase(text.size() - 2);
    text = clean(text);
    row += (row.empty() || row.ends_with(' ') ? "" : open ? " " : "") + text;
    if (open) continue;
    if (row.find_first_not_of(' ') != std::string::npos) page_.text(row.substr(row.find_first_not_of(' ')));
    row.clear();
  }
  page_.set_fill(true);
  page_.paragraph();
}

void Reader::title(std::string_view rest) {
  auto a = clean_arguments(rest);
  if (a.empty()) return;
  std::string name = a[0];
  // Pages shout their names; commands are written small unless the NAME line says otherwise.
  bool shouting = std::none_of(name.begin(), name.end(), [](char c) { return c >= 'a' && c <= 'z'; });
  if (shouting)
    for (char& c : name)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  result_.section = a.size() > 1 ? a[1] : "";
  result_.title = result_.section.empty() ? name : name + "(" + result_.section + ")";
  if (a.size() > 2) result_.date = a[2];
}

bool Reader::structure(std::string_view name, std::string_view rest) {
  if (name == "TH") {
    title(rest);
  } else if (name == "SH" || name == "SS") {
    std::string heading;
    for (const std::string& a : clean_arguments(rest)) heading += (heading.empty() ? "" : " ") + a;
    if (heading.empty()) {
      std::string line;
      if (lines_.next(line)) heading = clean(line);
    }
    page_.heading(heading, name == "SS");
  } else if (name == "PP" || name == "P" || name == "LP" || name == "HP" || name == "sp") {
    page_.paragraph();
  } else if (name == "TP") {
    page_.item();
  } else if (name == "TQ") {
    page_.end_item();
    page_.item();
  } else if (name == "IP") {
    auto a = clean_arguments(rest);
    page_.item(a.empty() ? "" : a[0]);
  } else if (name == "RS" || name == "RE") {
    page_.indent(name == "RS" ? 4 : -4);
  } else if (name == "nf" || name == "EX" || name == "Vb" || name == "CS") {
    page_.set_fill(false);
  } else if (name == "fi" || name == "EE" || name == "Ve" || name == "CE") {
    page_.set_fill(true);
  } else if (name == "br") {
    page_.line_break();
  } else if (name == "TS") {
    table();
  } else {
    return false;
  }
  return true;
}

bool Reader::font(std::string_view name, std::string_view rest) {
  bool one = name == "B" || name == "I" || name == "SM" || name == "SB" || name == "R" || name == "CW";
  bool pair = name.size() == 2 && std::string_view("BIR").find(name[0]) != std::string_view::npos &&
              std::string_view("BIR").find(name[1]) != std::string_view::npos;
  if (!one && !pair && name != "OP" && name != "SY" && name != "MR") return false;
  auto a = arguments(rest);
  std::string out;
  for (const std::string& arg : a) out += (out.empty() || !(one || name == "OP" || name == "SY") ? "" : " ") + arg;
  if (name == "OP") out = "[" + out + "]";
  if (name == "MR" && a.size() > 1) {
    out = a[0] + "(" + a[1] + ")";
    for (size_t i = 2; i < a.size(); ++i) out += a[i];
  }
  bool joins = false;
  out = clean(out, &joins);
  if (!out.empty()) page_.text(out, joins);
  return true;
}

bool Reader::link(std::string_view name, std::string_view rest) {
  auto a = clean_arguments(rest);
  if (name == "UR" || name == "MT") {
    if (!a.empty()) page_.text("<" + a[0] + ">");
  } else if (name == "URL" || name == "MTO") {  // .URL address text punctuation
    if (a.empty()) return true;
    bool has_text = a.size() > 1 && !a[1].empty();
    page_.text((has_text ? a[1] + " <" + a[0] + ">" : a[0]) + (a.size() > 2 ? a[2] : ""));
  } else if (name == "UE" || name == "ME") {
    if (!a.empty()) page_.text(a[0]);
  } else {
    return false;
  }
  return true;
}

void Reader::request(std::string_view name, std::string_view rest) {
  if (name == "ds") {
    size_t space = std::min(rest.find(' '), rest.size());
    std::string_view value = rest.substr(std::min(space + 1, rest.size()));
    if (value.starts_with('"')) value.remove_prefix(1);
    if (strings_.size() < kMaxStrings) strings_[std::string(rest.substr(0, space))] = clean(value).substr(0, 256);
  } else if (name == "de" || name == "de1" || name == "am" || name == "am1" || name == "dei") {
    auto a = arguments(rest);
    skip_definition(a.size() > 1 ? a[1] : "");
  } else if (name == "ig") {
    auto a = arguments(rest);
    skip_definition(a.empty() ? "" : a[0]);
  } else if (name == "so") {
    auto a = arguments(rest);
    if (!content_ && result_.title.empty() && !a.empty() && a[0].find("man") != std::string::npos)
      result_.alias_of = a[0];
  } else {
    content_ |= name == "SH" || name == "Sh";
    if (structure(name, rest) || font(name, rest) || link(name, rest)) return;
    if (name == "Dt") return title(rest);
    if (name == "Dd") {
      result_.date = clean(rest);
      return;
    }
    mdoc_.request(page_, name, rest, strings_);  // what it does not know either is layout, or a macro of the page's own
  }
}

void Reader::execute(std::string_view line) {
  for (;;) {
    bool control = !line.empty() && (line[0] == '.' || line[0] == '\'');
    if (!control) {
      if (line.empty()) return page_.paragraph();
      bool joins = false;
      std::string text = clean(line, &joins);
      if (!text.empty() || joins) page_.text(text, joins);
      return;
    }
    line.remove_prefix(1);
    while (!line.empty() && (line[0] == ' ' || line[0] == '\t')) line.remove_prefix(1);
    size_t end = 0;
    while (end < line.size() && line[end] != ' ' && line[end] != '\t' && line[end] != '\\') ++end;
    std::string_view name = line.substr(0, end), rest = line.substr(end);
    while (!rest.empty() && (rest[0] == ' ' || rest[0] == '\t')) rest.remove_prefix(1);
    bool take = false;
    if (name == "if" || name == "ie") {
      take = condition(rest);
      if (name == "ie") else_ = !take;
    } else if (name == "el") {
      take = else_;
    } else {
      return name.empty() ? void() : request(name, rest);
    }
    if (!take) return skip_block(rest);
    if (rest.starts_with("\\{")) rest.remove_prefix(2);
    if (rest.empty()) return;
    line = rest;
  }
}

ManualPage Reader::read() {
  for (std::string line; lines_.next(line);) execute(line);
  result_.text = page_.take();
  if (!content_ && result_.text.find_first_not_of(" \n") != std::string::npos) result_.alias_of.clear();
  return std::move(result_);
}

}  // namespace
}  // namespace roff

ManualPage roff_to_text(std::string_view source) {
  std::string utf8;
  if (!valid_utf8(source)) {  // old pages are Latin-1
    for (char c : source) append_utf8(utf8, static_cast<unsigned char>(c));
    source = utf8;
  }
  ManualPage page = roff::Reader(source).read();
  // Escapes take single bytes, so one before a longer character (\(éx) can leave half of it.
  for (auto* s : {&page.title, &page.section, &page.date, &page.text, &page.alias_of}) *s = repair_utf8(*s);
  return page;
}

bool looks_like_roff(std::string_view bytes) {
  bytes = bytes.substr(0, 65536);
  for (size_t at = 0; at < bytes.size(); at = std::min(bytes.find('\n', at), bytes.size() - 1) + 1)
    for (std::string_view r : {".TH", ".SH", ".Dd", ".Dt", ".so ", ".\\\"", "'\\\""})
      if (bytes.substr(at).starts_with(r)) return true;
  return false;
}

}  // namespace puyu
