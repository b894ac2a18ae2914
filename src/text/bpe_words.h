// Cuts text into the words that BPE training counts: no piece crosses a word's edge. Only training needs this; the
// encoder joins whatever pieces exist. By script:
//   - a newline, a digit: a word each, so pieces never hold several digits or a line end
//   - a run of two or more spaces (indentation), or of tabs: a word
//   - a run of letters of one script, or of punctuation, with the single space before it, if any
// By cl100k's pattern (hf_bpe.h), or by lines only. A word has at most kMaxWord characters. Broken UTF-8, U+2581 and
// control characters belong to no word: byte pieces.
#pragma once
#include <functional>
#include <string>
#include <string_view>

namespace puyu {

constexpr size_t kMaxWord = 64;

using WordFunction = std::function<void(std::string_view)>;

void each_word(std::string_view text, const WordFunction& word);

// By `name`: "script", "cl100k" or "none" (lines). split_digits: a digit is a word, whatever the rest says ("script"
// has them so in any case). Error for another name.
std::function<void(std::string_view text, const WordFunction& word)> word_cutter(const std::string& name,
                                                                                 bool split_digits);

}  // namespace puyu
