// A checked grammar over bytes, ready to run (automaton.h). Immutable, shared by all answers that it guides.
//
// Checked here, each an Error that names the rule: a rule that derives no finite text, and left recursion (a rule that
// can begin with itself and go on). What is left can always be completed: depth() bounds how many rules may be open at
// once, and a rule is entered only where the shallowest way to its end still fits, so a text that was let through up to
// here always has an end. A text that would need more open rules than that is not accepted. A rule in last place
// replaces the one it stands in, so lists of any length need no depth.
#pragma once
#include "grammar/draft.h"

namespace puyu::grammar {

inline constexpr int32_t kMaxDepth = 128;  // of base/json.h too: each level of JSON opens at least one rule

class Grammar {
 public:
  explicit Grammar(const Draft& draft, int32_t max_depth = kMaxDepth);

  // The code at a position: a rule (>= 0), kEnd of an alternative, or -2 - set.
  static constexpr int32_t kEnd = -1;
  int32_t code(int32_t position) const { return code_[static_cast<size_t>(position)]; }
  const ByteSet& set(int32_t code) const { return sets_[static_cast<size_t>(-2 - code)]; }

  struct Alternative {
    int32_t start;  // position of its first symbol
    int32_t need;   // rules that must be opened inside it on the shallowest way to its end
  };
  struct Rule {
    std::string name;
    std::vector<Alternative> alternatives;
    bool nullable = false;
    int32_t need = -1;
    int32_t group = -1;  // rules that begin with each other, in last place, share a group; callers have higher numbers
  };
  const Rule& rule(int32_t i) const { return rules_[static_cast<size_t>(i)]; }
  const std::vector<int32_t>& group(int32_t i) const { return groups_[static_cast<size_t>(i)]; }
  int32_t depth() const { return max_depth_; }

 private:
  void lay_out(const Draft& draft);
  void find_nullable();
  void find_needs();
  void find_groups();
  template <class F>
  void each_first(int32_t rule, F&& f) const;
  struct Uses;
  Uses uses() const;

  int32_t max_depth_;
  std::vector<int32_t> code_;
  std::vector<ByteSet> sets_;
  std::vector<Rule> rules_;
  std::vector<std::vector<int32_t>> groups_;
};

}  // namespace puyu::grammar
