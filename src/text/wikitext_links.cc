// Templates, links, quotes and entities of wikitext.
#include <algorithm>
#include <array>
#include <charconv>

#include "base/utf8.h"
#include "text/wikitext_internal.h"

namespace puyu {
namespace {

constexpr size_t kNone = ~size_t{0};
constexpr const char* kHidden[] = {"file", "image", "media", "category", "文件", "檔案", "档案",
                                   "图像", "圖像",  "媒体",  "媒體",     "分类", "分類"};
constexpr std::pair<std::string_view, std::string_view> kEntities[] = {
    {"amp", "&"},    {"lt", "<"},      {"gt", ">"},     {"quot", "\""},  {"apos", "'"},   {"nbsp", " "},
    {"ensp", " "},   {"emsp", " "},    {"thinsp", " "}, {"ndash", "–"},  {"mdash", "—"},  {"minus", "−"},
    {"times", "×"},  {"middot", "·"},  {"bull", "•"},   {"hellip", "…"}, {"prime", "′"},  {"Prime", "″"},
    {"deg", "°"},    {"plusmn", "±"},  {"frac12", "½"}, {"frac14", "¼"}, {"frac34", "¾"}, {"sup2", "²"},
    {"sup3", "³"},   {"rarr", "→"},    {"larr", "←"},   {"harr", "↔"},   {"le", "≤"},     {"ge", "≥"},
    {"ne", "≠"},     {"asymp", "≈"},   {"infin", "∞"},  {"alpha", "α"},  {"beta", "β"},   {"gamma", "γ"},
    {"delta", "δ"},  {"epsilon", "ε"}, {"theta", "θ"},  {"lambda", "λ"}, {"mu", "μ"},     {"pi", "π"},
    {"sigma", "σ"},  {"phi", "φ"},     {"omega", "ω"},  {"Delta", "Δ"},  {"Omega", "Ω"},  {"Sigma", "Σ"},
    {"lsquo", "‘"},  {"rsquo", "’"},   {"ldquo", "“"},  {"rdquo", "”"},  {"laquo", "«"},  {"raquo", "»"},
    {"copy", "©"},   {"reg", "®"},     {"trade", "™"},  {"euro", "€"},   {"pound", "£"},  {"sect", "§"},
    {"eacute", "é"}, {"egrave", "è"},  {"aacute", "á"}, {"uuml", "ü"},   {"ouml", "ö"},   {"auml", "ä"},
    {"shy", ""},     {"zwnj", ""},     {"zwj", ""},     {"lrm", ""},     {"rlm", ""},     {"szlig", "ß"}};

// For every "{{" and "[[" the place of the "}}" or "]]" that closes it, else kNone.
std::vector<size_t> match_brackets(std::string_view s) {
  std::vector<size_t> match(s.size(), kNone), stack;
  size_t braces = 0, squares = 0;
  for (size_t i = 0; i + 1 < s.size(); ++i) {
    const char c = s[i];
    if (c != s[i + 1] || (c != '{' && c != '[' && c != '}' && c != ']')) continue;
    if (c == '{' || c == '[') {
      ++(c == '{' ? braces : squares);
      stack.push_back(i);
      ++i;
      continue;
    }
    const char open = c == '}' ? '{' : '[';
    if ((open == '{' ? braces : squares) == 0) continue;
    while (s[stack.back()] != open) --(s[stack.back()] == '{' ? braces : squares), stack.pop_back();
    match[stack.back()] = i;
    stack.pop_back();
    --(open == '{' ? braces : squares);
    ++i;
  }
  return match;
}

std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return out;
}

std::string_view trim(std::string_view s) {
  const size_t from = s.find_first_not_of(" \t\n");
  return from == std::string_view::npos ? std::string_view{} : s.substr(from, s.find_last_not_of(" \t\n") - from + 1);
}

// "zh-hans:A;zh-hant:B", "A", or "T|..." (a flag: nothing is shown but with A).
std::string_view shown_variant(std::string_view text) {
  if (const size_t bar = text.find('|'); bar != std::string_view::npos) {
    if (text.substr(0, bar).find('A') == std::string_view::npos) return {};
    text.remove_prefix(bar + 1);
  }
  for (std::string_view wanted : {"zh-hans:", "zh-cn:", "zh-sg:", "zh:", "zh-hant:", "zh-tw:", "zh-hk:"}) {
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find(';', at), text.size());
      const std::string_view item = trim(text.substr(at, end - at));
      if (item.starts_with(wanted)) return trim(item.substr(wanted.size()));
      at = end + 1;
    }
  }
  return text;
}

class LinkPass {
 public:
  LinkPass(std::string_view source, const WikiOptions& options)
      : s_(source), options_(options), match_(match_brackets(source)) {}
  std::string run() {
    read(0, s_.size(), 0);
    return std::move(out_);
  }

 private:
  static constexpr int kMostDepth = 8;
  static constexpr size_t kLongestVariant = 1000;

  void read(size_t at, size_t end, int depth) {
    while (at < end) {
      const char c = s_[at];
      size_t next = at;
      if (c == '{' && match_[at] != kNone && match_[at] < end)
        next = match_[at] + 2;  // a template
      else if (c == '[' && match_[at] != kNone && match_[at] < end)
        next = read_link(at + 2, match_[at], depth);
      else if (c == '[')
        next = read_external(at, end);
      else if (c == '\'')
        next = skip_quotes(at, end);
      else if (c == '&')
        next = read_entity(at, end);
      else if (c == '-' && s_.substr(at, 2) == "-{")
        next = read_variant(at, end);
      else if (c == '_' && s_.substr(at, 2) == "__")
        next = skip_magic(at, end);
      if (next == at) out_ += s_[next++];
      at = next;
    }
  }
  bool is_hidden(const std::string& prefix) const {
    auto is = [&](const std::string& name) { return lower(name) == prefix; };
    return std::any_of(std::begin(kHidden), std::end(kHidden), is) ||
           std::any_of(options_.hidden_namespaces.begin(), options_.hidden_namespaces.end(), is);
  }
  // "target|label": the label, or the target. Files and categories are nothing, nor are links to other languages.
  size_t read_link(size_t from, size_t to, int depth) {
    const size_t after = to + 2;
    const std::string_view text = s_.substr(from, to - from);
    size_t bar = text.find('|');
    std::string_view target = trim(text.substr(0, bar));
    const bool plain = target.starts_with(':');
    if (plain) target.remove_prefix(1);
    const size_t colon = target.find(':');
    if (!plain && colon != std::string_view::npos) {
      const std::string prefix = lower(trim(target.substr(0, colon)));
      if (is_hidden(prefix)) return after;
      const bool language = prefix.size() >= 2 && prefix.size() <= 3 &&
                            std::all_of(prefix.begin(), prefix.end(), [](char c) { return c >= 'a' && c <= 'z'; });
      if (language && bar == std::string_view::npos) return after;
    }
    if (depth >= kMostDepth) return after;
    if (bar == std::string_view::npos) {
      const size_t start = static_cast<size_t>(target.data() - s_.data());
      read(start, start + target.size(), depth + 1);
    } else {
      read(from + bar + 1, to, depth + 1);
    }
    return after;
  }
  // "[http://x label]": the label; "[http://x]": nothing.
  size_t read_external(size_t at, size_t end) {
    std::string_view rest = s_.substr(at + 1, std::min<size_t>(end - at - 1, 4096));
    if (!rest.starts_with("http://") && !rest.starts_with("https://") && !rest.starts_with("//") &&
        !rest.starts_with("ftp://") && !rest.starts_with("mailto:"))
      return at;
    const size_t stop = rest.find_first_of(" \n]");
    if (stop == std::string_view::npos || rest[stop] == '\n') return at;
    if (rest[stop] == ']') return at + 1 + stop + 1;
    const size_t close = rest.find_first_of("\n]", stop);
    if (close == std::string_view::npos || rest[close] == '\n') return at;
    out_ += trim(rest.substr(stop, close - stop));
    return at + 1 + close + 1;
  }
  size_t skip_quotes(size_t at, size_t end) {
    const size_t stop = std::min(s_.find_first_not_of('\'', at), end), n = stop - at;
    if (n < 2) return at;
    if (n == 4) out_ += '\'';  // bold with an apostrophe before it
    return stop;
  }
  size_t read_entity(size_t at, size_t end) {
    const std::string_view rest = s_.substr(at + 1, std::min<size_t>(end - at - 1, 12));
    const size_t stop = rest.find(';');
    if (stop == std::string_view::npos || stop == 0) return at;
    std::string_view name = rest.substr(0, stop);
    if (name[0] == '#') {
      const bool hex = name.size() > 1 && (name[1] == 'x' || name[1] == 'X');
      name.remove_prefix(hex ? 2 : 1);
      uint32_t c = 0;
      auto [p, error] = std::from_chars(name.data(), name.data() + name.size(), c, hex ? 16 : 10);
      if (error != std::errc() || p != name.data() + name.size()) return at;
      if (c < 32 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return at;
      append_utf8(out_, c);
      return at + stop + 2;
    }
    for (const auto& [known, text] : kEntities)
      if (name == known) {
        out_ += text;
        return at + stop + 2;
      }
    return at;
  }
  size_t read_variant(size_t at, size_t end) {
    const std::string_view rest = s_.substr(at + 2, std::min(end - at - 2, kLongestVariant));
    const size_t stop = rest.find("}-");
    if (stop == std::string_view::npos) return at;
    out_ += shown_variant(rest.substr(0, stop));
    return at + 2 + stop + 2;
  }
  // __NOTOC__
  size_t skip_magic(size_t at, size_t end) {
    size_t i = at + 2;
    while (i < end && s_[i] >= 'A' && s_[i] <= 'Z') ++i;
    return i > at + 4 && s_.substr(i, 2) == "__" && i + 2 <= end ? i + 2 : at;
  }

  std::string_view s_;
  const WikiOptions& options_;
  std::vector<size_t> match_;
  std::string out_;
};

}  // namespace

std::string wiki_without_links(std::string_view source, const WikiOptions& options) {
  return LinkPass(source, options).run();
}

}  // namespace puyu
