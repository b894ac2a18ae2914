// Rules for single lines: those of C4 and RefinedWeb (appendix G.2) take lines out of a document, and may then give up
// the document for what it lost.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace puyu {

struct LineRules {
  bool terminal_punctuation = false, citations = false, numeric = false, counters = false, one_word = false;
  bool calls = false;
  double min_words = 0, max_word_chars = -1, max_uppercase = -1, max_removed_words = -1;
  template <class F>
  void fields(F&& f) {
    f("terminal_punctuation", terminal_punctuation,
      "keep only lines that end in . ? ! \" ' or 。？！”, not in ... (C4)");
    f("citations", citations, "take [1], [edit] and [citation needed] out of lines (C4)");
    f("min_words", min_words, "shorter lines are dropped (C4)");
    f("max_word_chars", max_word_chars, "lines with a longer word are dropped (C4)");
    f("max_uppercase", max_uppercase,
      "lines with a larger share of capitals among their letters are dropped (RefinedWeb)");
    f("numeric", numeric, "drop lines of digits and signs only (RefinedWeb)");
    f("counters", counters, "drop counters, \"3 likes\" (RefinedWeb)");
    f("one_word", one_word, "drop lines of one word (RefinedWeb)");
    f("calls", calls, "drop short lines such as \"Read more\", \"Sign in\", \"items in cart\" (RefinedWeb)");
    f("max_removed_words", max_removed_words,
      "drop the document when more of its words went with its lines (RefinedWeb)");
  }
};

struct LineChanges {
  std::map<std::string, int64_t> lines;  // dropped, by rule; "citations": lines that lost some
  double words = 0, removed_words = 0;   // words of the document, and of its dropped lines
};

// Takes lines out of the text in place. Blank lines stay.
LineChanges filter_lines(std::string& text, const LineRules& rules);

// Removes the lines of a web page that only talk about cookies, scripts and terms of use (C4); returns how many.
int64_t remove_policy_lines(std::string& text);

}  // namespace puyu
