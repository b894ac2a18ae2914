#include "grammar/grammar.h"

#include <algorithm>
#include <queue>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace puyu::grammar {

Grammar::Grammar(const Draft& draft, int32_t max_depth) : max_depth_(max_depth), sets_(draft.sets()) {
  lay_out(draft);
  find_nullable();
  find_needs();
  find_groups();
}

void Grammar::lay_out(const Draft& draft) {
  CHECK(!draft.rules().empty());
  for (const Draft::Rule& from : draft.rules()) {
    Rule r;
    r.name = from.name;
    for (const Sequence& s : from.alternatives) {
      r.alternatives.push_back({static_cast<int32_t>(code_.size()), 0});
      for (const Symbol& symbol : s) code_.push_back(symbol.rule >= 0 ? symbol.rule : -2 - symbol.set);
      code_.push_back(kEnd);
    }
    rules_.push_back(std::move(r));
  }
}

// For each rule the alternatives that use it (once a use), and for each alternative how many rules it uses.
struct Grammar::Uses {
  struct At {
    int32_t rule;
    uint32_t alternative;
    bool last;
  };
  std::vector<std::vector<At>> of;
  std::vector<std::vector<int32_t>> left;
};

Grammar::Uses Grammar::uses() const {
  Uses u;
  u.of.resize(rules_.size());
  u.left.resize(rules_.size());
  for (size_t r = 0; r < rules_.size(); ++r)
    for (uint32_t a = 0; a < rules_[r].alternatives.size(); ++a) {
      int32_t count = 0;
      for (int32_t p = rules_[r].alternatives[a].start; code(p) != kEnd; ++p)
        if (code(p) >= 0) {
          u.of[static_cast<size_t>(code(p))].push_back({static_cast<int32_t>(r), a, code(p + 1) == kEnd});
          ++count;
        }
      u.left[r].push_back(count);
    }
  return u;
}

void Grammar::find_nullable() {
  Uses u = uses();
  std::vector<size_t> todo;
  auto found = [&](size_t r) {
    if (!std::exchange(rules_[r].nullable, true)) todo.push_back(r);
  };
  auto has_bytes = [&](const Alternative& a) {
    int32_t p = a.start;
    while (code(p) >= 0) ++p;
    return code(p) != kEnd;
  };
  for (size_t r = 0; r < rules_.size(); ++r)
    for (size_t a = 0; a < rules_[r].alternatives.size(); ++a) {
      if (has_bytes(rules_[r].alternatives[a]))
        u.left[r][a] = -1;  // never
      else if (u.left[r][a] == 0)
        found(r);
    }
  while (!todo.empty()) {
    const size_t r = todo.back();
    todo.pop_back();
    for (const Uses::At& at : u.of[r]) {
      int32_t& left = u.left[static_cast<size_t>(at.rule)][at.alternative];
      if (left > 0 && --left == 0) found(static_cast<size_t>(at.rule));
    }
  }
}

// The shallowest derivation of each rule (Knuth's generalisation of Dijkstra's algorithm): rules are settled in the
// order of their needs, and an alternative is known once all its rules are.
void Grammar::find_needs() {
  Uses u = uses();
  using Entry = std::pair<int32_t, int32_t>;  // need, rule
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue;
  for (size_t r = 0; r < rules_.size(); ++r)
    for (int32_t left : u.left[r])
      if (left == 0) queue.emplace(0, static_cast<int32_t>(r));
  while (!queue.empty()) {
    const auto [need, r] = queue.top();
    queue.pop();
    if (rules_[static_cast<size_t>(r)].need >= 0) continue;
    rules_[static_cast<size_t>(r)].need = need;
    for (const Uses::At& at : u.of[static_cast<size_t>(r)]) {
      Alternative& a = rules_[static_cast<size_t>(at.rule)].alternatives[at.alternative];
      a.need = std::max(a.need, need + (at.last ? 0 : 1));
      if (--u.left[static_cast<size_t>(at.rule)][at.alternative] == 0) queue.emplace(a.need, at.rule);
    }
  }
  for (const Rule& r : rules_) {
    if (r.need < 0) fail("[grammar] rule '", r.name, "' has no end: every way through it comes to a rule without one");
    if (r.need > max_depth_)
      fail("[grammar] rule '", r.name, "' is nested deeper than ", max_depth_, " rules; nest less");
  }
}

// What a rule may begin with: f(rule, in last place).
template <class F>
void Grammar::each_first(int32_t r, F&& f) const {
  for (const Alternative& a : rule(r).alternatives)
    for (int32_t p = a.start; code(p) >= 0; ++p) {
      f(code(p), code(p + 1) == kEnd);
      if (!rule(code(p)).nullable) break;
    }
}

// Tarjan's strongly connected components, without recursion: grammars have chains of thousands of rules.
void Grammar::find_groups() {
  const size_t n = rules_.size();
  std::vector<std::vector<std::pair<int32_t, bool>>> first(n);
  for (size_t r = 0; r < n; ++r)
    each_first(static_cast<int32_t>(r), [&](int32_t to, bool last) { first[r].emplace_back(to, last); });
  std::vector<int32_t> order(n, -1), low(n, 0), open;
  std::vector<std::pair<int32_t, size_t>> stack;  // rule, next of its edges
  int32_t count = 0;
  auto enter = [&](int32_t r) {
    order[static_cast<size_t>(r)] = low[static_cast<size_t>(r)] = count++;
    open.push_back(r);
    stack.emplace_back(r, 0);
  };
  for (size_t root = 0; root < n; ++root) {
    if (order[root] < 0) enter(static_cast<int32_t>(root));
    while (!stack.empty()) {
      const auto at = static_cast<size_t>(stack.back().first);
      if (stack.back().second < first[at].size()) {
        const auto to = static_cast<size_t>(first[at][stack.back().second++].first);
        if (order[to] < 0)
          enter(static_cast<int32_t>(to));
        else if (rules_[to].group < 0)
          low[at] = std::min(low[at], order[to]);
        continue;
      }
      stack.pop_back();
      if (!stack.empty()) {
        const auto up = static_cast<size_t>(stack.back().first);
        low[up] = std::min(low[up], low[at]);
      }
      if (low[at] != order[at]) continue;
      const auto group = static_cast<int32_t>(groups_.size());
      groups_.emplace_back();
      for (int32_t r = -1; r != static_cast<int32_t>(at);) {
        r = open.back();
        open.pop_back();
        rules_[static_cast<size_t>(r)].group = group;
        groups_.back().push_back(r);
      }
    }
  }
  for (size_t r = 0; r < n; ++r)
    for (auto [to, last] : first[r])
      if (!last && rule(to).group == rules_[r].group)
        fail("[grammar] rule '", rules_[r].name,
             "' is left-recursive: it can begin with itself. Write 'list ::= item list?' or 'item+' instead of 'list "
             "::= list item'");
}

}  // namespace puyu::grammar
