// The regular expressions that cut text into words in tokenizer.json and tiktoken's encodings: the dialect of Oniguruma
// and Rust that they use (classes, \p{L}, lookahead, possessive and lazy repeats, (?i:...)) over UTF-8. A byte that is
// no valid character counts as U+FFFD. A matcher that backtracks on a stack of its own: no recursion on the text, and
// a repeat of a class is one entry of the stack however long it is. What the dialect has and this has not (repeats of
// groups other than ?, lookbehind, back-references) is an Error that names it.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace puyu {

// A set of characters: any of the items, or none of them when negated.
struct CharSet {
  struct Item {
    char32_t first = 0, last = 0;
    uint32_t categories = 0;  // of Unicode, as bits (unicode.h); used when not 0
    bool space = false;       // White_Space
    bool negated = false;
  };
  std::vector<Item> items;
  bool negated = false, fold = false;
  std::array<bool, 128> ascii{};  // filled by prepare()
  void prepare();
  bool contains(char32_t c) const { return c < 128 ? ascii[c] : look(c); }

 private:
  bool look(char32_t c) const;
};

class SplitPattern {
 public:
  explicit SplitPattern(std::string_view regex);  // Error that shows the place
  static SplitPattern literal(std::string_view text);
  // The end of the match that begins at `at`, or npos. Error when a pattern backtracks without end.
  size_t match(std::string_view text, size_t at) const;
  const std::string& source() const { return source_; }

 private:
  friend struct PatternCompiler;
  SplitPattern() = default;
  enum class Op : uint8_t { kSet, kRepeat, kSplit, kJump, kLook, kStart, kEnd, kMatch };
  enum class Mode : uint8_t { kGreedy, kLazy, kPossessive };
  struct Inst {
    Op op;
    Mode mode = Mode::kGreedy;
    bool negative = false;     // kLook
    int32_t set = 0;           // kSet, kRepeat
    int32_t min = 0, max = 0;  // kRepeat; max < 0: no limit
    int32_t to = 0;            // kSplit: the second way; kJump; kLook: what follows it
  };
  class Matcher;

  std::string source_;
  std::vector<Inst> code_;
  std::vector<CharSet> sets_;
};

}  // namespace puyu
