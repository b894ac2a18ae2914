#include "grammar/automaton.h"

#include <algorithm>

#include "base/hash.h"

namespace puyu::grammar {
namespace {

template <class T>
uint64_t hash_of(const std::vector<T>& v, uint64_t seed) {
  return hash64({reinterpret_cast<const char*>(v.data()), v.size() * sizeof(T)}, seed);
}
template <class T>
void sort_unique(std::vector<T>& v) {
  std::sort(v.begin(), v.end());
  v.erase(std::unique(v.begin(), v.end()), v.end());
}

}  // namespace

Automaton::Automaton(std::shared_ptr<const Grammar> grammar) : grammar_(std::move(grammar)) {
  calls_[grammar_->rule(0).group].push_back({kAccept, 0});
  enter_calls();
  start_ = state_of(heads_, grammar_->rule(0).nullable);
}

void Automaton::add(const Item& item) {
  work_ += kernel_.size() / 8 + 1;
  if (kernel_.size() < kMaxItems && std::find(kernel_.begin(), kernel_.end(), item) == kernel_.end())
    kernel_.push_back(item);
}

// The rule at the item's position is entered. In last place it takes over what is open around its caller.
void Automaton::call(const Item& item) {
  std::vector<Item>& frames = calls_[grammar_->rule(grammar_->code(item.position)).group];
  if (grammar_->code(item.position + 1) != Grammar::kEnd) {
    frames.push_back({item.position + 1, item.node});
  } else {
    const std::vector<Item>& around = nodes_[static_cast<size_t>(item.node)].frames;
    work_ += around.size();
    frames.insert(frames.end(), around.begin(), around.end());
  }
}

// What the bytes so far end: leaves rules whose end is reached, and notes the calls. Returns whether the text may end.
// A rule that was entered at this very byte is never left here: callers step over it instead when it can be empty.
bool Automaton::finish_kernel() {
  bool accepting = false;
  for (size_t i = 0; i < kernel_.size(); ++i) {
    const Item item = kernel_[i];
    const int32_t code = grammar_->code(item.position);
    if (code == Grammar::kEnd) {
      for (const Item& frame : nodes_[static_cast<size_t>(item.node)].frames)
        if (frame.position == kAccept)
          accepting = true;
        else
          add(frame);
    } else if (code < 0) {
      heads_.push_back(item);
    } else {
      call(item);
      if (grammar_->rule(code).nullable) add({item.position + 1, item.node});
    }
  }
  return accepting;
}

// Callers before the rules they call, so that a rule's frames are all known when it is entered.
void Automaton::enter_calls() {
  while (!calls_.empty()) {
    auto last = calls_.extract(std::prev(calls_.end()));
    const int32_t node = node_of(last.mapped());
    const int32_t depth = nodes_[static_cast<size_t>(node)].depth;
    for (int32_t r : grammar_->group(last.key()))
      for (const Grammar::Alternative& a : grammar_->rule(r).alternatives) {
        ++work_;
        if (depth + a.need > grammar_->depth()) continue;
        for (int32_t p = a.start;; ++p) {
          const int32_t code = grammar_->code(p);
          if (code < 0 && code != Grammar::kEnd) heads_.push_back({p, node});
          if (code < 0) break;
          if (grammar_->rule(code).group != last.key()) call({p, node});
          if (!grammar_->rule(code).nullable) break;
        }
      }
  }
}

int32_t Automaton::step(int32_t from, uint8_t byte) {
  if (from < 0) return kDead;
  const auto at = static_cast<size_t>(from);
  if (!states_[at].next) {
    states_[at].next = std::make_unique<std::array<int32_t, 256>>();
    states_[at].next->fill(kUnknown);
    bytes_ += sizeof(std::array<int32_t, 256>);
  }
  if (const int32_t known = (*states_[at].next)[byte]; known != kUnknown) return known;
  if (bytes_ > kHardBytes) return kDead;
  kernel_.clear(), heads_.clear();
  work_ += states_[at].heads.size();
  for (const Item& head : states_[at].heads)
    if (grammar_->set(grammar_->code(head.position))[byte]) add({head.position + 1, head.node});
  int32_t to = kDead;
  if (!kernel_.empty()) {
    const bool accepting = finish_kernel();
    enter_calls();
    if (accepting || !heads_.empty()) to = state_of(heads_, accepting);
  }
  return (*states_[at].next)[byte] = to;
}

int32_t Automaton::step(int32_t state, std::string_view bytes) {
  for (char c : bytes) state = step(state, static_cast<uint8_t>(c));
  return state;
}

int32_t Automaton::node_of(std::vector<Item>& frames) {
  sort_unique(frames);
  if (frames.size() > kMaxItems) frames.resize(kMaxItems);
  work_ += frames.size();
  const uint64_t hash = hash_of(frames, 0);
  for (auto [it, end] = node_ids_.equal_range(hash); it != end; ++it)
    if (nodes_[static_cast<size_t>(it->second)].frames == frames) return it->second;
  int32_t depth = 0;
  for (const Item& f : frames)
    if (f.position != kAccept) depth = std::max(depth, nodes_[static_cast<size_t>(f.node)].depth + 1);
  const auto id = static_cast<int32_t>(nodes_.size());
  bytes_ += 64 + frames.size() * sizeof(Item);
  nodes_.push_back({frames, depth});
  node_ids_.emplace(hash, id);
  return id;
}

int32_t Automaton::state_of(std::vector<Item>& heads, bool accepting) {
  sort_unique(heads);
  work_ += heads.size();
  const uint64_t hash = hash_of(heads, accepting);
  for (auto [it, end] = state_ids_.equal_range(hash); it != end; ++it) {
    const State& s = states_[static_cast<size_t>(it->second)];
    if (s.accepting == accepting && s.heads == heads) return it->second;
  }
  const auto id = static_cast<int32_t>(states_.size());
  bytes_ += 96 + heads.size() * sizeof(Item);
  states_.push_back({heads, accepting, nullptr});
  state_ids_.emplace(hash, id);
  return id;
}

int32_t Automaton::import_node(const Automaton& other, int32_t node, std::map<int32_t, int32_t>& known) {
  if (auto it = known.find(node); it != known.end()) return it->second;
  std::vector<Item> frames = other.nodes_[static_cast<size_t>(node)].frames;
  for (Item& f : frames)
    if (f.position != kAccept) f.node = import_node(other, f.node, known);
  return known[node] = node_of(frames);
}

int32_t Automaton::import(const Automaton& other, int32_t state) {
  if (state < 0) return kDead;
  const State& from = other.states_[static_cast<size_t>(state)];
  std::map<int32_t, int32_t> known;
  std::vector<Item> heads = from.heads;
  for (Item& h : heads) h.node = import_node(other, h.node, known);
  return state_of(heads, from.accepting);
}

bool matches(const std::shared_ptr<const Grammar>& grammar, std::string_view text) {
  Automaton a(grammar);
  int32_t state = a.start();
  for (char c : text) {
    if (a.full()) {
      Automaton fresh(grammar);
      state = fresh.import(a, state);
      a = std::move(fresh);
    }
    state = a.step(state, static_cast<uint8_t>(c));
  }
  return a.accepting(state);
}

}  // namespace puyu::grammar
