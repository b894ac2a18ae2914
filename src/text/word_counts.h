// How often each word of a corpus occurs, in bounded memory, for training tokenizers: words are counted by all threads
// and kept in compact tables, one for each part of the hash range. Should the distinct words need more than the limit,
// a share of them, chosen by hash alone, stays: 1/2, 1/4, ... The result (as a set) depends on the documents and the
// limit only, not on their order or the threads.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace puyu {

// Words and counts, one behind the other in one buffer, found by open addressing.
class WordTable {
 public:
  static constexpr size_t kMaxBytes = 1023;
  void add(std::string_view word, uint64_t hash, uint64_t count);
  size_t size() const { return size_; }
  int64_t characters() const { return characters_; }  // of the distinct words
  // All of them, in the order of arrival: fn(word, count).
  template <class F>
  void each(F&& fn) const {
    for (size_t at = 0; at < buffer_.size();) {
      const uint64_t head = head_at(at);
      fn(std::string_view(reinterpret_cast<const char*>(&buffer_[at + 2]), head & kLengthMask), head >> kLengthBits);
      at += slots_of(head & kLengthMask);
    }
  }
  // Drops the words for which keep(word) is false.
  void filter(const std::function<bool(std::string_view)>& keep);
  void clear() { *this = WordTable(); }

 private:
  static constexpr int kLengthBits = 10;
  static constexpr uint64_t kLengthMask = kMaxBytes;
  static size_t slots_of(size_t bytes) { return 2 + (bytes + 3) / 4; }
  uint64_t head_at(size_t at) const;  // count and length
  void set_head(size_t at, uint64_t head);
  void grow();

  std::vector<uint32_t> buffer_;  // for each word: its head in two places, its bytes
  std::vector<uint64_t> index_;   // a part of the hash, and where in buffer_; 0: empty
  size_t size_ = 0;
  int64_t characters_ = 0;
};

struct CountedWords {
  std::vector<WordTable> parts;
  int kept_one_of = 1;  // of the distinct words
  int64_t distinct = 0, characters = 0;
  template <class F>
  void each(F&& fn) const {
    for (const WordTable& t : parts) t.each(fn);
  }
};

using WordSink = std::function<void(std::string_view)>;
using WordCutter = std::function<void(std::string_view text, const WordSink& word)>;

// What a learner of merges needs for the words in `c` must stay under memory_bytes.
CountedWords count_words(const std::function<bool(std::string&)>& next_document, const WordCutter& cut,
                         int64_t memory_bytes);

}  // namespace puyu
