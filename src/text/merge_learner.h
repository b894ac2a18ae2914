// The merges of BPE: the most frequent pair of neighbours becomes a piece, again and again. Words are numbers in one
// buffer, pairs and where they occur in another, both of known size before the first merge; counts are kept up to date
// as words change, and a heap gives the best pair (its counts may have fallen since: then they go back in).
#pragma once
#include <cstdint>
#include <queue>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "text/word_counts.h"

namespace puyu {

struct MergeOptions {
  int max_piece_length = 16;  // characters
  int64_t min_count = 2;
  std::unordered_set<std::string> taken = {};  // texts that must not become pieces
};

class MergeLearner {
 public:
  // `words` is emptied. Characters that are not in `characters` are barriers.
  MergeLearner(CountedWords words, const std::vector<char32_t>& characters, const MergeOptions& options);
  // The pieces in order: characters, then merges until there are `size` in all, or until min_count stops them.
  std::vector<std::string> learn(size_t size);

 private:
  struct Pair {
    uint64_t key = 0;
    int64_t count = 0;
    uint64_t first = 0, places = 0;    // in places_: words where it was at the beginning
    std::vector<uint32_t> later = {};  // words where it came to be
    bool grown = false;                // in grown_
  };
  struct Candidate {
    int64_t count;
    uint64_t key;
    // Most frequent first; on ties the pair whose pieces are older.
    bool operator<(const Candidate& o) const { return count != o.count ? count < o.count : key > o.key; }
  };
  // Pairs by key: open addressing over a list, so that what moves when it grows is small.
  class PairTable {
   public:
    Pair* find(uint64_t key);
    Pair& at(uint64_t key);  // made if need be
    std::vector<Pair>& all() { return pairs_; }
    void rebuild();

   private:
    std::vector<Pair> pairs_;
    std::vector<uint32_t> index_;  // in pairs_ plus 1; 0: empty
  };

  static uint64_t key_of(uint32_t left, uint32_t right) { return uint64_t{left} << 32 | right; }
  bool fits(uint32_t left, uint32_t right) const {
    return lengths_[left] + lengths_[right] <= options_.max_piece_length;
  }
  int64_t count_of(size_t word) const;
  void add_word(std::string_view text, uint64_t n, const std::unordered_map<char32_t, uint32_t>& ids);
  void add_run(uint64_t n);
  void find_pairs();
  void change(uint32_t left, uint32_t right, int64_t by, uint32_t word);
  bool next(Candidate& best);
  void merge(uint32_t left, uint32_t right, uint32_t made);
  void merge_in(uint32_t word, uint32_t left, uint32_t right, uint32_t made);

  MergeOptions options_;
  std::vector<std::string> pieces_;
  std::vector<int> lengths_;      // in characters
  std::vector<uint32_t> words_;   // for each word: its count in two places, its length, its symbols
  std::vector<uint32_t> places_;  // of the pairs that were there at the beginning
  std::vector<uint32_t> run_;     // of the word that is being added
  std::vector<uint64_t> grown_;   // pairs that one merge made more frequent
  PairTable pairs_;
  std::priority_queue<Candidate> queue_;
};

}  // namespace puyu
