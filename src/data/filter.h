// Heuristic quality rules, as Gopher, C4, FineWeb, NeMo and the Chinese sets (FineWeb-2, EvalWeb, Data-Juicer) use
// them; configs/data/ holds each set with its published bounds. Each is a measured statistic and a bound; one table
// (kRules in filter.cc) drives the filter, the ledger and --help. Words are runs of letters and digits in English and
// single ideographs in Chinese.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "data/document.h"
#include "data/line_filter.h"

namespace puyu {

// What is measured. Ratios are 0..1.
struct TextStats {
  double chars = 0, words = 0, lines = 0;
  double mean_word = 0;       // characters a word
  double mean_line = 0;       // characters a line
  double longest_line = 0;    // characters
  double symbol_words = 0;    // '#' and ellipses a word
  double bullet_lines = 0;    // lines that begin with a bullet
  double ellipsis_lines = 0;  // lines that end in an ellipsis
  double alpha_words = 0;     // words that hold a letter
  double stop_words = 0;      // how many different stop words of the language occur
  double ended_lines = 0;     // lines that end in punctuation
  double short_lines = 0;     // lines of at most 30 characters
  double letters = 0;         // letters, digits and ideographs among the characters that are not space
  double replaced = 0;        // U+FFFD among the characters
  double duplicate_lines = 0, duplicate_line_chars = 0;
  double top_2gram = 0, top_3gram = 0, top_4gram = 0;              // characters in the most frequent n-gram
  double duplicate_ngrams[6] = {};                                 // characters in repeated 5- to 10-grams
  double hash_words = 0, ellipsis_words = 0;                       // '#', and ellipses, a word
  double duplicate_paragraphs = 0, duplicate_paragraph_chars = 0;  // between blank lines
  double newline_words = 0;                                        // line ends a word
  double sentences = 0;                                            // ends of sentences
  double long_lines = 0;                                           // how many lines have 200 characters
  double longest_word = 0;                                         // characters between spaces
  double numbers = 0;                                              // digits among the visible characters
  double urls = 0, spaces = 0, parentheses = 0;                    // characters of these among all
  double han = 0;                                                  // ideographs among the visible characters
  double traditional = 0;       // traditional forms among the ideographs that have two forms
  double duplicate_13gram = 0;  // characters in repeated 13-grams of words
  double char_repetition = 0;   // share of the frequent ones among all 10-grams of characters (ROOTS, Data-Juicer)
};

// Bounds; a minimum of 0 and a maximum below 0 are off.
struct FilterRules {
  double min_chars = 0, max_chars = -1, min_words = 0, max_words = -1, min_lines = 0, max_lines = -1;
  double min_mean_word = 0, max_mean_word = -1, max_mean_line = -1, max_longest_line = -1;
  double max_symbol_words = -1, max_bullet_lines = -1, max_ellipsis_lines = -1, min_alpha_words = 0;
  double min_stop_words = 0, min_ended_lines = 0, max_short_lines = -1, min_letters = 0, max_replaced = 0.01;
  double max_duplicate_lines = -1, max_duplicate_line_chars = -1;
  double max_top_2gram = -1, max_top_3gram = -1, max_top_4gram = -1;
  double max_hash_words = -1, max_ellipsis_words = -1, max_duplicate_paragraphs = -1;
  double max_duplicate_paragraph_chars = -1, max_newline_words = -1, min_sentences = 0, min_long_lines = 0;
  double max_longest_word = -1, max_numbers = -1, max_urls = -1, max_spaces = -1, max_parentheses = -1;
  double min_han = 0, max_traditional = -1, min_mean_line = 0, max_duplicate_13gram = -1, max_char_repetition = -1;
  std::vector<double> max_duplicate_ngrams;  // for n = 5, 6, … 10
  std::vector<std::string> banned;           // a document that holds one of these is dropped
  double short_words = 0;                    // texts with fewer words: stop words and n-grams say nothing
  LineRules lines;                           // applied before the rest

  template <class F>
  void fields(F&& f) {
    f("min_chars", min_chars, "characters");
    f("max_chars", max_chars, "characters");
    f("min_words", min_words, "words (Gopher)");
    f("max_words", max_words, "words (Gopher)");
    f("min_lines", min_lines, "lines that are not blank");
    f("max_lines", max_lines, "lines that are not blank");
    f("min_mean_word", min_mean_word, "characters a word (Gopher)");
    f("max_mean_word", max_mean_word, "characters a word (Gopher)");
    f("max_mean_line", max_mean_line, "characters a line");
    f("max_longest_line", max_longest_line, "characters");
    f("max_symbol_words", max_symbol_words, "'#' and ellipses a word (Gopher)");
    f("max_bullet_lines", max_bullet_lines, "share of lines that begin with a bullet (Gopher)");
    f("max_ellipsis_lines", max_ellipsis_lines, "share of lines that end in an ellipsis (Gopher)");
    f("min_alpha_words", min_alpha_words, "share of words that hold a letter (Gopher)");
    f("min_stop_words", min_stop_words, "different stop words that occur (Gopher)");
    f("min_ended_lines", min_ended_lines, "share of lines that end in punctuation (FineWeb)");
    f("max_short_lines", max_short_lines, "share of lines of at most 30 characters (FineWeb)");
    f("min_letters", min_letters, "share of letters, digits and ideographs among the visible characters");
    f("max_replaced", max_replaced, "share of characters that were not valid UTF-8");
    f("max_duplicate_lines", max_duplicate_lines, "share of repeated lines (Gopher)");
    f("max_duplicate_line_chars", max_duplicate_line_chars, "share of characters in repeated lines (Gopher)");
    f("max_top_2gram", max_top_2gram, "share of characters in the most frequent 2-gram (Gopher)");
    f("max_top_3gram", max_top_3gram, "the same for 3-grams");
    f("max_top_4gram", max_top_4gram, "the same for 4-grams");
    f("max_duplicate_ngrams", max_duplicate_ngrams, "share of characters in repeated 5- to 10-grams (Gopher)");
    f("max_hash_words", max_hash_words, "'#' a word (Gopher)");
    f("max_ellipsis_words", max_ellipsis_words, "ellipses a word (Gopher)");
    f("max_duplicate_paragraphs", max_duplicate_paragraphs, "share of repeated paragraphs (Gopher)");
    f("max_duplicate_paragraph_chars", max_duplicate_paragraph_chars, "share of characters in them (Gopher)");
    f("max_newline_words", max_newline_words, "line ends a word (FineWeb)");
    f("min_sentences", min_sentences, "sentences that end (C4)");
    f("min_long_lines", min_long_lines, "lines of at least 200 characters (mC4)");
    f("max_longest_word", max_longest_word, "characters between spaces (NeMo)");
    f("max_numbers", max_numbers, "share of digits among the visible characters (NeMo)");
    f("max_urls", max_urls, "share of characters in addresses (NeMo)");
    f("max_spaces", max_spaces, "share of white space (NeMo)");
    f("max_parentheses", max_parentheses, "share of parentheses (NeMo)");
    f("min_han", min_han, "share of ideographs among the visible characters (EvalWeb)");
    f("max_traditional", max_traditional, "share of traditional forms among ideographs that have two (EvalWeb)");
    f("min_mean_line", min_mean_line, "characters a line (EvalWeb)");
    f("max_duplicate_13gram", max_duplicate_13gram, "share of characters in repeated 13-grams (EvalWeb)");
    f("max_char_repetition", max_char_repetition, "share of frequent 10-grams of characters (Data-Juicer)");
    f("lines", lines, "");
    f("short_words", short_words, "texts with fewer words are not judged by stop words and n-grams");
    f("banned", banned, "texts that no document may hold (C4)");
  }
};

FilterRules english_rules();
FilterRules chinese_rules();
FilterRules code_rules();

// Measures what `rules` needs: n-grams only where some n-gram rule is on.
TextStats measure(std::string_view text, const FilterRules& rules, bool chinese);

struct Verdict {
  std::string rule;  // "" = keep
  double value = 0, limit = 0;
};
Verdict judge(std::string_view text, const FilterRules& rules, bool chinese);

}  // namespace puyu
