#include "text/merge_learner.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/error.h"
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
  std::unordered_map<char32_t, uint32_t> ids;
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

void MergeLearner::add_word(std::string_view text, uint64_t n, const std::unordered_map<char32_t, uint32_t>& ids) {
  char32_t c = 0;
  for (size_t i = 0; i < text.size();) {
    i += std::max<size_t>(decode_utf8(text, i, c), 1);
    if (auto it = ids.find(c); it != ids.end())
      run_.push_back(it->second);
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

// Two passes: how often each pair is there, then where, once the room for it is known.
void MergeLearner::find_pairs() {
  auto each_pair = [&](auto&& fn) {
    for (size_t w = 0; w < words_.size(); w += kHead + words_[w + 2])
      for (size_t i = w + kHead; i + 1 < w + kHead + words_[w + 2]; ++i)
        if (fits(words_[i], words_[i + 1])) fn(key_of(words_[i], words_[i + 1]), w);
  };
  each_pair([&](uint64_t key, size_t w) {
    Pair& p = pairs_.at(key);
    p.count += count_of(w), ++p.places;
  });
  std::erase_if(pairs_.all(), [&](const Pair& p) { return p.count < options_.min_count; });  // never chosen
  pairs_.rebuild();
  uint64_t room = 0;
  for (Pair& p : pairs_.all()) {
    p.first = room, room += p.places, p.places = 0;
    queue_.push({p.count, p.key});
  }
  places_.resize(room);
  each_pair([&](uint64_t key, size_t w) {
    Pair* p = pairs_.find(key);
    if (p && (p->places == 0 || places_[p->first + p->places - 1] != w))
      places_[p->first + p->places++] = static_cast<uint32_t>(w);
  });
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

void MergeLearner::change(uint32_t left, uint32_t right, int64_t by, uint32_t word) {
  if (!fits(left, right)) return;
  if (by < 0) {
    if (Pair* p = pairs_.find(key_of(left, right))) p->count += by;
    return;
  }
  Pair& p = pairs_.at(key_of(left, right));
  p.count += by;
  if (p.later.empty() || p.later.back() != word) p.later.push_back(word);
  if (!std::exchange(p.grown, true)) grown_.push_back(p.key);
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

void MergeLearner::merge(uint32_t left, uint32_t right, uint32_t made) {
  Pair& pair = pairs_.at(key_of(left, right));
  const uint64_t first = pair.first, last = pair.first + pair.places;
  const std::vector<uint32_t> later = std::move(pair.later);
  pair = {.key = pair.key};  // "aaa" counts the pair (a, a) twice, yet joins it once: what the count comes to is moot
  grown_.clear();
  for (uint64_t i = first; i < last; ++i) merge_in(places_[i], left, right, made);
  for (uint32_t word : later) merge_in(word, left, right, made);
  Pair& done = pairs_.at(key_of(left, right));
  done.count = 0, done.later = {};
  for (uint64_t key : grown_) {
    Pair* p = pairs_.find(key);
    p->grown = false;
    if (p->count >= options_.min_count) queue_.push({p->count, key});
  }
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
    if (out > 0) change(s[out - 1], left, -n, word), change(s[out - 1], made, n, word);
    if (i + 2 < length) change(right, s[i + 2], -n, word), change(made, s[i + 2], n, word);
    s[out++] = made;
    ++i;
  }
  words_[word + 2] = out;
}

}  // namespace puyu
