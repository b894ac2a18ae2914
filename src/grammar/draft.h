// A grammar while it is written down: rules of alternatives, each a sequence of byte sets and rules. The front ends
// (gbnf.h, regex.h, schema.h) write drafts; Grammar (grammar.h) checks one and makes it ready to run. Rule 0 is the
// root. Everything is bounded: what grows beyond kMaxSymbols is an Error, so a short hostile text cannot become a huge
// grammar.
#pragma once
#include <bitset>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/code_set.h"

namespace puyu::grammar {

using ByteSet = std::bitset<256>;
struct Symbol {
  int32_t rule = -1;  // a rule, or
  int32_t set = -1;   // any byte of a set
};
using Sequence = std::vector<Symbol>;

inline constexpr size_t kMaxSymbols = 300'000;
inline constexpr int64_t kNoLimit = -1;

class Draft {
 public:
  struct Rule {
    std::string name;
    std::vector<Sequence> alternatives;
  };
  int32_t rule(const std::string& name);
  void alternative(int32_t rule, Sequence s);

  Sequence bytes(const ByteSet& set);
  Sequence literal(std::string_view text);
  Sequence chars(const CodeSet& set);  // one character of it; an empty set is an Error
  Sequence any_of(std::vector<Sequence> alternatives);
  Sequence repeat(const Sequence& item, int64_t min, int64_t max);  // max: kNoLimit for any number
  Sequence optional(const Sequence& item) { return repeat(item, 0, 1); }
  Sequence one_of_texts(std::vector<std::string> texts);  // shared beginnings are written once

  const std::vector<Rule>& rules() const { return rules_; }
  const std::vector<ByteSet>& sets() const { return sets_; }
  std::string scope = "root";  // what rules without a name of their own are called in errors

 private:
  void grow(size_t symbols);
  Sequence texts_from(const std::vector<std::string>& sorted, size_t begin, size_t end, size_t offset);
  std::vector<Rule> rules_;
  std::vector<ByteSet> sets_;
  std::map<std::string, int32_t> set_ids_;
  std::map<std::vector<CodeRange>, Sequence> classes_;
  size_t symbols_ = 0;
};

Sequence operator+(Sequence a, const Sequence& b);

}  // namespace puyu::grammar
