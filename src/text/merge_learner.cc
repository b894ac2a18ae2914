#include "text/merge_learner.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/error.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "base/signal.h"
#include "base/utf8.h"

namespace puyu {
namespace {

constexpr size_t kHead = 3;  // places before a word's symbols

uint64_t mix(uint64_t key) {
  key = (key ^ key >> 32) * 0x9E3779B97F4A7C15ull;
  return key ^ key >> 29;
}

constexpr uint32_t kNoId = ~uint32_t{0};
constexpr uint64_t kAhead = 16;  // words whose memory is asked for before they are looked at
constexpr int kMostShares = 8;   // of the words, each with a table of pairs

}  // namespace

MergeLearner::Pair* MergeLearner::PairTable::find(uint64_t key) {
  if (index_.empty()) return nullptr;
  for (size_t i = mix(key) & (index_.size() - 1); index_[i]; i = (i + 1) & (index_.size() - 1))
    if (pairs_[index_[i] - 1].key == key) return &pairs_[index_[i] - 1];
  return nullptr;
}

void MergeLearner::PairTable::rebuild() {
  index_.assign(std::bit_ceil(std::max<size_t>(pairs_.size() * 2, 1024)), 0);
  for (size_t k = 0; k < pairs_.size(); ++k) {
    size_t i = mix(pairs_[k].key) & (index_.size() - 1);
    while (index_[i]) i = (i + 1) & (index_.size() - 1);
    index_[i] = static_cast<uint32_t>(k + 1);
  }
}

MergeLearner::Pair& MergeLearner::PairTable::at(uint64_t key) {
  if (pairs_.size() * 3 >= index_.size() * 2) rebuild();
  size_t i = mix(key) & (index_.size() - 1);
  for (; index_[i]; i = (i + 1) & (index_.size() - 1))
    if (pairs_[index_[i] - 1].key == key) return pairs_[index_[i] - 1];
  pairs_.push_back({.key = key});
  index_[i] = static_cast<uint32_t>(pairs_.size());
  return pairs_.back();
}

MergeLearner::MergeLearner(CountedWords words, const std::vector<char32_t>& characters, const MergeOptions& options)
    : options_(options) {
  std::vector<uint32_t> ids(0x110000, kNoId);
  for (char32_t c : characters) {
    ids[c] = static_cast<uint32_t>(pieces_.size());
    append_utf8(pieces_.emplace_back(), c);
    lengths_.push_back(1);
  }
  words_.reserve(static_cast<size_t>(words.characters + words.distinct * static_cast<int64_t>(kHead)));
  for (WordTable& part : words.parts) {
    part.each([&](std::string_view text, uint64_t n) { add_word(text, n, ids); });
    part.clear();
  }
  if (words_.size() >= UINT32_MAX) fail("[tokenizer] too many distinct words; lower memory_mb");
  find_pairs();
}

void MergeLearner::add_word(std::string_view text, uint64_t n, const std::vector<uint32_t>& ids) {
  char32_t c = 0;
  for (size_t i = 0; i < text.size();) {
    i += std::max<size_t>(decode_utf8(text, i, c), 1);
    if (ids[c] != kNoId)
      run_.push_back(ids[c]);
    else
      add_run(n);  // nothing joins across a character that is spelt in bytes
  }
  add_run(n);
}

void MergeLearner::add_run(uint64_t n) {
  if (run_.size() >= 2) {
    words_.push_back(static_cast<uint32_t>(n));
    words_.push_back(static_cast<uint32_t>(n >> 32));
    words_.push_back(static_cast<uint32_t>(run_.size()));
    words_.insert(words_.end(), run_.begin(), run_.end());
  }
  run_.clear();
}

int64_t MergeLearner::count_of(size_t word) const {
  return static_cast<int64_t>(words_[word] | uint64_t{words_[word + 1]} << 32);
}

// Where the words of each share begin, and the end.
std::vector<size_t> MergeLearner::share_words() const {
  const auto shares = static_cast<size_t>(std::min(num_threads(), kMostShares));
  std::vector<size_t> begins = {0};
  for (size_t w = 0; w < words_.size(); w += kHead + words_[w + 2])
    if (w >= words_.size() / shares * begins.size() && begins.size() < shares && w > 0) begins.push_back(w);
  begins.push_back(words_.size());
  return begins;
}

// Two passes: how often each pair is there, then where, once the room for it is known.
void MergeLearner::find_pairs() {
  const std::vector<size_t> begins = share_words();
  std::vector<PairCounts> shares(begins.size() - 1);
  auto each_pair = [&](size_t share, auto&& use) {
    for (size_t w = begins[share]; w < begins[share + 1]; w += kHead + words_[w + 2])
      for (size_t i = w + kHead; i + 1 < w + kHead + words_[w + 2]; ++i)
        if (fits(words_[i], words_[i + 1]))
          shares[share].later({key_of(words_[i], words_[i + 1]), static_cast<uint32_t>(w), count_of(w)}, use);
    shares[share].settle(use);
  };
  parallel_for(static_cast<int64_t>(shares.size()), [&](int64_t s) {
    PairCounts& counts = shares[static_cast<size_t>(s)];
    each_pair(static_cast<size_t>(s), [&](const PairCounts::Met& met) { counts.count(met); });
  });
  places_.resize(make_room(shares));
  parallel_for(static_cast<int64_t>(shares.size()), [&](int64_t s) {
    each_pair(static_cast<size_t>(s), [&](const PairCounts::Met& met) {
      PairCounts::Entry& e = *shares[static_cast<size_t>(s)].find(met.key);
      if (e.places == PairCounts::kNone || e.last == met.word) return;
      e.last = met.word;
      places_[e.places++] = met.word;
    });
  });
}

// The pairs of all shares that may be chosen, with room for their places; an entry's `places` is where its share's
// begin. Returns the room.
uint32_t MergeLearner::make_room(std::vector<PairCounts>& shares) {
  uint32_t room = 0;  // less than words_ has places
  std::vector<Candidate> candidates;
  std::vector<PairCounts::Entry*> same(shares.size());  // one pair in each share
  for (size_t s = 0; s < shares.size(); ++s)
    shares[s].each([&](const PairCounts::Entry& mine) {
      int64_t count = 0;
      for (size_t t = 0; t < shares.size(); ++t) {
        same[t] = shares[t].find(mine.key);
        if (t < s && same[t]) return;  // done already
        if (same[t]) count += same[t]->count;
      }
      const bool wanted = count >= options_.min_count;
      const uint32_t first = room;
      for (PairCounts::Entry* e : same) {
        if (!e) continue;
        e->last = PairCounts::kNone;
        const uint32_t places = std::exchange(e->places, wanted ? room : PairCounts::kNone);
        if (wanted) room += places;
      }
      if (!wanted) return;
      Pair& p = pairs_.at(mine.key);
      p.count = count, p.first = first, p.places = room - first;
      candidates.push_back({count, mine.key});
    });
  queue_ = std::priority_queue<Candidate>({}, std::move(candidates));
  return room;
}

std::vector<std::string> MergeLearner::learn(size_t size) {
  std::unordered_map<std::string, uint32_t> ids;
  for (size_t i = 0; i < pieces_.size(); ++i) ids[pieces_[i]] = static_cast<uint32_t>(i);
  Progress progress("learn merges", static_cast<int64_t>(size - pieces_.size()), "merges");
  Candidate best{};
  while (pieces_.size() < size && next(best)) {
    const auto left = static_cast<uint32_t>(best.key >> 32), right = static_cast<uint32_t>(best.key);
    const std::string text = pieces_[left] + pieces_[right];
    if (options_.taken.contains(text)) continue;
    auto [it, fresh] = ids.emplace(text, static_cast<uint32_t>(pieces_.size()));
    if (fresh) {  // else two ways to the same text: one piece
      pieces_.push_back(text);
      lengths_.push_back(lengths_[left] + lengths_[right]);
      progress.add(1);
      if (interrupted()) fail("[tokenizer] training was interrupted; nothing was written");
    }
    merge(left, right, it->second);
  }
  return std::move(pieces_);
}

bool MergeLearner::next(Candidate& best) {
  while (!queue_.empty()) {
    best = queue_.top();
    queue_.pop();
    const Pair* p = pairs_.find(best.key);
    const int64_t now = p ? p->count : 0;
    if (now == best.count) return now >= options_.min_count;
    if (now >= options_.min_count && now < best.count) queue_.push({now, best.key});
  }
  return false;
}

void MergeLearner::Neighbours::reset(size_t symbols) {
  for (uint32_t s : met_) counts_[s] = 0, met_in_[s] = 0;
  met_.clear(), places_.clear();
  counts_.resize(symbols), met_in_.resize(symbols);
}

// The pairs of the new piece with its neighbours on one side; key_with(symbol) names them.
template <class KeyOf>
void MergeLearner::raise(const Neighbours& side, KeyOf&& key_with) {
  lists_.resize(pieces_.size());
  for (uint32_t symbol : side.met()) {
    lists_[symbol] = nullptr;
    const uint64_t key = key_with(symbol);
    if (!fits(static_cast<uint32_t>(key >> 32), static_cast<uint32_t>(key))) continue;
    Pair& p = pairs_.at(key);
    p.count += side.count(symbol);
    if (p.count >= options_.min_count) queue_.push({p.count, key});
    p.later.reserve(p.later.size() + side.met_in(symbol));
    lists_[symbol] = &p.later;
  }
  for (const auto& [symbol, word] : side.places())
    if (auto* list = lists_[symbol]; list && (list->empty() || list->back() != word)) list->push_back(word);
}

// The pairs that the neighbours on one side made with what is joined now.
template <class KeyOf>
void MergeLearner::lower(const Neighbours& side, KeyOf&& key_with) {
  for (uint32_t symbol : side.met())
    if (Pair* p = pairs_.find(key_with(symbol))) p->count -= side.count(symbol);
}

void MergeLearner::merge(uint32_t left, uint32_t right, uint32_t made) {
  Pair& pair = pairs_.at(key_of(left, right));
  const uint64_t first = pair.first, last = first + pair.places;
  const std::vector<uint32_t> later = std::move(pair.later);
  pair = {.key = pair.key};
  before_.reset(pieces_.size()), after_.reset(pieces_.size());
  for (uint64_t i = first; i < last; ++i) {
    __builtin_prefetch(&words_[places_[std::min(i + kAhead, last - 1)]], 1);
    merge_in(places_[i], left, right, made);
  }
  for (size_t i = 0; i < later.size(); ++i) {
    __builtin_prefetch(&words_[later[std::min(i + kAhead, later.size() - 1)]], 1);
    merge_in(later[i], left, right, made);
  }
  raise(before_, [&](uint32_t x) { return key_of(x, made); });
  raise(after_, [&](uint32_t x) { return key_of(made, x); });
  lower(before_, [&](uint32_t x) { return key_of(x, left); });
  lower(after_, [&](uint32_t x) { return key_of(right, x); });
  // "aaa" counts the pair (a, a) twice, yet joins it once: what the count comes to is moot.
  Pair& done = pairs_.at(key_of(left, right));
  done.count = 0, done.later = {};
}

void MergeLearner::merge_in(uint32_t word, uint32_t left, uint32_t right, uint32_t made) {
  const int64_t n = count_of(word);
  uint32_t* s = &words_[word + kHead];
  const uint32_t length = words_[word + 2];
  uint32_t out = 0;
  for (uint32_t i = 0; i < length; ++i) {
    if (i + 1 == length || s[i] != left || s[i + 1] != right) {
      s[out++] = s[i];
      continue;
    }
    if (out > 0) before_.add(s[out - 1], n, word);
    if (i + 2 < length) after_.add(s[i + 2], n, word);
    s[out++] = made;
    ++i;
  }
  words_[word + 2] = out;
}

}  // namespace puyu
