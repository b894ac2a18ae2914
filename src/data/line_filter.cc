#include "data/line_filter.h"

#include <algorithm>
#include <functional>

#include "base/utf8.h"
#include "data/ascii.h"
#include "data/words.h"
#include "text/unicode.h"

namespace puyu {
namespace {

constexpr size_t kCallWords = 10;  // longer lines are text, whatever they begin with

bool ends_well(std::string_view line) {
  if (line.ends_with("...") || line.ends_with("…")) return false;
  for (std::string_view end : {".", "?", "!", "\"", "'", "。", "？", "！", "”", "’", "」", "』"})
    if (line.ends_with(end)) return true;
  return false;
}

struct LetterCounts {
  double letters = 0, capitals = 0, digits = 0, others = 0;
  size_t longest_word = 0;  // characters between spaces
};

LetterCounts count_letters(std::string_view line) {
  LetterCounts n;
  size_t word = 0;
  for (size_t i = 0; i < line.size();) {
    char32_t c = 0;
    size_t length = decode_utf8(line, i, c);
    i += length ? length : 1;
    bool space = c == ' ' || c == '\t';
    word = space ? 0 : word + 1;
    n.longest_word = std::max(n.longest_word, word);
    if (is_letter(c))
      ++n.letters, n.capitals += is_upper(c);
    else if (is_digit(c))
      ++n.digits;
  }
  return n;
}

// "3 likes", "12 Comments", "1,204 shares"
bool is_counter(std::string_view line) {
  size_t digits = line.find_first_not_of("0123456789.,kKmM+ ");
  if (digits == 0 || digits == std::string_view::npos || line[0] < '0' || line[0] > '9') return false;
  std::string what = lower_ascii(line.substr(digits));
  constexpr std::string_view kCounted[] = {"like",  "likes",  "share",     "shares",   "comment",   "comments", "view",
                                           "views", "reply",  "replies",   "follower", "followers", "retweets", "votes",
                                           "vote",  "points", "downloads", "reviews",  "reads"};
  return std::find(std::begin(kCounted), std::end(kCounted), what) != std::end(kCounted);
}

bool is_call(std::string_view line) {
  std::string s = lower_ascii(line);
  for (std::string_view begin : {"sign-in", "sign in", "sign up", "log in", "login"})
    if (s.starts_with(begin)) return true;
  for (std::string_view end : {"read more", "read more...", "read more…", "read more.", "阅读全文", "查看更多"})
    if (s.ends_with(end)) return true;
  return s.find("items in cart") != std::string::npos || s.find("item in cart") != std::string::npos;
}

// [1], [23], [edit], [citation needed]; true when there were some.
bool strip_citations(std::string& line) {
  std::string out;
  for (size_t i = 0; i < line.size();) {
    size_t open = std::min(line.find('[', i), line.size());
    out.append(line, i, open - i);
    i = open;
    if (open == line.size()) break;
    size_t close = line.find(']', open);
    std::string inside = close == std::string::npos ? "" : lower_ascii(line.substr(open + 1, close - open - 1));
    bool number = !inside.empty() && inside.find_first_not_of("0123456789") == std::string::npos;
    if (number || inside == "edit" || inside == "citation needed")
      i = close + 1;
    else
      out += line[i++];
  }
  bool changed = out.size() != line.size();
  while (changed && out.ends_with(' ')) out.pop_back();
  line = std::move(out);
  return changed;
}

// The rule that drops the line, or "".
const char* judge_line(std::string_view line, size_t words, const LineRules& r) {
  LetterCounts n = count_letters(line);
  if (r.max_word_chars >= 0 && static_cast<double>(n.longest_word) > r.max_word_chars) return "line_max_word_chars";
  if (r.numeric && n.letters == 0 && n.digits > 0) return "line_numeric";
  if (r.counters && is_counter(line)) return "line_counters";
  if (r.one_word && words <= 1) return "line_one_word";
  if (r.calls && words <= kCallWords && is_call(line)) return "line_calls";
  if (r.max_uppercase >= 0 && n.letters > 0 && n.capitals / n.letters > r.max_uppercase) return "line_max_uppercase";
  if (static_cast<double>(words) < r.min_words) return "line_min_words";
  if (r.terminal_punctuation && !ends_well(line)) return "line_terminal_punctuation";
  return "";
}

// Puts the text together anew from the lines that keep(line) lets stay (it may change them).
void rebuild(std::string& text, const std::function<bool(std::string&)>& keep) {
  std::string out, line;
  bool changed = false;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    line.assign(text, at, end - at);
    bool stays = keep(line);
    changed |= !stays || line.size() != end - at;
    if (stays) out.append(line) += '\n';
    at = end + 1;
  }
  if (!changed) return;
  while (out.ends_with('\n')) out.pop_back();
  text = std::move(out);
}

}  // namespace

LineChanges filter_lines(std::string& text, const LineRules& r) {
  LineChanges out;
  bool any = r.terminal_punctuation || r.citations || r.numeric || r.counters || r.one_word || r.calls ||
             r.min_words > 0 || r.max_word_chars >= 0 || r.max_uppercase >= 0;
  if (!any) return out;
  rebuild(text, [&](std::string& line) {
    if (trim_ascii(line).empty()) return true;
    if (r.citations && strip_citations(line)) ++out.lines["line_citations"];
    size_t words = split_words(line).size();
    out.words += static_cast<double>(words);
    std::string rule = judge_line(trim_ascii(line), words, r);
    if (rule.empty()) return true;
    ++out.lines[rule], out.removed_words += static_cast<double>(words);
    return false;
  });
  return out;
}

int64_t remove_policy_lines(std::string& text) {
  constexpr std::string_view kPhrases[] = {"javascript",   "terms of use",   "privacy policy", "cookie policy",
                                           "uses cookies", "use of cookies", "use cookies"};
  int64_t removed = 0;
  rebuild(text, [&](std::string& line) {
    if (line.size() >= 300) return true;
    std::string lower = lower_ascii(line);
    bool policy = std::any_of(std::begin(kPhrases), std::end(kPhrases),
                              [&](std::string_view p) { return lower.find(p) != std::string::npos; });
    removed += policy;
    return !policy;
  });
  return removed;
}

}  // namespace puyu
