#include "grammar/mask.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace puyu::grammar {
namespace {

std::vector<std::string> bytes_of(const Tokenizer& t) {
  std::vector<std::string> out;
  for (int32_t id = 0; id < t.vocab_size(); ++id) out.emplace_back(t.piece_bytes(id));
  return out;
}

}  // namespace

TokenTrie::TokenTrie(const Tokenizer& tokenizer) : TokenTrie(bytes_of(tokenizer)) {}

TokenTrie::TokenTrie(const std::vector<std::string>& bytes) : bytes_(bytes), ids_(bytes.size()) {
  std::iota(ids_.begin(), ids_.end(), 0);
  std::erase_if(ids_, [&](int32_t id) { return this->bytes(id).empty(); });
  std::sort(ids_.begin(), ids_.end(), [&](int32_t a, int32_t b) {
    const int order = this->bytes(a).compare(this->bytes(b));
    return order != 0 ? order < 0 : a < b;
  });
  std::vector<uint32_t> path;  // the nodes of the token before
  auto close = [&](size_t depth) {
    for (; path.size() > depth; path.pop_back()) nodes_[path.back()].end = static_cast<uint32_t>(nodes_.size());
  };
  for (uint32_t i = 0; i < ids_.size(); ++i) {
    const std::string& b = this->bytes(ids_[i]);
    size_t same = 0;
    while (same < path.size() && same < b.size() && nodes_[path[same]].byte == static_cast<uint8_t>(b[same])) ++same;
    close(same);
    for (; same < b.size(); ++same) {
      path.push_back(static_cast<uint32_t>(nodes_.size()));
      nodes_.push_back({static_cast<uint8_t>(b[same]), 0, i, 0});
    }
    ++nodes_[path.back()].count;
  }
  close(0);
}

namespace {

// How much one mask may cost: about 0.1 s. Only hostile grammars come near it; what is left then stays forbidden.
constexpr uint64_t kMaskWork = uint64_t{1} << 25;
constexpr size_t kMaxMasks = 1024;

struct Bits {
  std::vector<uint64_t> words;
  void set(int32_t id) { words[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64); }
};

struct Walk {
  const TokenTrie& trie;
  Automaton& automaton;
  Bits& out;
  uint64_t limit;

  // All bytes that follow first, then what follows them: single bytes are known even when the limit cuts the rest off.
  void children(uint32_t begin, uint32_t end, int32_t state) {
    const auto& nodes = trie.nodes();
    for (const bool deeper : {false, true})
      for (uint32_t n = begin; n < end; n = nodes[n].end) {
        if (deeper && nodes[n].end == n + 1) continue;
        if (automaton.work() > limit) return;
        const int32_t to = automaton.step(state, nodes[n].byte);
        if (to < 0) continue;
        if (deeper)
          children(n + 1, nodes[n].end, to);
        else
          for (uint32_t i = 0; i < nodes[n].count; ++i) out.set(trie.ids()[nodes[n].first + i]);
      }
  }
};

}  // namespace

// An automaton and its masks. When it is full, answers move to a fresh one as they go on.
struct Guide::Pool {
  explicit Pool(const std::shared_ptr<const Grammar>& g) : automaton(g) {}
  std::mutex mutex;
  Automaton automaton;
  std::unordered_map<int32_t, std::shared_ptr<const Bits>> masks;

  std::shared_ptr<const Bits> mask(int32_t state, const TokenTrie& trie) {
    std::lock_guard lock(mutex);
    if (auto it = masks.find(state); it != masks.end()) return it->second;
    auto bits = std::make_shared<Bits>(Bits{std::vector<uint64_t>((trie.size() + 63) / 64)});
    Walk walk{trie, automaton, *bits, automaton.work() + kMaskWork};
    walk.children(0, static_cast<uint32_t>(trie.nodes().size()), state);
    if (masks.size() >= kMaxMasks) masks.clear();
    masks[state] = bits;
    return bits;
  }
};

class GuidedMask : public TokenMask {
 public:
  explicit GuidedMask(std::shared_ptr<Guide> guide) : guide_(std::move(guide)), pool_(guide_->pool(nullptr)) {
    std::lock_guard lock(pool_->mutex);
    state_ = pool_->automaton.start();
    look();
  }

  void allow(std::span<float> logits) override {
    constexpr float kNever = -std::numeric_limits<float>::infinity();
    const size_t known = std::min(logits.size(), guide_->trie_->size());
    std::vector<std::pair<size_t, float>> ends;
    for (int32_t id : guide_->end_ids_)
      if (accepting_ && id >= 0 && static_cast<size_t>(id) < logits.size())
        ends.emplace_back(id, logits[static_cast<size_t>(id)]);
    std::shared_ptr<const Bits> bits;
    if (open_) bits = pool_->mask(state_, *guide_->trie_);
    for (size_t i = 0; i < known; i += 64) {
      const uint64_t word = bits ? bits->words[i / 64] : 0;
      if (word == ~uint64_t{0}) continue;
      const size_t end = std::min<size_t>(64, known - i);
      for (size_t k = 0; k < end; ++k)
        if (!(word >> k & 1)) logits[i + k] = kNever;
    }
    std::fill(logits.begin() + static_cast<ptrdiff_t>(known), logits.end(), kNever);  // ids without text
    for (int32_t id : guide_->end_ids_)  // an end id is never part of the text, whatever its bytes
      if (id >= 0 && static_cast<size_t>(id) < logits.size()) logits[static_cast<size_t>(id)] = kNever;
    for (auto [id, logit] : ends) logits[id] = logit;
  }

  void accept(int32_t id) override {
    const TokenTrie& trie = *guide_->trie_;
    if (std::shared_ptr<Guide::Pool> to = guide_->pool(pool_); to != pool_) {
      std::scoped_lock lock(pool_->mutex, to->mutex);
      state_ = to->automaton.import(pool_->automaton, state_);
      pool_ = std::move(to);
    }
    std::lock_guard lock(pool_->mutex);
    const bool has_text = id >= 0 && static_cast<size_t>(id) < trie.size() && !trie.bytes(id).empty();
    state_ = has_text ? pool_->automaton.step(state_, trie.bytes(id)) : kDead;
    look();
  }

  bool finished() const override { return !open_; }

 private:
  void look() {
    accepting_ = pool_->automaton.accepting(state_);
    open_ = pool_->automaton.open(state_);
  }
  std::shared_ptr<Guide> guide_;
  std::shared_ptr<Guide::Pool> pool_;
  int32_t state_ = 0;
  bool accepting_ = false, open_ = true;
};

Guide::Guide(Grammar grammar, std::shared_ptr<const TokenTrie> trie, std::vector<int32_t> end_ids)
    : grammar_(std::make_shared<const Grammar>(std::move(grammar))),
      trie_(std::move(trie)),
      end_ids_(std::move(end_ids)),
      pool_(std::make_shared<Pool>(grammar_)) {}
Guide::~Guide() = default;

std::shared_ptr<TokenMask> Guide::mask() { return std::make_shared<GuidedMask>(shared_from_this()); }

// The pool to go on with: the old one until it is full.
std::shared_ptr<Guide::Pool> Guide::pool(const std::shared_ptr<Pool>& old) {
  std::lock_guard lock(mutex_);
  auto full = [](Pool& p) {
    std::lock_guard inner(p.mutex);
    return p.automaton.full();
  };
  if (old && !full(*old)) return old;
  if (full(*pool_)) pool_ = std::make_shared<Pool>(grammar_);
  return pool_;
}

}  // namespace puyu::grammar
