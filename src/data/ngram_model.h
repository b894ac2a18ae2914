// n-gram language models: modified Kneser-Ney (Chen & Goodman, 1998, with interpolation), trained in bounded memory by
// sorting, mapped from disk. They tell how much a text is like the one they were trained on: CCNet's head, middle and
// tail. Words are those of words.h in lower case, a line is a sentence.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "data/sealed_file.h"

namespace puyu {

constexpr int kMaxNgram = 5;
// Numbers of words: what is no word, unknown words, the sentence's begin and end; then the vocabulary.
constexpr uint32_t kNoWord = 0, kUnknownWord = 1, kBeginWord = 2, kEndWord = 3, kFirstWord = 4;

struct NgramOptions {
  int order = 5;
  int64_t memory = int64_t{1} << 30, min_count = 1;
  template <class F>
  void fields(F&& f) {
    f("order", order, "words a gram, 2 to 5");
    f("memory", memory, "bytes for sorting; what is more goes to files beside the output. The vocabulary comes on top");
    f("min_count", min_count, "rarer words are the unknown word");
  }
};

struct NgramCounts {
  int64_t sentences = 0, words = 0;
  std::vector<int64_t> grams;                    // by order
  std::vector<std::array<double, 3>> discounts;  // by order: D1, D2, D3+
};

// Calls its argument with each text; is called twice and must give the same texts.
using TextSource = std::function<void(const std::function<void(std::string_view)>&)>;
NgramCounts train_ngram(const TextSource& texts, const NgramOptions& options, const std::string& out);

struct TextScore {
  double log10 = 0;  // of the text's probability
  int64_t words = 0, unknown = 0, sentences = 0;
  double perplexity() const;  // per word and sentence end
};

class NgramModel {
 public:
  explicit NgramModel(const std::string& path);
  int order() const { return order_; }
  uint64_t checksum() const { return file_.checksum(); }
  uint32_t word(std::string_view lower_case_text) const;
  std::string_view word_text(uint32_t word) const;
  uint32_t vocabulary() const { return kFirstWord + words_; }
  // log10 p(word | context); context[0] is the word before, context[1] the one before that, …
  double log10(uint32_t word, const std::vector<uint32_t>& context) const;
  TextScore score(std::string_view text) const;

  // Every gram, by order: its words from first to last, log10 of probability and of the backoff weight.
  using GramSink = std::function<void(int order, const uint32_t* words, float probability, float backoff)>;
  void each_gram(const GramSink& fn) const;
  uint64_t grams(int order) const { return counts_[static_cast<size_t>(order - 1)]; }

 private:
  struct Walk {  // the longest gram that ends in a word
    int length = 0;
    float probability = 0;
    float backoff[kMaxNgram] = {};
  };
  Walk walk(uint32_t word, const uint32_t* context, int n) const;
  bool find_child(int order, uint64_t parent, uint32_t word, uint64_t& child) const;
  void each_below(int order, uint64_t from, uint64_t to, uint32_t* words, const GramSink& fn) const;

  SealedFile file_;
  int order_ = 0;
  uint32_t words_ = 0;
  uint64_t counts_[kMaxNgram] = {};
  const char* hashes_ = nullptr;
  const char* text_ends_ = nullptr;
  std::string_view text_;
  const char* grams_[kMaxNgram] = {};
};

// ARPA files, the common form of n-gram models. import: Error names the line.
void export_arpa(const NgramModel& model, const std::string& path);
void import_arpa(const std::string& path, const std::string& out, int64_t memory = int64_t{1} << 30);

// The sentences of a text as words in lower case: fn(word hash, text) for each, end() after each sentence.
uint64_t ngram_word_hash(std::string_view lower_case_text);
void for_each_sentence(std::string_view text, const std::function<void(const std::vector<std::string>&)>& fn);

}  // namespace puyu
