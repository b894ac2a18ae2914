// Words that a document should not hold (InternLM2: 36,289 of them; LDNOOBW, Sensitive-lexicon): all found in one pass
// by an Aho-Corasick automaton over bytes whose trie is a double array. A list is a text file, a word a line, fields
// separated by tabs, '#' comments:
//   word                     counts 1
//   word    2.5              counts 2.5
//   word    1    with=a|b    counts only when a or b stands within 100 bytes of it
//   !longer word             a hit inside this text does not count ("!性能" beside "性")
// Letters match without regard to ASCII case. A word that begins or ends in a letter or digit of a script with spaces
// matches whole words only; ideographs and kana match anywhere.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace puyu {

struct WordHit {
  size_t begin = 0, end = 0;  // bytes of the text
  uint32_t word = 0;
};
struct WordScore {
  double weight = 0;       // of all hits that count
  int64_t hits = 0;        // they do not overlap: of overlapping ones the leftmost, then the longest counts
  int64_t bytes = 0;       // of the text in them
  std::string_view first;  // the first word found
};

class WordList {
 public:
  WordList() = default;
  // Errors name the file and line.
  void add_file(const std::string& path);
  void add(std::string_view text, const std::string& where);  // the text of such a file
  void build();                                               // after the last add
  WordScore score(std::string_view text) const;
  // Every occurrence of every text of the lists (exceptions and contexts too) at its boundaries, in order of its end.
  std::vector<WordHit> find_all(std::string_view text) const;
  size_t size() const { return counted_; }
  size_t memory() const { return cells_.size() * sizeof(Cell); }
  uint64_t checksum() const { return checksum_; }
  const std::string& word(uint32_t i) const { return words_[i].text; }

 private:
  struct Word {
    std::string text;
    double weight = 0;
    bool counts = false, is_exception = false, whole_begin = false, whole_end = false;
    std::vector<uint32_t> with;
  };
  struct Cell {  // a state of the automaton; child c of s stands at base + c and has check == s
    int32_t base = 0, check = -1, fail = 0;
    int32_t word = -1;    // the word that ends here
    int32_t suffix = -1;  // the nearest state on the chain of failures where a word ends
  };
  uint32_t intern(std::string_view text);
  void place_children(int32_t state, const std::vector<unsigned char>& children);
  int32_t child(int32_t state, unsigned char c) const;
  int32_t step(int32_t state, unsigned char c) const;
  bool stands_near(const std::vector<WordHit>& hits, size_t i) const;
  bool at_boundaries(std::string_view text, const WordHit& h) const;

  std::vector<Word> words_;
  std::vector<Cell> cells_;
  size_t counted_ = 0, longest_ = 0, first_free_ = 1;
  uint64_t checksum_ = 0;
};

}  // namespace puyu
