// Runs a grammar over bytes. A state is the set of everything that may be going on: positions before a byte, each with
// what is open around it. Open rules form a graph: a node is the set of places to go on after one rule, so callers that
// meet in a rule share it, and ambiguous grammars stay small (a GLR parser's graph-structured stack). Nodes and states
// are interned, so equal situations are the same number and each step is computed once: in a loop such as a string's
// characters the automaton is as fast as a table.
//
// Bounds, for hostile grammars: a step keeps kMaxItems readings (the text stays within the grammar; some of its texts
// become unreachable), and a full() automaton is to be left for a fresh one with import(). Not thread-safe.
#pragma once
#include <array>
#include <map>
#include <memory>
#include <string_view>
#include <unordered_map>

#include "grammar/grammar.h"

namespace puyu::grammar {

inline constexpr int32_t kDead = -1;  // the state after a byte that the grammar does not allow

class Automaton {
 public:
  explicit Automaton(std::shared_ptr<const Grammar> grammar);

  int32_t start() const { return start_; }
  int32_t step(int32_t state, uint8_t byte);  // kDead stays dead
  int32_t step(int32_t state, std::string_view bytes);
  bool accepting(int32_t state) const { return state >= 0 && states_[static_cast<size_t>(state)].accepting; }
  bool open(int32_t state) const { return state >= 0 && !states_[static_cast<size_t>(state)].heads.empty(); }

  bool full() const { return bytes_ > kSoftBytes; }
  int32_t import(const Automaton& other, int32_t state);  // a state of another automaton of the same grammar
  uint64_t work() const { return work_; }                 // grows with every item that is looked at
  const std::shared_ptr<const Grammar>& grammar() const { return grammar_; }

  static constexpr size_t kMaxItems = 2048;
  static constexpr size_t kSoftBytes = 64 << 20, kHardBytes = 128 << 20;  // beyond the latter every new step is dead

 private:
  struct Item {
    int32_t position, node;
    auto operator<=>(const Item&) const = default;
  };
  struct Node {
    std::vector<Item> frames;  // where to go on; kAccept is the end of the text
    int32_t depth;
  };
  struct State {
    std::vector<Item> heads;  // positions before a byte set
    bool accepting = false;
    std::unique_ptr<std::array<int32_t, 256>> next;
  };
  static constexpr int32_t kAccept = -1, kUnknown = -2;

  void add(const Item& item);
  void call(const Item& item);
  void enter_calls();
  bool finish_kernel();
  int32_t node_of(std::vector<Item>& frames);
  int32_t state_of(std::vector<Item>& heads, bool accepting);
  int32_t import_node(const Automaton& other, int32_t node, std::map<int32_t, int32_t>& known);

  std::shared_ptr<const Grammar> grammar_;
  std::vector<Node> nodes_;
  std::vector<State> states_;
  std::unordered_multimap<uint64_t, int32_t> node_ids_, state_ids_;
  int32_t start_ = 0;
  size_t bytes_ = 0;
  uint64_t work_ = 0;
  // Of the step in work:
  std::vector<Item> kernel_, heads_;
  std::map<int32_t, std::vector<Item>> calls_;  // group -> frames
};

bool matches(const std::shared_ptr<const Grammar>& grammar, std::string_view text);

}  // namespace puyu::grammar
