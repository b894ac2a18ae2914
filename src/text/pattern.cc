#include "text/pattern.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"
#include "text/unicode.h"

namespace puyu {
namespace {

constexpr int kMaxDepth = 32;           // of groups in a pattern
constexpr size_t kMaxCode = 1 << 16;    // instructions
constexpr int32_t kMaxRepeat = 100000;  // the largest number in {m,n}

size_t next_char(std::string_view s, size_t at, char32_t& c) {
  const auto b = static_cast<unsigned char>(s[at]);
  if (b < 0x80) return c = b, 1;
  const size_t n = decode_utf8(s, at, c);
  return n ? n : (c = 0xFFFD, 1);
}
size_t previous_char(std::string_view s, size_t at) {  // where the character that ends at `at` begins
  char32_t c = 0;
  for (size_t n = 2; n <= std::min<size_t>(4, at); ++n)
    if ((s[at - 1] & 0xC0) == 0x80 && decode_utf8(s, at - n, c) == n) return at - n;
  return at - 1;
}

}  // namespace

bool CharSet::look(char32_t c) const {
  auto among = [&](char32_t x) {
    return std::ranges::any_of(items, [&](const Item& i) {
      const bool in = i.categories ? (unicode_category(x) & i.categories) != 0
                      : i.space    ? is_white_space(x)
                                   : x >= i.first && x <= i.last;
      return in != i.negated;
    });
  };
  const bool in = among(c) || (fold && (among(fold_case(c)) || among(upper_case(c))));
  return in != negated;
}

void CharSet::prepare() {
  for (char32_t c = 0; c < 128; ++c) ascii[c] = look(c);
}

// Reads the pattern from left to right and writes instructions.
struct PatternCompiler {
  SplitPattern& out;
  std::string_view rest;
  bool fold = false;
  int depth = 0;

  [[noreturn]] void refuse(const std::string& what) const {
    fail("pattern '", out.source_, "': ", what, " at '", rest.substr(0, 20), "'");
  }
  bool take(std::string_view text) {
    if (!rest.starts_with(text)) return false;
    rest.remove_prefix(text.size());
    return true;
  }
  size_t emit(SplitPattern::Inst i) {
    if (out.code_.size() >= kMaxCode) refuse("is too long");
    out.code_.push_back(i);
    return out.code_.size() - 1;
  }
  int32_t here() const { return static_cast<int32_t>(out.code_.size()); }

  // a | b | c: a split before each way, a jump to the end after it.
  void alternatives() {
    if (++depth > kMaxDepth) refuse("groups nest too deeply");
    const bool outer_fold = fold;
    std::vector<size_t> ends;
    for (;;) {
      const size_t begin = out.code_.size();
      sequence();
      if (!rest.starts_with('|')) break;
      rest.remove_prefix(1);
      insert_split(begin);
      ends.push_back(emit({SplitPattern::Op::kJump}));
      out.code_[begin].to = here();
    }
    for (size_t e : ends) out.code_[e].to = here();
    fold = outer_fold;
    --depth;
  }
  // Room for a split before what was just written; the places it names move with it.
  void insert_split(size_t begin) {
    emit({SplitPattern::Op::kMatch});
    for (size_t i = out.code_.size() - 1; i > begin; --i) out.code_[i] = out.code_[i - 1];
    for (size_t i = begin + 1; i < out.code_.size(); ++i)
      if (out.code_[i].to > 0) ++out.code_[i].to;
    out.code_[begin] = {SplitPattern::Op::kSplit};
  }

  void sequence() {
    while (!rest.empty() && rest[0] != '|' && rest[0] != ')') {
      if (take("^") || take("\\A")) {
        emit({SplitPattern::Op::kStart});
      } else if (take("$") || take("\\z")) {  // Oniguruma's \Z and a $ before a last newline do not occur here
        const bool possessive_before = rest.empty() || rest[0] == '|' || rest[0] == ')';
        if (!possessive_before) refuse("'$' is supported at the end of a way only");
        emit({SplitPattern::Op::kEnd});
      } else if (take("(")) {
        group();
      } else {
        const int32_t set = atom();
        repeat(set);
      }
    }
  }

  void group() {
    const bool outer_fold = fold;
    bool look = false, negative = false;
    if (take("?i:"))
      fold = true;
    else if (take("?="))
      look = true;
    else if (take("?!"))
      look = negative = true;
    else if (!take("?:") && rest.starts_with('?'))
      refuse("expected (?:, (?i:, (?= or (?!");
    const size_t begin = out.code_.size();
    if (look) emit({.op = SplitPattern::Op::kLook, .negative = negative});
    alternatives();
    if (!take(")")) refuse("expected ')'");
    fold = outer_fold;
    if (look) {
      emit({SplitPattern::Op::kMatch});
      out.code_[begin].to = here();
    } else if (take("?")) {
      insert_split(begin);
      out.code_[begin].to = here();
    }
    if (rest.starts_with('*') || rest.starts_with('+') || rest.starts_with('{') || rest.starts_with('?'))
      refuse("this repeat of a group is not supported");
  }

  void repeat(int32_t set) {
    int32_t min = 1, max = 1;
    if (take("*"))
      min = 0, max = -1;
    else if (take("+"))
      max = -1;
    else if (take("?"))
      min = 0;
    else if (rest.starts_with('{'))
      bounds(min, max);
    else
      return static_cast<void>(emit({.op = SplitPattern::Op::kSet, .set = set}));
    const auto mode = take("+")   ? SplitPattern::Mode::kPossessive
                      : take("?") ? SplitPattern::Mode::kLazy
                                  : SplitPattern::Mode::kGreedy;
    emit({.op = SplitPattern::Op::kRepeat, .mode = mode, .set = set, .min = min, .max = max});
  }
  void bounds(int32_t& min, int32_t& max) {
    rest.remove_prefix(1);
    min = number();
    max = take(",") ? (rest.starts_with('}') ? -1 : number()) : min;
    if (!take("}") || (max >= 0 && max < min)) refuse("expected {m}, {m,} or {m,n}");
  }
  int32_t number() {
    if (rest.empty() || rest[0] < '0' || rest[0] > '9') refuse("expected a number");
    int32_t n = 0;
    for (; !rest.empty() && rest[0] >= '0' && rest[0] <= '9'; rest.remove_prefix(1))
      if ((n = n * 10 + (rest[0] - '0')) > kMaxRepeat) refuse("a repeat is too large");
    return n;
  }

  int32_t add(CharSet set) {
    set.fold = fold;
    set.prepare();
    out.sets_.push_back(std::move(set));
    return static_cast<int32_t>(out.sets_.size()) - 1;
  }
  // One character, class or escape.
  int32_t atom() {
    CharSet set;
    if (take("[")) {
      set.negated = take("^");
      for (bool first = true; first || !rest.starts_with(']'); first = false) class_item(set);
      take("]");
    } else if (take(".")) {
      set.items.push_back({'\n', '\n'});
      set.negated = true;
    } else if (rest[0] == '*' || rest[0] == '+' || rest[0] == '?' || rest[0] == '{') {
      refuse("nothing to repeat");
    } else {
      set.items.push_back(item());
    }
    return add(std::move(set));
  }
  void class_item(CharSet& set) {
    if (rest.empty()) refuse("expected ']'");
    if (rest.starts_with("[") || rest.starts_with("&&")) refuse("nested classes are not supported");
    CharSet::Item a = item();
    const bool single = !a.categories && !a.space && !a.negated && a.first == a.last;
    if (single && rest.size() > 1 && rest[0] == '-' && rest[1] != ']') {
      rest.remove_prefix(1);
      const CharSet::Item b = item();
      if (b.categories || b.space || b.negated || b.first != b.last || b.first < a.first) refuse("a range is wrong");
      a.last = b.last;
    }
    set.items.push_back(a);
  }
  CharSet::Item item() {
    char32_t c = 0;
    if (!take("\\")) {
      rest.remove_prefix(next_char(rest, 0, c));
      return {c, c};
    }
    if (rest.empty()) refuse("ends in a backslash");
    const char e = rest[0];
    rest.remove_prefix(next_char(rest, 0, c));
    switch (e) {
      case 's':
      case 'S':
        return {.space = true, .negated = e == 'S'};
      case 'd':
      case 'D':
        return {.categories = category_bits("Nd"), .negated = e == 'D'};
      case 'p':
      case 'P':
        return property(e == 'P');
      case 'r':
        return {'\r', '\r'};
      case 'n':
        return {'\n', '\n'};
      case 't':
        return {'\t', '\t'};
      case 'f':
        return {'\f', '\f'};
      case 'v':
        return {'\v', '\v'};
      case 'u':
        return hex(4);
      case 'x':
        return hex(2);
      default:
        if ((e >= '0' && e <= '9') || ((e | 32) >= 'a' && (e | 32) <= 'z'))
          refuse(cat("the escape \\", std::string_view(&e, 1), " is not supported"));
        return {c, c};
    }
  }
  CharSet::Item property(bool negated) {
    if (!take("{")) refuse("expected \\p{NAME}");
    if (take("^")) negated = !negated;
    const size_t end = rest.find('}');
    if (end == rest.npos) refuse("expected '}'");
    const uint32_t bits = category_bits(rest.substr(0, end));
    if (!bits) refuse("expected a general category of Unicode such as L or Nd");
    rest.remove_prefix(end + 1);
    return {.categories = bits, .negated = negated};
  }
  CharSet::Item hex(size_t digits) {
    const bool braces = take("{");
    char32_t c = 0;
    size_t n = 0;
    for (; n < (braces ? 6 : digits) && !rest.empty(); ++n, rest.remove_prefix(1)) {
      const char d = rest[0], low = static_cast<char>(d | 32);
      if (d >= '0' && d <= '9')
        c = c * 16 + static_cast<char32_t>(d - '0');
      else if (low >= 'a' && low <= 'f')
        c = c * 16 + static_cast<char32_t>(low - 'a' + 10);
      else
        break;
    }
    if (n == 0 || (!braces && n != digits) || (braces && !take("}")) || c > 0x10FFFF)
      refuse("expected a code point in hexadecimal digits");
    return {c, c};
  }
};

SplitPattern::SplitPattern(std::string_view regex) : source_(regex) {
  PatternCompiler c{*this, source_};
  c.alternatives();
  if (!c.rest.empty()) c.refuse("unexpected ')'");
  code_.push_back({Op::kMatch});
}

SplitPattern SplitPattern::literal(std::string_view text) {
  SplitPattern p;
  p.source_ = text;
  char32_t c = 0;
  for (size_t i = 0; i < text.size();) {
    i += next_char(text, i, c);
    CharSet set;
    set.items.push_back({c, c});
    set.prepare();
    p.sets_.push_back(std::move(set));
    p.code_.push_back({.op = Op::kSet, .set = static_cast<int32_t>(p.sets_.size()) - 1});
  }
  p.code_.push_back({Op::kMatch});
  return p;
}

namespace {

// A way not tried yet: go on at pc from `at`, or from one character less (greedy) or more (lazy) while that is allowed.
struct Way {
  size_t pc, at, limit;
  int32_t set;   // >= 0: lazy, of these characters
  int32_t left;  // lazy: how many more; < 0: any number
};

// Ways of all matches of this thread, those of a lookahead above those of what asks: a match allocates nothing.
std::vector<Way>& ways_of_this_thread() {
  static thread_local std::vector<Way> ways;
  return ways;
}

}  // namespace

class SplitPattern::Matcher {
 public:
  Matcher(const SplitPattern& pattern, std::string_view text, int64_t& budget)
      : p_(pattern), text_(text), budget_(budget), ways_(ways_of_this_thread()), bottom_(ways_.size()) {}
  Matcher(const Matcher&) = delete;
  Matcher& operator=(const Matcher&) = delete;
  ~Matcher() { ways_.resize(bottom_); }

  size_t run(size_t pc, size_t at) {
    pc_ = pc, at_ = at;
    for (;;) {
      spend(1);
      const Inst& i = p_.code_[pc_];
      if (i.op == Op::kMatch) return at_;
      if (!step(i) && !take_another()) return std::string_view::npos;
    }
  }

 private:
  void spend(int64_t n) {
    if ((budget_ -= n) < 0)
      fail("[tokenizer] pattern '", p_.source_, "' backtracks without end on a text of ", text_.size(), " bytes");
  }
  // The length of the character at `at` if it is there and in the set, else 0.
  size_t one_of(const CharSet& set, size_t at) const {
    char32_t c = 0;
    const size_t n = at < text_.size() ? next_char(text_, at, c) : 0;
    return n > 0 && set.contains(c) ? n : 0;
  }
  const CharSet& set(int32_t number) const { return p_.sets_[static_cast<size_t>(number)]; }

  // False: this way leads nowhere.
  bool step(const Inst& i) {
    switch (i.op) {
      case Op::kJump:
        pc_ = static_cast<size_t>(i.to);
        return true;
      case Op::kSplit:
        ways_.push_back({static_cast<size_t>(i.to), at_, at_, -1, 0});
        ++pc_;
        return true;
      case Op::kStart:
        ++pc_;
        return at_ == 0;
      case Op::kEnd:
        ++pc_;
        return at_ == text_.size();
      case Op::kLook:
        return look(i);
      case Op::kSet: {
        const size_t n = one_of(set(i.set), at_);
        at_ += n, ++pc_;
        return n > 0;
      }
      case Op::kRepeat:
        return repeat(i);
      case Op::kMatch:  // the end, in run()
        break;
    }
    return true;
  }

  bool look(const Inst& i) {
    const bool found = Matcher(p_, text_, budget_).run(pc_ + 1, at_) != std::string_view::npos;
    pc_ = static_cast<size_t>(i.to);
    return found != i.negative;
  }

  // As many characters as there are (lazy: as few as there must be).
  bool repeat(const Inst& i) {
    const CharSet& of = set(i.set);
    const int32_t most = i.mode == Mode::kLazy ? i.min : i.max;
    size_t at = at_, low = at_;  // low: after the least number
    int32_t count = 0;
    for (size_t n = 0; (most < 0 || count < most) && (n = one_of(of, at)) > 0; ++count) {
      at += n;
      if (count + 1 == i.min) low = at;
    }
    spend(count);
    at_ = at, ++pc_;
    if (count < i.min) return false;
    if (i.mode == Mode::kGreedy && at > low) ways_.push_back({pc_, at, low, -1, 0});
    if (i.mode == Mode::kLazy && i.max != i.min) ways_.push_back({pc_, at, at, i.set, i.max < 0 ? -1 : i.max - i.min});
    return true;
  }

  // Goes on at the last way that was not tried; false: there is none.
  bool take_another() {
    for (; ways_.size() > bottom_; ways_.pop_back()) {
      Way& w = ways_.back();
      spend(1);
      pc_ = w.pc;
      if (w.set >= 0) {  // lazy: one character more
        const size_t n = w.left == 0 ? 0 : one_of(set(w.set), w.at);
        if (n == 0) continue;
        at_ = w.at += n;
        if (w.left > 0) --w.left;
        return true;
      }
      if (w.at > w.limit) w.at = previous_char(text_, w.at);  // greedy: one less
      at_ = w.at;
      if (w.at == w.limit) ways_.pop_back();
      return true;
    }
    return false;
  }

  const SplitPattern& p_;
  std::string_view text_;
  int64_t& budget_;
  std::vector<Way>& ways_;
  const size_t bottom_;
  size_t pc_ = 0, at_ = 0;
};

size_t SplitPattern::match(std::string_view text, size_t at) const {
  // Real patterns look at each character of a match a few times.
  int64_t budget = 100000 + 64 * static_cast<int64_t>(text.size() - at);
  return Matcher(*this, text, budget).run(0, at);
}

}  // namespace puyu
