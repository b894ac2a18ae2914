#include "text/html_slim.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace puyu {
namespace {

constexpr int kMaxDepth = 512;
// What parsing costs in nanoseconds, as measured on hostile pages (docs/benchmarks/data.md): bytes, tags, and for each
// tag the open elements that the parser may look through and the open <b>, <i>, … that it may have to open again.
// What stands in a table but in no cell is put before the table, whose place the parser looks for among its siblings:
// at most all nodes so far. Counted, not timed: the same pages are refused on every machine.
constexpr int64_t kByteCost = 70, kTagCost = 1000, kDepthCost = 17, kFormatCost = 300, kMaxCost = 130'000'000;
constexpr int64_t kSiblingsPerCost = 16;  // looked through in a nanosecond

constexpr std::string_view kAttributes[] = {"class", "id",       "itemprop", "role",     "style",       "hidden",
                                            "href",  "property", "name",     "content",  "datetime",    "lang",
                                            "alt",   "encoding", "start",    "itemtype", "aria-hidden", "type"};
// Elements that the parser closes by itself, or that hold nothing.
constexpr std::string_view kSelfClosing[] = {
    "p",   "li",    "dt",    "dd",    "option", "tr",   "td",   "th",    "br",       "hr",
    "img", "input", "meta",  "link",  "area",   "base", "col",  "embed", "source",   "track",
    "wbr", "param", "tbody", "thead", "tfoot",  "html", "head", "body",  "colgroup", "optgroup"};
constexpr std::string_view kFormats[] = {"a",    "b",     "i",   "u",    "s",    "em",     "strong",
                                         "font", "small", "big", "code", "nobr", "strike", "tt"};
constexpr std::string_view kCells[] = {"td", "th", "caption"};
constexpr std::string_view kTableParts[] = {"table", "tbody", "thead", "tfoot", "tr", "col", "colgroup"};
constexpr std::string_view kLeftOut[] = {"script",   "style",  "noscript", "svg",
                                         "template", "iframe", "object",   "canvas"};

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }
bool is_alpha(char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }
char lower(char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c); }

template <size_t N>
bool is_in(std::string_view name, const std::string_view (&list)[N]) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

bool equal_nocase(std::string_view a, std::string_view lower_case) {
  return a.size() == lower_case.size() &&
         std::equal(a.begin(), a.end(), lower_case.begin(), [](char x, char y) { return lower(x) == y; });
}

// The place of "</name" followed by the end of a tag's name, from `at` on; npos when there is none.
size_t find_end_tag(std::string_view s, size_t at, std::string_view name) {
  for (at = s.find("</", at); at != std::string_view::npos; at = s.find("</", at + 2)) {
    size_t end = at + 2 + name.size();
    if (equal_nocase(s.substr(at + 2, name.size()), name) &&
        (end >= s.size() || is_space(s[end]) || s[end] == '>' || s[end] == '/'))
      return at;
  }
  return at;
}

class Slimmer {
 public:
  explicit Slimmer(std::string_view page) : s_(page) { out_.html.reserve(page.size() / 2); }

  SlimPage run() {
    while (at_ < s_.size() && !*out_.problem) {
      size_t tag = std::min(s_.find('<', at_), s_.size());
      if (loose_ && !std::all_of(s_.begin() + static_cast<std::ptrdiff_t>(at_),
                                 s_.begin() + static_cast<std::ptrdiff_t>(tag), is_space))
        misplaced();
      out_.html.append(s_, at_, tag - at_);
      at_ = tag;
      if (at_ < s_.size()) markup();
      if (work_ + static_cast<int64_t>(out_.html.size()) * kByteCost > kMaxCost) out_.problem = "too_complex";
    }
    return std::move(out_);
  }

 private:
  void markup() {
    work_ += kTagCost + depth_ * kDepthCost;
    if (s_.compare(at_, 4, "<!--") == 0) return comment();
    bool closing = at_ + 1 < s_.size() && s_[at_ + 1] == '/';
    size_t from = at_ + 1 + closing, end = from;
    if (from >= s_.size() || !is_alpha(s_[from])) {  // a doctype, or a stray "<"
      out_.html += s_[at_++];
      return;
    }
    while (end < s_.size() && !is_space(s_[end]) && s_[end] != '>' && s_[end] != '/') ++end;
    std::string_view raw = s_.substr(from, end - from);
    std::array<char, 16> small{};
    size_t n = std::min(raw.size(), small.size());
    std::transform(raw.begin(), raw.begin() + static_cast<std::ptrdiff_t>(n), small.begin(), lower);
    std::string_view name(small.data(), raw.size() <= small.size() ? n : 0);  // "": a long name, none of ours
    out_.html.append(closing ? "</" : "<").append(raw);
    size_t tag_start = out_.html.size() - raw.size() - 1 - closing;
    bool empty = attributes(end, closing);
    if (!closing && is_in(name, kLeftOut)) return leave_out(name, tag_start, empty);
    out_.html += '>';
    count_depth(name, closing, empty);
    count_table(name, closing);
  }

  // <!-- … -->; one that does not end takes the rest of the page, as the standard has it.
  void comment() {
    size_t end = s_.find("-->", at_ + 2);  // <!--> is one too
    at_ = end == std::string_view::npos ? s_.size() : std::max(end + 3, at_ + 5);
    at_ = std::min(at_, s_.size());
  }

  // Copies the attributes that matter; true for "/>". at_ ends behind the tag.
  bool attributes(size_t i, bool closing) {
    type_ = {};
    bool slash = false;
    uint32_t seen = 0;  // of two attributes of one name the first counts
    while (i < s_.size() && s_[i] != '>') {
      if (is_space(s_[i]) || s_[i] == '/') {
        slash = s_[i] == '/';
        ++i;
        continue;
      }
      slash = false;
      size_t name_end = i + 1;
      while (name_end < s_.size() && !is_space(s_[name_end]) && s_[name_end] != '=' && s_[name_end] != '>' &&
             s_[name_end] != '/')
        ++name_end;
      std::string_view name = s_.substr(i, name_end - i), value;
      i = name_end;
      while (i < s_.size() && is_space(s_[i])) ++i;
      if (i < s_.size() && s_[i] == '=') i = attribute_value(i + 1, value);
      if (closing) continue;
      for (uint32_t k = 0; k < std::size(kAttributes); ++k)
        if (!(seen >> k & 1) && equal_nocase(name, kAttributes[k])) {
          seen |= 1u << k;
          copy_attribute(kAttributes[k], value);
        }
    }
    at_ = std::min(i + 1, s_.size());
    return slash;
  }

  size_t attribute_value(size_t i, std::string_view& value) {
    while (i < s_.size() && is_space(s_[i])) ++i;
    if (i >= s_.size()) return i;
    if (s_[i] == '"' || s_[i] == '\'') {
      size_t end = std::min(s_.find(s_[i], i + 1), s_.size());
      value = s_.substr(i + 1, end - i - 1);
      return end + 1;
    }
    size_t end = i;
    while (end < s_.size() && !is_space(s_[end]) && s_[end] != '>') ++end;
    value = s_.substr(i, end - i);
    return end;
  }

  void copy_attribute(std::string_view name, std::string_view value) {
    if (name == "type") type_ = value;
    if (name == "href") value = {};  // that it is a link is all that matters
    char quote = value.find('"') == std::string_view::npos ? '"' : '\'';
    if (value.find(quote) != std::string_view::npos) return;  // unquoted and with both: nothing anyone would mean
    out_.html += ' ';
    out_.html.append(name).append("=").append(1, quote).append(value).append(1, quote);
  }

  // Goes on behind the element, whose start tag begins at tag_start of the output, and takes that back. Formulae and
  // linked data are all that is kept of scripts.
  void leave_out(std::string_view name, size_t tag_start, bool empty) {
    bool drawing = name == "svg";
    std::string type(type_);
    out_.html.resize(tag_start);
    if (drawing && empty) return;
    bool& missing =
        missing_end_[static_cast<size_t>(std::find(std::begin(kLeftOut), std::end(kLeftOut), name) - kLeftOut)];
    size_t end = missing ? std::string_view::npos : find_end_tag(s_, at_, name);
    missing = end == std::string_view::npos;  // and so for all that follow: looking again would be quadratic
    // An element that does not end would swallow the page: of a broken <noscript> or <object> the tag alone is lost.
    if (end == std::string_view::npos && name != "script" && name != "style") return;
    std::string_view inside = s_.substr(at_, std::min(end, s_.size()) - at_);
    std::transform(type.begin(), type.end(), type.begin(), lower);
    if (name == "script" && type == "application/ld+json") out_.linked_data.push_back(inside);
    if (name == "script" && type.starts_with("math/tex")) formula(inside, type.find("display") != std::string::npos);
    size_t close = end == std::string_view::npos ? end : s_.find('>', end);
    at_ = close == std::string_view::npos ? s_.size() : close + 1;
    if (name != "script" && name != "style") out_.html += ' ';
  }

  void formula(std::string_view tex, bool display) {
    out_.html += "<math><annotation encoding=\"application/x-tex\">";
    if (display) out_.html += "\\displaystyle ";
    for (char c : tex) {
      if (c == '<')
        out_.html += "&lt;";
      else if (c == '&')
        out_.html += "&amp;";
      else
        out_.html += c;
    }
    out_.html += "</annotation></math>";
  }

  void count_depth(std::string_view name, bool closing, bool empty) {
    if (!closing) work_ += formats_ * kFormatCost;
    if (name == "math") foreign_ = std::max(0, foreign_ + (closing ? -1 : 1));
    if ((foreign_ == 0 && is_in(name, kSelfClosing)) || (empty && foreign_ > 0)) return;
    depth_ = std::max(0, depth_ + (closing ? -1 : 1));
    if (is_in(name, kFormats)) formats_ = std::max(0, formats_ + (closing ? -1 : 1));
    if (depth_ > kMaxDepth) out_.problem = "too_deep";
  }

  void misplaced() { work_ += nodes_++ / kSiblingsPerCost; }

  // Whether what comes next stands in a table but in none of its cells.
  void count_table(std::string_view name, bool closing) {
    ++nodes_;
    if (name == "table") tables_ = std::max(0, tables_ + (closing ? -1 : 1));
    if (is_in(name, kCells))
      loose_ = closing && tables_ > 0;
    else if (is_in(name, kTableParts))
      loose_ = tables_ > 0;
    else if (loose_ && !closing)
      misplaced();
  }

  std::string_view s_;
  size_t at_ = 0;
  int depth_ = 0, foreign_ = 0, formats_ = 0, tables_ = 0;
  bool loose_ = false;
  int64_t work_ = 0, nodes_ = 0;
  std::string_view type_;
  std::array<bool, std::size(kLeftOut)> missing_end_{};
  SlimPage out_;
};

}  // namespace

SlimPage slim_html(std::string_view page) { return Slimmer(page).run(); }

}  // namespace puyu
