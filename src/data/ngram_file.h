// How n-gram models lie in their files, and the writer that training and ARPA import share.
// Fields of the frame: order, words of the vocabulary, bytes of their text, zero. Body: the words' hashes (u64,
// ascending: a word's number is its place + 4), ends of their texts (u64), the texts, zeros to a multiple of 8, the
// count of grams by order (u64 each), then by order its grams. Grams are a trie of reversed words: the children of
// "b c" are the grams "a b c", in order of a. Each is {word u32, probability f32, backoff f32, first child u32}, the
// highest order's {word u32, probability f32}; unigrams stand at their word's number.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/external_sort.h"
#include "data/ngram_model.h"

namespace puyu {

constexpr std::string_view kNgramMagic = "PUYUNGR1";
constexpr float kNever = -99;  // log10 of a probability that is not

struct GramNode {
  uint32_t word;
  float probability, backoff;
  uint32_t children;
};
struct GramLeaf {
  uint32_t word;
  float probability;
};

// A gram on its way: words[0] is the last word, unused places are kNoWord.
struct Gram {
  uint32_t words[kMaxNgram] = {};
  float probability = 0, backoff = 0;
};

struct Vocabulary {
  std::vector<uint64_t> hashes;          // ascending
  std::vector<std::string> texts;        // in that order
  uint32_t number(uint64_t hash) const;  // kUnknownWord when it is not there
};

// grams[n - 1]: those of order n, ascending by their reversed words.
void write_ngram_file(const std::string& out, int order, const Vocabulary& vocabulary,
                      std::vector<std::unique_ptr<RecordFile<Gram>>>& grams);

}  // namespace puyu
