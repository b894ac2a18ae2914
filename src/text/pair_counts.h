// How often each pair of symbols is there in a share of the words, and in how many of them: what a learner of merges
// begins with. Look-ups are collected and their memory asked for before it is needed, since the table is larger than
// any cache. For src/text/ only.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace puyu {

class PairCounts {
 public:
  static constexpr uint64_t kFree = ~uint64_t{0};
  static constexpr uint32_t kNone = ~uint32_t{0};
  struct Entry {
    uint64_t key = kFree;
    int64_t count = 0;
    uint32_t places = 0;    // words it is in; afterwards for the owner's use
    uint32_t last = kNone;  // the word it was met in last
  };
  struct Met {  // a pair in a word that occurs `count` times
    uint64_t key;
    uint32_t word;
    int64_t count;
  };

  // Calls use(met) for this and others before it, soon: settle() does the rest.
  template <class F>
  void later(const Met& met, F&& use) {
    __builtin_prefetch(&entries_[slot(met.key)], 1);
    waiting_.push_back(met);
    if (waiting_.size() == kWaiting) settle(use);
  }
  template <class F>
  void settle(F&& use) {
    for (const Met& met : waiting_) use(met);
    waiting_.clear();
  }

  void count(const Met& met) {
    Entry& e = at(met.key);
    e.count += met.count;
    if (e.last != met.word) e.last = met.word, ++e.places;
  }
  Entry* find(uint64_t key) {
    for (size_t i = slot(key); entries_[i].key != kFree; i = (i + 1) & (entries_.size() - 1))
      if (entries_[i].key == key) return &entries_[i];
    return nullptr;
  }
  template <class F>
  void each(F&& fn) {
    for (Entry& e : entries_)
      if (e.key != kFree) fn(e);
  }

 private:
  static constexpr size_t kWaiting = 64;
  size_t slot(uint64_t key) const {
    key = (key ^ key >> 32) * 0x9E3779B97F4A7C15ull;
    return (key ^ key >> 29) & (entries_.size() - 1);
  }
  Entry& at(uint64_t key) {
    if ((size_ + 1) * 3 > entries_.size() * 2) grow();
    size_t i = slot(key);
    for (; entries_[i].key != kFree; i = (i + 1) & (entries_.size() - 1))
      if (entries_[i].key == key) return entries_[i];
    ++size_;
    entries_[i].key = key;
    return entries_[i];
  }
  void grow() {
    std::vector<Entry> old(entries_.size() * 2);
    old.swap(entries_);
    for (const Entry& e : old) {
      if (e.key == kFree) continue;
      size_t i = slot(e.key);
      while (entries_[i].key != kFree) i = (i + 1) & (entries_.size() - 1);
      entries_[i] = e;
    }
  }
  std::vector<Entry> entries_ = std::vector<Entry>(size_t{1} << 12);  // open addressing
  size_t size_ = 0;
  std::vector<Met> waiting_;
};

}  // namespace puyu
