// Cuts text into the words that BPE training counts: no piece crosses a word's edge. Only training needs this; the
// encoder joins whatever pieces exist.
//   - a newline, a digit: a word each, so pieces never hold several digits or a line end
//   - a run of two or more spaces (indentation), or of tabs: a word
//   - a run of letters of one script, or of punctuation, with the single space before it, if any
// A word has at most kMaxWord characters. Broken UTF-8, U+2581 and control characters belong to no word: byte pieces.
#pragma once
#include <functional>
#include <string_view>

namespace puyu {

constexpr size_t kMaxWord = 64;

void each_word(std::string_view text, const std::function<void(std::string_view)>& word);

}  // namespace puyu
