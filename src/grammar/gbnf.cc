#include "grammar/gbnf.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"

namespace puyu::grammar {
namespace {

constexpr int kMaxGroups = 100;

class Parser {
 public:
  explicit Parser(std::string_view text) : s_(text) {
    i_ = first_invalid_utf8(s_);
    if (i_ < s_.size()) bad("UTF-8");
    i_ = 0;
  }

  Draft run() {
    rule_of("root");  // rule 0
    for (space(true); i_ < s_.size(); space(true)) definition();
    if (!defined_[0]) fail("[gbnf] expected a rule 'root ::= ...': a grammar begins there");
    for (const auto& [name, id] : names_)
      if (!defined_[static_cast<size_t>(id)]) fail("[gbnf] rule '", name, "' is used but not defined");
    return std::move(d_);
  }

 private:
  [[noreturn]] void bad(const std::string& expected) const {
    const std::string_view before = s_.substr(0, i_);
    const auto line = std::count(before.begin(), before.end(), '\n') + 1;
    const size_t start = before.rfind('\n') + 1;  // npos + 1 = 0
    char32_t c = 0;
    const size_t n = i_ < s_.size() ? decode_utf8(s_, i_, c) : 0;
    const std::string got = i_ >= s_.size() ? "the end" : n == 0 ? "other bytes" : cat("'", s_.substr(i_, n), "'");
    fail("[gbnf] line ", line, ", column ", i_ - start + 1, ": expected ", expected, ", got ", got);
  }
  char peek() const { return i_ < s_.size() ? s_[i_] : '\0'; }
  bool eat(char c) { return peek() == c && i_ < s_.size() ? (++i_, true) : false; }
  void space(bool newlines) {
    for (; i_ < s_.size(); ++i_) {
      const char c = s_[i_];
      if (c == '#')
        while (i_ + 1 < s_.size() && s_[i_ + 1] != '\n' && s_[i_ + 1] != '\r') ++i_;
      else if (c != ' ' && c != '\t' && !(newlines && (c == '\n' || c == '\r')))
        return;
    }
  }
  static bool in_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  }
  std::string name() {
    const size_t b = i_;
    while (i_ < s_.size() && in_name(s_[i_])) ++i_;
    if (i_ == b) bad("the name of a rule (letters, digits, '-')");
    return std::string(s_.substr(b, i_ - b));
  }
  int32_t rule_of(const std::string& n) {
    if (auto it = names_.find(n); it != names_.end()) return it->second;
    const int32_t id = d_.rule(n);
    defined_.resize(static_cast<size_t>(id) + 1);  // generated rules in between are nobody's name
    return names_[n] = id;
  }

  void definition() {
    const std::string n = name();
    space(false);
    if (!s_.substr(i_).starts_with("::=")) bad("'::='");
    i_ += 3;
    const int32_t id = rule_of(n);
    if (defined_[static_cast<size_t>(id)]) fail("[gbnf] rule '", n, "' is defined twice");
    defined_[static_cast<size_t>(id)] = true;
    d_.scope = n;
    space(true);
    for (Sequence& s : alternatives(0)) d_.alternative(id, std::move(s));
    if (i_ < s_.size() && peek() != '\n' && peek() != '\r') bad("the end of the rule, a newline");
  }

  std::vector<Sequence> alternatives(int depth) {
    std::vector<Sequence> out{sequence(depth)};
    while (eat('|')) {
      space(true);
      out.push_back(sequence(depth));
    }
    return out;
  }

  Sequence sequence(int depth) {
    Sequence out;
    for (;; space(depth > 0)) {
      Sequence item;
      const char c = peek();
      if (c == '"')
        item = d_.literal(literal());
      else if (c == '[')
        item = d_.chars(char_class());
      else if (c == '(')
        item = group(depth);
      else if (eat('.'))
        item = d_.chars(kAnyCode);
      else if (in_name(c))
        item = {{rule_of(name()), -1}};
      else
        return out;
      space(depth > 0);
      while (peek() == '*' || peek() == '+' || peek() == '?' || peek() == '{') {
        item = repetition(item);
        space(depth > 0);
      }
      out = std::move(out) + item;
      if (out.size() > kMaxSymbols) bad("a shorter rule");
    }
  }

  Sequence group(int depth) {
    if (depth >= kMaxGroups) bad(cat("at most ", kMaxGroups, " groups in each other"));
    ++i_;
    space(true);
    Sequence out = d_.any_of(alternatives(depth + 1));
    if (!eat(')')) bad("')'");
    return out;
  }

  Sequence repetition(const Sequence& item) {
    if (eat('*')) return d_.repeat(item, 0, kNoLimit);
    if (eat('+')) return d_.repeat(item, 1, kNoLimit);
    if (eat('?')) return d_.repeat(item, 0, 1);
    ++i_;
    space(true);
    const int64_t min = number();
    int64_t max = min;
    space(true);
    if (eat(',')) {
      space(true);
      max = peek() == '}' ? kNoLimit : number();
      space(true);
    }
    if (!eat('}')) bad("'}'");
    if (max != kNoLimit && max < min) bad("a repetition {m,n} with m <= n before");
    return d_.repeat(item, min, max);
  }
  int64_t number() {
    if (peek() < '0' || peek() > '9') bad("a number");
    int64_t n = 0;
    for (; peek() >= '0' && peek() <= '9'; ++i_)
      if ((n = n * 10 + (peek() - '0')) > static_cast<int64_t>(kMaxSymbols)) bad("a smaller number");
    return n;
  }

  char32_t character() {
    char32_t c = 0;
    if (eat('\\')) return escape();
    const size_t n = i_ < s_.size() ? decode_utf8(s_, i_, c) : 0;
    if (n == 0) bad("a character");
    i_ += n;
    return c;
  }
  char32_t escape() {
    const char c = peek();
    ++i_;
    switch (c) {
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'x':
        return hex(2);
      case 'u':
        return hex(4);
      case 'U':
        return hex(8);
      case '\\':
      case '"':
      case '[':
      case ']':
      case '-':
      case '^':
        return static_cast<char32_t>(c);
      default:
        --i_;
        bad("an escape: one of n r t x u U \\ \" [ ] - ^");
    }
  }
  char32_t hex(int digits) {
    char32_t v = 0;
    for (int k = 0; k < digits; ++k, ++i_) {
      const char c = peek();
      const int d = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
      if (d < 0) bad(cat(digits, " hex digits"));
      v = v << 4 | static_cast<char32_t>(d);
    }
    if (v > 0x10FFFF || (v >= 0xD800 && v < 0xE000)) bad("a Unicode character before");
    return v;
  }

  std::string literal() {
    std::string out;
    ++i_;
    while (!eat('"')) {
      if (i_ >= s_.size()) bad("the closing '\"'");
      append_utf8(out, character());
    }
    return out;
  }
  CodeSet char_class() {
    CodeSet set;
    ++i_;
    const bool negated = eat('^');
    while (!eat(']')) {
      if (i_ >= s_.size()) bad("the closing ']'");
      const char32_t low = character();
      char32_t high = low;
      if (peek() == '-' && i_ + 1 < s_.size() && s_[i_ + 1] != ']') {
        ++i_;
        high = character();
        if (high < low) bad("a range whose end does not come before its beginning");
      }
      set.add(low, high);
    }
    return negated ? set.complement() : set;
  }

  std::string_view s_;
  size_t i_ = 0;
  Draft d_;
  std::map<std::string, int32_t, std::less<>> names_;
  std::vector<bool> defined_;
};

}  // namespace

Grammar parse_gbnf(std::string_view text) { return Grammar(Parser(text).run()); }

}  // namespace puyu::grammar
