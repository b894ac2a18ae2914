#include "text/wikitext.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "base/utf8.h"
#include "text/wikitext_internal.h"

namespace puyu {
namespace {

bool is_letter_ascii(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return out;
}

// Elements whose content is not wikitext, or is none of the article.
constexpr std::string_view kDropped[] = {
    "ref",          "gallery",  "timeline", "imagemap",       "score",      "templatedata",
    "graph",        "mapframe", "maplink",  "hiero",          "references", "inputbox",
    "categorytree", "style",    "script",   "templatestyles", "section",    "indicator"};
constexpr std::string_view kFormulae[] = {"math", "chem", "ce"};
constexpr std::string_view kCode[] = {"syntaxhighlight", "source", "pre"};
constexpr std::string_view kLines[] = {"br", "p", "div", "li", "tr", "blockquote", "poem", "center"};

template <class List>
bool holds(const List& list, std::string_view name) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

struct Tag {
  std::string name;  // in lower case
  bool closing = false, empty = false;
  size_t end = 0;  // behind its ">"
};

constexpr size_t kLongestTag = 4096;

// The tag at source[at] == '<', or a name of "".
Tag tag_at(std::string_view source, size_t at) {
  Tag t;
  size_t i = at + 1;
  if (i < source.size() && source[i] == '/') t.closing = true, ++i;
  const size_t from = i;
  while (i < source.size() && (is_letter_ascii(source[i]) || (i > from && source[i] >= '0' && source[i] <= '9'))) ++i;
  if (i == from) return t;
  const std::string_view rest = source.substr(i, kLongestTag);
  const size_t end = rest.find_first_of("<>");
  if (end == std::string_view::npos || rest[end] == '<') return t;
  t.empty = end > 0 && rest[end - 1] == '/';
  t.end = i + end + 1;
  t.name = lower(source.substr(from, i - from));
  return t;
}

class TagPass {
 public:
  TagPass(std::string_view source, WikiAside& aside) : source_(source), aside_(aside) {}
  std::string run() {
    while (at_ < source_.size()) {
      const char c = source_[at_];
      if (c == '<' && (skip_comment() || read_tag())) continue;
      if (c != '\x02' && c != '\x03' && c != '\r') out_ += c;
      ++at_;
    }
    return std::move(out_);
  }

 private:
  bool skip_comment() {
    if (!source_.substr(at_).starts_with("<!--")) return false;
    const size_t end = source_.find("-->", at_ + 4);
    at_ = end == std::string_view::npos ? source_.size() : end + 3;
    return true;
  }
  // Where "</name" begins behind `from`; npos. A name that was not found is not looked for again.
  size_t closing_of(const std::string& name, size_t from) {
    if (unclosed_.contains(name)) return std::string_view::npos;
    for (size_t i = source_.find("</", from); i != std::string_view::npos; i = source_.find("</", i + 2))
      if (lower(source_.substr(i + 2, name.size())) == name) return i;
    unclosed_.insert(name);
    return std::string_view::npos;
  }
  bool read_tag() {
    const Tag tag = tag_at(source_, at_);
    if (tag.name.empty()) return false;
    const bool formula = holds(kFormulae, tag.name), code = holds(kCode, tag.name), plain = tag.name == "nowiki";
    if (!tag.closing && !tag.empty && (formula || code || plain || holds(kDropped, tag.name))) {
      const size_t end = closing_of(tag.name, tag.end);
      if (end != std::string_view::npos) {
        const std::string content(source_.substr(tag.end, end - tag.end));
        if (formula) out_ += aside_.put("$" + content + "$");
        if (code) out_ += "\n\n" + aside_.put(content) + "\n\n";
        if (plain) out_ += aside_.put(content);
        const size_t close = source_.find('>', end);
        at_ = close == std::string_view::npos ? source_.size() : close + 1;
        return true;
      }
    }
    if (holds(kLines, tag.name)) out_ += '\n';
    at_ = tag.end;
    return true;
  }
  std::string_view source_;
  WikiAside& aside_;
  size_t at_ = 0;
  std::string out_;
  std::set<std::string> unclosed_;
};

}  // namespace

std::string WikiAside::put(std::string text) {
  while (!text.empty() && text.front() == '\n') text.erase(0, 1);
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  texts.push_back(std::move(text));
  return "\x02" + std::to_string(texts.size() - 1) + "\x03";
}

std::string WikiAside::restore(std::string_view text) const {
  std::string out;
  while (!text.empty()) {
    const size_t from = std::min(text.find('\x02'), text.size()), to = text.find('\x03', from);
    out += text.substr(0, from);
    if (to == std::string_view::npos) break;
    size_t number = texts.size();
    std::from_chars(text.data() + from + 1, text.data() + to, number);
    if (number < texts.size()) out += texts[number];
    text.remove_prefix(to + 1);
  }
  return out;
}

std::string wiki_without_tags(std::string_view source, WikiAside& aside) { return TagPass(source, aside).run(); }

std::string wikitext_to_text(std::string_view source, const WikiOptions& options) {
  WikiAside aside;
  return aside.restore(wiki_lines(wiki_without_links(wiki_without_tags(source, aside), options)));
}

}  // namespace puyu
