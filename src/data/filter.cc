#include "data/filter.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <unordered_map>

#include "base/hash.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "data/han_forms.h"
#include "data/words.h"
#include "text/unicode.h"

namespace puyu {
namespace {

struct Rule {
  const char* name;
  double TextStats::* value;
  double FilterRules::* limit;
  bool is_minimum;
};
using S = TextStats;
using R = FilterRules;
constexpr Rule kRules[] = {
    {"min_chars", &S::chars, &R::min_chars, true},
    {"max_chars", &S::chars, &R::max_chars, false},
    {"min_words", &S::words, &R::min_words, true},
    {"max_words", &S::words, &R::max_words, false},
    {"min_lines", &S::lines, &R::min_lines, true},
    {"max_lines", &S::lines, &R::max_lines, false},
    {"max_replaced", &S::replaced, &R::max_replaced, false},
    {"min_mean_word", &S::mean_word, &R::min_mean_word, true},
    {"max_mean_word", &S::mean_word, &R::max_mean_word, false},
    {"max_mean_line", &S::mean_line, &R::max_mean_line, false},
    {"max_longest_line", &S::longest_line, &R::max_longest_line, false},
    {"max_symbol_words", &S::symbol_words, &R::max_symbol_words, false},
    {"max_bullet_lines", &S::bullet_lines, &R::max_bullet_lines, false},
    {"max_ellipsis_lines", &S::ellipsis_lines, &R::max_ellipsis_lines, false},
    {"min_alpha_words", &S::alpha_words, &R::min_alpha_words, true},
    {"min_stop_words", &S::stop_words, &R::min_stop_words, true},
    {"min_ended_lines", &S::ended_lines, &R::min_ended_lines, true},
    {"max_short_lines", &S::short_lines, &R::max_short_lines, false},
    {"min_letters", &S::letters, &R::min_letters, true},
    {"max_duplicate_lines", &S::duplicate_lines, &R::max_duplicate_lines, false},
    {"max_duplicate_line_chars", &S::duplicate_line_chars, &R::max_duplicate_line_chars, false},
    {"max_top_2gram", &S::top_2gram, &R::max_top_2gram, false},
    {"max_top_3gram", &S::top_3gram, &R::max_top_3gram, false},
    {"max_top_4gram", &S::top_4gram, &R::max_top_4gram, false},
    {"max_hash_words", &S::hash_words, &R::max_hash_words, false},
    {"max_ellipsis_words", &S::ellipsis_words, &R::max_ellipsis_words, false},
    {"max_duplicate_paragraphs", &S::duplicate_paragraphs, &R::max_duplicate_paragraphs, false},
    {"max_duplicate_paragraph_chars", &S::duplicate_paragraph_chars, &R::max_duplicate_paragraph_chars, false},
    {"max_newline_words", &S::newline_words, &R::max_newline_words, false},
    {"min_sentences", &S::sentences, &R::min_sentences, true},
    {"min_long_lines", &S::long_lines, &R::min_long_lines, true},
    {"max_longest_word", &S::longest_word, &R::max_longest_word, false},
    {"max_numbers", &S::numbers, &R::max_numbers, false},
    {"max_urls", &S::urls, &R::max_urls, false},
    {"max_spaces", &S::spaces, &R::max_spaces, false},
    {"max_parentheses", &S::parentheses, &R::max_parentheses, false},
    {"min_han", &S::han, &R::min_han, true},
    {"max_traditional", &S::traditional, &R::max_traditional, false},
    {"min_mean_line", &S::mean_line, &R::min_mean_line, true},
    {"max_duplicate_13gram", &S::duplicate_13gram, &R::max_duplicate_13gram, false},
    {"max_char_repetition", &S::char_repetition, &R::max_char_repetition, false}};

constexpr std::string_view kEnglishStops[] = {"the", "be", "to", "of", "and", "that", "have", "with"};
constexpr std::string_view kChineseStops[] = {"的", "年", "在", "月", "是", "和", "日", "了", "於", "·",  "为",
                                              "有", "被", "人", "中", "為", "他", "與", "後", "也", "而", "由"};

std::string_view trim(std::string_view s) {
  size_t from = s.find_first_not_of(" \t");
  return from == std::string_view::npos ? std::string_view{} : s.substr(from, s.find_last_not_of(" \t") - from + 1);
}

size_t count_chars(std::string_view s) {
  return static_cast<size_t>(std::count_if(s.begin(), s.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

char32_t last_char(std::string_view line) {
  size_t i = line.size();
  while (i > 0 && (line[--i] & 0xc0) == 0x80) {}
  char32_t c = 0;
  return decode_utf8(line, i, c) ? c : 0;
}

bool begins_with_bullet(std::string_view line) {
  return line.starts_with("•") || line.starts_with("- ") || line.starts_with("* ") || line.starts_with("·");
}

void measure_lines(std::string_view text, TextStats& s) {
  std::unordered_map<uint64_t, int> seen;
  double chars = 0, bullets = 0, ellipses = 0, ended = 0, brief = 0, repeated = 0, repeated_chars = 0;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = trim(text.substr(at, end - at));
    at = end + 1;
    if (line.empty()) continue;
    auto n = static_cast<double>(count_chars(line));
    ++s.lines, chars += n;
    s.longest_line = std::max(s.longest_line, n);
    bullets += begins_with_bullet(line);
    ellipses += line.ends_with("...") || line.ends_with("…");
    ended += is_terminal(last_char(line));
    brief += n <= 30, s.long_lines += n >= 200;
    if (seen[hash64(line)]++ > 0) ++repeated, repeated_chars += n;
  }
  if (s.lines == 0) return;
  s.mean_line = chars / s.lines, s.bullet_lines = bullets / s.lines, s.ellipsis_lines = ellipses / s.lines;
  s.ended_lines = ended / s.lines, s.short_lines = brief / s.lines;
  s.duplicate_lines = repeated / s.lines, s.duplicate_line_chars = repeated_chars / chars;
}

void measure_words(const std::vector<Word>& words, bool chinese, TextStats& s) {
  double chars = 0, alpha = 0;
  std::array<bool, std::size(kChineseStops)> found{};
  auto* stops = chinese ? kChineseStops : kEnglishStops;
  size_t stop_count = chinese ? std::size(kChineseStops) : std::size(kEnglishStops);
  for (const Word& w : words) {
    chars += w.chars, alpha += w.has_letter;
    if (w.text.size() > 4) continue;
    for (size_t i = 0; i < stop_count; ++i)
      if (!found[i] && same_ignoring_case(w.text, stops[i])) found[i] = true;
  }
  s.words = static_cast<double>(words.size());
  if (words.empty()) return;
  s.mean_word = chars / s.words, s.alpha_words = alpha / s.words;
  s.stop_words = static_cast<double>(std::count(found.begin(), found.end(), true));
}

// n-gram hashes by position, each built from the (n-1)-grams.
void extend_ngrams(const std::vector<Word>& words, size_t n, std::vector<uint64_t>& grams) {
  size_t count = words.size() >= n ? words.size() - n + 1 : 0;
  for (size_t i = 0; i < count; ++i) grams[i] = mix64(grams[i] ^ (words[i + n - 1].hash + n));
  grams.resize(count);
}

// Open addressing: how often each hash occurred.
class Counter {
 public:
  explicit Counter(size_t n) {
    size_t size = 16;
    while (size < n * 2) size *= 2;
    keys_.resize(size), counts_.resize(size);
  }
  uint32_t& operator[](uint64_t key) {
    size_t mask = keys_.size() - 1, i = key & mask;
    while (counts_[i] && keys_[i] != key) i = (i + 1) & mask;
    keys_[i] = key;
    return counts_[i];
  }

 private:
  std::vector<uint64_t> keys_;
  std::vector<uint32_t> counts_;
};

struct WordLengths {  // characters of words [from, to)
  std::vector<double> sums{0};
  explicit WordLengths(const std::vector<Word>& words) {
    sums.reserve(words.size() + 1);
    for (const Word& w : words) sums.push_back(sums.back() + w.chars);
  }
  double between(size_t from, size_t to) const { return sums[to] - sums[from]; }
};

double top_share(const std::vector<uint64_t>& grams, size_t n, const WordLengths& lengths) {
  Counter counts(grams.size());
  uint32_t most = 1;
  double chars = 0;
  for (size_t i = 0; i < grams.size(); ++i)
    if (uint32_t c = ++counts[grams[i]]; c > most) most = c, chars = lengths.between(i, i + n) * c;
  return chars / lengths.sums.back();
}

// As Gopher counts: a repeated n-gram counts whole and the walk goes on behind it.
double duplicate_share(const std::vector<uint64_t>& grams, size_t n, const WordLengths& lengths) {
  Counter counts(grams.size());
  double chars = 0;
  for (size_t i = 0; i < grams.size();) {
    bool repeated = counts[grams[i]]++ > 0;
    if (repeated) chars += lengths.between(i, i + n);
    i += repeated ? n : 1;
  }
  return chars / lengths.sums.back();
}

// An upper bound of duplicate_share for every n >= 5: words that any repeated 5-gram covers.
double covered_share(const std::vector<uint64_t>& grams, const WordLengths& lengths) {
  Counter counts(grams.size());
  double chars = 0;
  size_t covered = 0;
  for (size_t i = 0; i < grams.size(); ++i)
    if (counts[grams[i]]++ > 0) {
      chars += lengths.between(std::max(i, covered), i + 5);
      covered = i + 5;
    }
  return chars / lengths.sums.back();
}

// Grams of n words straight away.
std::vector<uint64_t> ngrams_of(const std::vector<Word>& words, size_t n) {
  std::vector<uint64_t> grams(words.size());
  for (size_t i = 0; i < words.size(); ++i) grams[i] = words[i].hash;
  for (size_t k = 2; k <= n && !grams.empty(); ++k) extend_ngrams(words, k, grams);
  return grams;
}

void measure_ngrams(const std::vector<Word>& words, const FilterRules& rules, TextStats& s) {
  WordLengths lengths(words);
  std::vector<uint64_t> grams(words.size());
  for (size_t i = 0; i < words.size(); ++i) grams[i] = words[i].hash;
  double S::* const tops[] = {&S::top_2gram, &S::top_3gram, &S::top_4gram};
  for (size_t n = 2; n <= 4 && words.size() >= n; ++n) {
    extend_ngrams(words, n, grams);
    s.*tops[n - 2] = top_share(grams, n, lengths);
  }
  if (rules.max_duplicate_ngrams.empty() || words.size() < 5) return;
  double least = *std::min_element(rules.max_duplicate_ngrams.begin(), rules.max_duplicate_ngrams.end());
  for (size_t n = 5; n < 5 + std::min<size_t>(6, rules.max_duplicate_ngrams.size()) && words.size() >= n; ++n) {
    extend_ngrams(words, n, grams);
    if (n == 5 && covered_share(grams, lengths) <= least) return;  // no rule can fire
    s.duplicate_ngrams[n - 5] = duplicate_share(grams, n, lengths);
  }
}

// What one pass over the characters counts.
struct CharCounts {
  double visible = 0, letters = 0, replaced = 0, hashes = 0, ellipses = 0, digits = 0, parentheses = 0, han = 0;
  double newlines = 0, word = 0, traditional = 0, simplified = 0;
};

void count_char(char32_t c, bool forms, CharCounts& n, TextStats& s) {
  ++s.chars;
  n.newlines += c == '\n';
  if (c == ' ' || c == '\n' || c == '\t') {
    n.word = 0;
    return;
  }
  ++n.visible, ++n.word;
  s.longest_word = std::max(s.longest_word, n.word);
  bool digit = is_digit(c), ideograph = is_han(c);
  n.letters += digit || is_letter(c);
  n.digits += digit, n.han += ideograph;
  n.replaced += c == 0xfffd, n.hashes += c == '#', n.ellipses += c == U'…';
  n.parentheses += c == '(' || c == ')' || c == U'（' || c == U'）';
  if (forms && ideograph) n.traditional += is_traditional(c), n.simplified += is_simplified(c);
}

double url_chars(std::string_view text) {
  double chars = 0;
  for (size_t at = text.find("http"); at != std::string_view::npos; at = text.find("http", at + 1)) {
    std::string_view rest = text.substr(at);
    if (!rest.starts_with("http://") && !rest.starts_with("https://")) continue;
    size_t n = std::min(rest.find_first_of(" \t\n<>\""), rest.size());
    chars += static_cast<double>(count_chars(rest.substr(0, n)));
    at += n - 1;
  }
  return chars;
}

void measure_chars(std::string_view text, const FilterRules& rules, TextStats& s) {
  CharCounts n;
  for (size_t i = 0; i < text.size();) {
    char32_t c = static_cast<unsigned char>(text[i]);
    i += c < 0x80 ? 1 : std::max<size_t>(1, decode_utf8(text, i, c));
    count_char(c, rules.max_traditional >= 0, n, s);
  }
  for (size_t at = text.find("..."); at != std::string_view::npos; at = text.find("...", at + 3)) ++n.ellipses;
  if (n.visible > 0) {
    s.letters = n.letters / n.visible, s.replaced = n.replaced / n.visible;
    s.numbers = n.digits / n.visible, s.han = n.han / n.visible;
  }
  if (s.chars > 0) {
    s.spaces = (s.chars - n.visible) / s.chars, s.parentheses = n.parentheses / s.chars;
    s.urls = url_chars(text) / s.chars;
  }
  if (n.traditional + n.simplified > 0) s.traditional = n.traditional / (n.traditional + n.simplified);
  // measure() divides these by the words
  s.symbol_words = n.hashes + n.ellipses, s.hash_words = n.hashes, s.ellipsis_words = n.ellipses;
  s.newline_words = n.newlines;
}

void measure_paragraphs(std::string_view text, TextStats& s) {
  std::unordered_map<uint64_t, int> seen;
  double count = 0, repeated = 0, chars = 0, repeated_chars = 0;
  for (size_t at = text.find_first_not_of('\n'); at < text.size();) {
    size_t end = std::min(text.find("\n\n", at), text.size());
    std::string_view paragraph = text.substr(at, end - at);
    at = text.find_first_not_of('\n', end);
    auto n = static_cast<double>(count_chars(paragraph));
    ++count, chars += n;
    if (seen[hash64(paragraph)]++ > 0) ++repeated, repeated_chars += n;
  }
  if (count > 0) s.duplicate_paragraphs = repeated / count, s.duplicate_paragraph_chars = repeated_chars / chars;
}

// Ends of sentences: a mark that a space, a quotation mark or nothing follows; Chinese marks always.
double count_sentences(std::string_view text) {
  double count = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '.' || c == '?' || c == '!') {
      size_t next = std::min(text.find_first_not_of(".?!", i), text.size());
      count += next == text.size() || text.find_first_of(" \n\"')]", next) == next || text.compare(next, 3, "”") == 0;
      i = next - 1;
    } else if (c == '\xe3' || c == '\xef') {
      std::string_view mark = text.substr(i, 3);
      count += mark == "。" || mark == "！" || mark == "？";
    }
  }
  return count;
}

// ROOTS: of the 10-grams of characters, how much the most frequent ones take: as many as the square root of all
// different ones, but only those that occur more than once.
double char_repetition(std::string_view text) {
  constexpr size_t kGram = 10;
  std::vector<size_t> starts;
  for (size_t i = 0; i < text.size(); ++i)
    if ((text[i] & 0xc0) != 0x80) starts.push_back(i);
  starts.push_back(text.size());
  std::unordered_map<uint64_t, uint32_t> counts;
  for (size_t i = 0; i + kGram < starts.size(); ++i)
    ++counts[hash64(text.substr(starts[i], starts[i + kGram] - starts[i]))];
  if (counts.empty()) return 0;
  std::vector<uint32_t> sizes;
  double all = 0, top = 0;
  for (const auto& [gram, n] : counts) {
    all += n;
    if (n > 1) sizes.push_back(n);
  }
  std::sort(sizes.begin(), sizes.end(), std::greater<>());
  auto most = static_cast<size_t>(std::sqrt(static_cast<double>(counts.size())));
  for (size_t i = 0; i < std::min(most, sizes.size()); ++i) top += sizes[i];
  return top / all;
}

}  // namespace

FilterRules english_rules() {
  FilterRules r;
  r.min_words = 20, r.max_words = 100000, r.min_mean_word = 3, r.max_mean_word = 10, r.max_symbol_words = 0.1;
  r.max_bullet_lines = 0.9, r.max_ellipsis_lines = 0.3, r.min_alpha_words = 0.8, r.min_stop_words = 2;
  r.min_ended_lines = 0.12, r.max_duplicate_lines = 0.3, r.max_duplicate_line_chars = 0.2;
  r.max_top_2gram = 0.20, r.max_top_3gram = 0.18, r.max_top_4gram = 0.16;
  r.max_duplicate_ngrams = {0.15, 0.14, 0.13, 0.12, 0.11, 0.10};
  r.banned = {"lorem ipsum", "Lorem ipsum"};
  return r;
}

FilterRules chinese_rules() {
  FilterRules r;
  r.min_chars = 16, r.short_words = 100, r.max_words = 200000, r.min_alpha_words = 0.735, r.min_stop_words = 1,
  r.min_ended_lines = 0.106;
  r.min_letters = 0.5, r.max_symbol_words = 0.1, r.max_bullet_lines = 0.9, r.max_ellipsis_lines = 0.3;
  r.max_mean_word = 5, r.max_duplicate_lines = 0.287, r.max_duplicate_line_chars = 0.2;
  r.max_top_2gram = 0.256, r.max_top_3gram = 0.201, r.max_top_4gram = 0.171;
  r.max_duplicate_ngrams = {0.198, 0.182, 0.167, 0.154, 0.140, 0.127};
  return r;
}

FilterRules code_rules() {
  FilterRules r;
  r.min_chars = 100, r.min_lines = 5, r.max_lines = 20000, r.max_mean_line = 100, r.max_longest_line = 1000;
  r.min_letters = 0.4;
  return r;
}

TextStats measure(std::string_view text, const FilterRules& rules, bool chinese) {
  TextStats s;
  measure_chars(text, rules, s);
  measure_lines(text, s);
  std::vector<Word> words = split_words(text);
  measure_words(words, chinese, s);
  for (double TextStats::* rate : {&S::symbol_words, &S::hash_words, &S::ellipsis_words, &S::newline_words})
    s.*rate /= std::max(1.0, s.words);
  if (rules.max_duplicate_paragraphs >= 0 || rules.max_duplicate_paragraph_chars >= 0) measure_paragraphs(text, s);
  if (rules.min_sentences > 0) s.sentences = count_sentences(text);
  if (rules.max_char_repetition >= 0) s.char_repetition = char_repetition(text);
  if (rules.max_duplicate_13gram >= 0 && words.size() >= 13)
    s.duplicate_13gram = duplicate_share(ngrams_of(words, 13), 13, WordLengths(words));
  bool wants_ngrams = rules.max_top_2gram >= 0 || rules.max_top_3gram >= 0 || rules.max_top_4gram >= 0 ||
                      !rules.max_duplicate_ngrams.empty();
  if (s.words < rules.short_words)
    s.stop_words = rules.min_stop_words;
  else if (wants_ngrams)
    measure_ngrams(words, rules, s);
  return s;
}

Verdict judge(std::string_view text, const FilterRules& rules, bool chinese) {
  TextStats s = measure(text, rules, chinese);
  for (const Rule& r : kRules) {
    double value = s.*r.value, limit = rules.*r.limit;
    if (r.is_minimum ? value < limit : limit >= 0 && value > limit) return {r.name, value, limit};
  }
  for (size_t i = 0; i < std::min<size_t>(6, rules.max_duplicate_ngrams.size()); ++i)
    if (s.duplicate_ngrams[i] > rules.max_duplicate_ngrams[i])
      return {"max_duplicate_" + std::to_string(i + 5) + "gram", s.duplicate_ngrams[i], rules.max_duplicate_ngrams[i]};
  for (const std::string& text_banned : rules.banned)
    if (text.find(text_banned) != std::string_view::npos) return {"banned", 1, 0};
  return {};
}

}  // namespace puyu
