// Duplicates, exact and near. Near: MinHash with 128 hash functions over 5-grams of words, locality-sensitive hashing
// in bands, candidates verified by the signatures (InternLM2 report 3.1; 14 bands of 9 rows put the knee at 0.746 for
// the threshold 0.7). Of a cluster the newest document survives, then the longest, then the smallest id: the result
// depends on the documents only, not on their order or on the number of workers.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/hash.h"

namespace puyu {

constexpr int kPermutations = 128;
using Signature = std::array<uint32_t, kPermutations>;

Signature minhash(std::string_view text, int ngram = 5);
double similarity(const Signature& a, const Signature& b);  // estimates the Jaccard similarity of the n-gram sets
double exact_jaccard(std::string_view a, std::string_view b, int ngram = 5);

struct DedupOptions {
  double threshold = 0.7;
  int bands = 14, rows = 9, ngram = 5;
  template <class F>
  void fields(F&& f) {
    f("threshold", threshold, "documents at least this similar are duplicates");
    f("bands", bands, "bands of the locality-sensitive hashing; bands x rows <= 128");
    f("rows", rows, "rows a band: more rows, fewer candidates");
    f("ngram", ngram, "words (ideographs in Chinese) a shingle");
  }
};

// What is known of a document when duplicates are sought. Plain bytes: written to disk as it stands.
struct DedupKey {
  Hash128 id{};
  Hash128 content{};
  uint32_t date = 0;  // yyyymmdd, 0 = unknown
  uint32_t length = 0;
  Signature signature{};
};

struct Duplicate {
  int64_t survivor = -1;    // index of the document that stays; -1: this one stays itself
  double similarity = 1.0;  // to the survivor
  bool exact = false;
};

std::vector<Duplicate> find_duplicates(const std::vector<DedupKey>& keys, const DedupOptions& options);

}  // namespace puyu
