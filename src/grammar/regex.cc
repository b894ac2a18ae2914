#include "grammar/regex.h"

#include "base/error.h"
#include "base/utf8.h"

namespace puyu::grammar {
namespace {

constexpr int kMaxGroups = 100;
const CodeSet kDigits{{'0', '9'}};
const CodeSet kWord{{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const CodeSet kSpaces{{'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
                      {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
const CodeSet kLineEnds{{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

class Parser {
 public:
  Parser(Draft& d, std::string_view pattern, RegexMatch match, const EmitChars& chars)
      : d_(d), s_(pattern), match_(match), chars_(chars) {}

  Sequence run() {
    if (!valid_utf8(s_)) fail("[regex] expected UTF-8");
    std::vector<Sequence> alternatives;
    do alternatives.push_back(top());
    while (eat("|"));
    if (i_ < s_.size()) bad("a ')' without its '('");
    return d_.any_of(std::move(alternatives));
  }

 private:
  [[noreturn]] void bad(const std::string& what) const { fail("[regex] byte ", i_, " of '", s_, "': ", what); }
  bool at(std::string_view t) const { return s_.substr(i_).starts_with(t); }
  bool eat(std::string_view t) { return at(t) ? (i_ += t.size(), true) : false; }
  char peek() const { return i_ < s_.size() ? s_[i_] : '\0'; }

  // An alternative of the whole pattern: the only place for anchors.
  Sequence top() {
    const bool from_start = eat("^");
    Sequence out = sequence(0);
    const bool to_end = eat("$");
    if (i_ < s_.size() && !at("|") && !at(")")) bad("'$' is supported at the end of an alternative only");
    if (match_ == RegexMatch::kWhole || (from_start && to_end)) return out;
    const Sequence anything = d_.repeat(chars_(kAnyCode), 0, kNoLimit);
    if (!from_start) out = anything + out;
    return to_end ? out : std::move(out) + anything;
  }

  Sequence sequence(int depth) {
    Sequence out;
    while (i_ < s_.size() && !at("|") && !at(")") && !at("$")) {
      out = std::move(out) + quantified(atom(depth));
      if (out.size() > kMaxSymbols) bad("too long");
    }
    if (at("$") && depth > 0) bad("'$' inside a group is not supported");
    return out;
  }

  Sequence atom(int depth) {
    if (at("^")) bad("'^' is supported at the beginning of an alternative only");
    if (at("(")) return group(depth);
    if (at("[")) return chars_(char_class());
    if (eat(".")) return chars_(kLineEnds.complement());
    if (peek() == '*' || peek() == '+' || peek() == '?' || peek() == '{') bad("nothing to repeat; write \\ before it");
    if (at("]") || at("}")) bad("write \\ before it");
    CodeSet set;
    character(set, false);
    return chars_(set);
  }

  Sequence group(int depth) {
    if (depth >= kMaxGroups) bad(cat("at most ", kMaxGroups, " groups in each other"));
    const size_t begin = i_++;
    if (at("?=") || at("?!")) bad("look-ahead is not supported");
    if (at("?<=") || at("?<!")) bad("look-behind is not supported");
    if (eat("?<")) {
      while (i_ < s_.size() && s_[i_] != '>') ++i_;
      if (!eat(">")) bad("expected '>' after a group's name");
    } else if (at("?") && !eat("?:")) {
      bad("a group with flags is not supported");
    }
    std::vector<Sequence> alternatives;
    do alternatives.push_back(sequence(depth + 1));
    while (eat("|"));
    if (!eat(")")) i_ = begin, bad("a group without its ')'");
    return d_.any_of(std::move(alternatives));
  }

  Sequence quantified(const Sequence& item) {
    int64_t min = 0, max = kNoLimit;
    if (eat("*")) {
    } else if (eat("+")) {
      min = 1;
    } else if (eat("?")) {
      max = 1;
    } else if (eat("{")) {
      min = max = number();
      if (eat(",")) max = at("}") ? kNoLimit : number();
      if (!eat("}")) bad("expected '}'");
      if (max != kNoLimit && max < min) bad("expected {m,n} with m <= n");
    } else {
      return item;
    }
    eat("?");  // lazy: which text is found first is another question
    if (peek() == '*' || peek() == '+' || peek() == '?' || peek() == '{') bad("nothing to repeat; write \\ before it");
    return d_.repeat(item, min, max);
  }
  int64_t number() {
    if (peek() < '0' || peek() > '9') bad("expected a number");
    int64_t n = 0;
    for (; peek() >= '0' && peek() <= '9'; ++i_)
      if ((n = n * 10 + (peek() - '0')) > static_cast<int64_t>(kMaxSymbols)) bad("expected a smaller number");
    return n;
  }

  CodeSet char_class() {
    const size_t begin = i_++;
    const bool negated = eat("^");
    CodeSet set;
    while (!eat("]")) {
      if (i_ >= s_.size()) i_ = begin, bad("a class without its ']'");
      CodeSet one;
      const bool single = character(one, true);
      if (single && at("-") && i_ + 1 < s_.size() && s_[i_ + 1] != ']') {
        ++i_;
        CodeSet other;
        if (!character(other, true)) bad("a range needs a character at both ends");
        const char32_t low = one.ranges()[0].low, high = other.ranges()[0].low;
        if (high < low) bad("a range whose end comes before its beginning");
        one = CodeSet{{low, high}};
      }
      set.add(one);
    }
    return negated ? set.complement() : set;
  }

  // One character, or a class such as \d (then false).
  bool character(CodeSet& set, bool in_class) {
    char32_t c = 0;
    if (eat("\\")) {
      if (char_escape(set, in_class)) return false;
      c = plain_escape(in_class);
    } else {
      i_ += decode_utf8(s_, i_, c);
    }
    set.add(c, c);
    return true;
  }
  bool char_escape(CodeSet& set, bool in_class) {
    if (eat("d")) return set = kDigits, true;
    if (eat("D")) return set = kDigits.complement(), true;
    if (eat("w")) return set = kWord, true;
    if (eat("W")) return set = kWord.complement(), true;
    if (eat("s")) return set = kSpaces, true;
    if (eat("S")) return set = kSpaces.complement(), true;
    if (!in_class && (at("b") || at("B"))) bad("word boundaries \\b and \\B are not supported");
    if (at("p") || at("P")) bad("Unicode properties \\p{...} are not supported");
    if (at("k") || (peek() >= '1' && peek() <= '9')) bad("back references are not supported");
    return false;
  }
  char32_t plain_escape(bool in_class) {
    if (i_ >= s_.size()) bad("a \\ at the end");
    const char c = s_[i_++];
    switch (c) {
      case 't':
        return '\t';
      case 'n':
        return '\n';
      case 'v':
        return '\v';
      case 'f':
        return '\f';
      case 'r':
        return '\r';
      case '0':
        if (peek() >= '0' && peek() <= '9') bad("octal escapes are not supported");
        return 0;
      case 'x':
        return hex(2);
      case 'u':
        return unicode();
      case 'c':
        if (!((peek() >= 'a' && peek() <= 'z') || (peek() >= 'A' && peek() <= 'Z'))) bad("expected a letter after \\c");
        return static_cast<char32_t>(s_[i_++] & 31);
      case 'b':
        if (in_class) return '\b';
        [[fallthrough]];
      default:
        if (std::string_view("^$\\.*+?()[]{}|/-\"'#&,:;<=>@`~!% _").find(c) != std::string_view::npos)
          return static_cast<char32_t>(c);
        --i_;
        bad("an escape that is not known");
    }
  }
  char32_t unicode() {
    char32_t c = 0;
    if (!eat("{")) {
      c = hex(4);
    } else {
      while (!eat("}")) {
        c = c << 4 | hex(1);
        if (c > 0x10FFFF) bad("expected a character up to \\u{10FFFF}");
      }
    }
    if (c >= 0xD800 && c < 0xE000) bad("surrogates are not supported; write the character itself or \\u{...}");
    return c;
  }
  char32_t hex(int digits) {
    char32_t v = 0;
    for (; digits > 0; --digits, ++i_) {
      const char c = peek();
      const bool digit = c >= '0' && c <= '9', upper = c >= 'A' && c <= 'F';
      if (!digit && !upper && !(c >= 'a' && c <= 'f')) bad("expected hex digits");
      v = v << 4 | static_cast<char32_t>(digit ? c - '0' : upper ? c - 'A' + 10 : c - 'a' + 10);
    }
    return v;
  }

  Draft& d_;
  std::string_view s_;
  RegexMatch match_;
  const EmitChars& chars_;
  size_t i_ = 0;
};

}  // namespace

Sequence regex(Draft& d, std::string_view pattern, RegexMatch match, const EmitChars& chars) {
  return Parser(d, pattern, match, chars).run();
}

Grammar regex_grammar(std::string_view pattern) {
  Draft d;
  const int32_t root = d.rule("regex");
  d.scope = "regex";
  d.alternative(root, regex(d, pattern, RegexMatch::kWhole, [&](const CodeSet& set) { return d.chars(set); }));
  return Grammar(d);
}

Grammar choice_grammar(const std::vector<std::string>& texts) {
  Draft d;
  const int32_t root = d.rule("choice");
  d.scope = "choice";
  for (const std::string& t : texts)
    if (!valid_utf8(t)) fail("[choice] expected texts in UTF-8");
  d.alternative(root, d.one_of_texts(texts));
  return Grammar(d);
}

}  // namespace puyu::grammar
