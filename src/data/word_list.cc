#include "data/word_list.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>

#include "base/check.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/utf8.h"
#include "data/ascii.h"
#include "text/unicode.h"

namespace puyu {
namespace {

constexpr size_t kWindow = 100;  // bytes between a word and what must stand near it

constexpr std::array<unsigned char, 256> kLower = [] {
  std::array<unsigned char, 256> t{};
  for (size_t i = 0; i < 256; ++i) t[i] = static_cast<unsigned char>(i >= 'A' && i <= 'Z' ? i + 32 : i);
  return t;
}();
unsigned char lower_byte(char c) { return kLower[static_cast<unsigned char>(c)]; }

bool is_word_char(char32_t c) { return (is_letter(c) || is_digit(c) || c == '_') && !is_han(c) && !is_kana(c); }

char32_t char_before(std::string_view s, size_t i) {
  if (i == 0) return ' ';
  do --i;
  while (i > 0 && (s[i] & 0xc0) == 0x80);
  char32_t c = ' ';
  return decode_utf8(s, i, c) ? c : U' ';
}
char32_t char_at(std::string_view s, size_t i) {
  char32_t c = ' ';
  return i < s.size() && decode_utf8(s, i, c) ? c : U' ';
}

std::vector<std::string_view> split(std::string_view s, char by) {
  std::vector<std::string_view> out;
  for (size_t at = 0; at <= s.size();) {
    size_t end = std::min(s.find(by, at), s.size());
    out.push_back(s.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

}  // namespace

// In the order of adding; a word added twice is one word.
uint32_t WordList::intern(std::string_view text) {
  std::string key = lower_ascii(normalize_nfc(text));
  Word w;
  w.whole_begin = is_word_char(char_at(key, 0)), w.whole_end = is_word_char(char_before(key, key.size()));
  w.text = std::move(key);
  words_.push_back(std::move(w));
  return static_cast<uint32_t>(words_.size() - 1);
}

void WordList::add_file(const std::string& path) { add(read_file(path), path); }

void WordList::add(std::string_view text, const std::string& where) {
  CHECK(cells_.empty(), "words are added before build()");
  checksum_ = hash64(text, checksum_ + 1);
  int64_t number = 0;
  for (std::string_view line : split(text, '\n')) {
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with('#')) continue;
    if (!valid_utf8(line)) fail("[data] ", where, ":", number, ": not valid UTF-8");
    auto fields = split(line, '\t');
    bool exception = fields[0].starts_with('!');
    std::string_view word = trim_ascii(fields[0].substr(exception));
    if (word.empty()) fail("[data] ", where, ":", number, ": expected a word, got '", line, "'");
    double weight = 1;
    if (fields.size() > 1) {
      auto [end, error] = std::from_chars(fields[1].data(), fields[1].data() + fields[1].size(), weight);
      if (error != std::errc() || end != fields[1].data() + fields[1].size() || !(weight > 0 && weight < 1e9))
        fail("[data] ", where, ":", number, ": expected a weight above 0, got '", fields[1], "'");
    }
    std::vector<uint32_t> with;
    if (fields.size() > 2) {
      if (!fields[2].starts_with("with=") || fields.size() > 3 || exception)
        fail("[data] ", where, ":", number, ": expected WORD, WEIGHT and with=A|B, got '", line, "'");
      for (std::string_view near : split(fields[2].substr(5), '|')) {
        if (trim_ascii(near).empty()) fail("[data] ", where, ":", number, ": an empty word in '", fields[2], "'");
        with.push_back(intern(trim_ascii(near)));
      }
    }
    Word& w = words_[intern(word)];
    w.counts = !exception, w.is_exception = exception, w.weight = weight, w.with = std::move(with);
  }
}

int32_t WordList::child(int32_t s, unsigned char c) const {
  auto at = static_cast<size_t>(cells_[s].base + c);
  return at < cells_.size() && cells_[at].check == s ? static_cast<int32_t>(at) : -1;
}

// Finds the first base at which every child's cell is free.
void WordList::place_children(int32_t state, const std::vector<unsigned char>& children) {
  while (first_free_ < cells_.size() && cells_[first_free_].check >= 0) ++first_free_;
  for (size_t at = first_free_;; ++at) {
    if (at < cells_.size() && cells_[at].check >= 0) continue;
    if (at < static_cast<size_t>(children[0]) + 1) continue;  // a base is at least 1
    size_t base = at - children[0];
    auto taken = [&](unsigned char c) { return base + c < cells_.size() && cells_[base + c].check >= 0; };
    if (std::any_of(children.begin(), children.end(), taken)) continue;
    if (cells_.size() < base + 256) cells_.resize(base + 256);
    cells_[state].base = static_cast<int32_t>(base);
    for (unsigned char c : children) cells_[base + c].check = state;
    // A full neighbourhood is not searched again by every later state.
    if (at > first_free_ + 4096) first_free_ = at - 4096;
    return;
  }
}

void WordList::build() {
  // One word a text: exceptions, counted words and contexts of the same text join.
  std::vector<uint32_t> order(words_.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return words_[a].text < words_[b].text; });
  std::vector<Word> unique;
  std::vector<uint32_t> number(words_.size());
  for (uint32_t i : order) {
    Word& w = words_[i];
    if (unique.empty() || unique.back().text != w.text) {
      unique.push_back(w);
    } else if (Word& u = unique.back(); w.counts || w.is_exception) {
      bool was = u.counts, exception = u.is_exception || w.is_exception;
      if (w.counts) u = was && u.with.empty() ? u : w;
      u.is_exception = exception;
    }
    number[i] = static_cast<uint32_t>(unique.size() - 1);
  }
  for (Word& w : unique) {
    longest_ = std::max(longest_, w.text.size());
    for (uint32_t& other : w.with) other = number[other];
  }
  words_ = std::move(unique);
  counted_ = static_cast<size_t>(std::count_if(words_.begin(), words_.end(), [](const Word& w) { return w.counts; }));
  cells_.assign(512, {});
  cells_[0].check = 0, cells_[0].base = 1;
  struct Node {
    int32_t state;
    size_t from, to, depth;  // the words that go through it
  };
  std::vector<Node> queue = {{0, 0, words_.size(), 0}};
  for (size_t q = 0; q < queue.size(); ++q) {
    auto [state, from, to, depth] = queue[q];
    if (from < to && words_[from].text.size() == depth) cells_[state].word = static_cast<int32_t>(from++);
    std::vector<unsigned char> children;
    for (size_t i = from; i < to; ++i)
      if (auto c = static_cast<unsigned char>(words_[i].text[depth]); children.empty() || children.back() != c)
        children.push_back(c);
    if (children.empty()) continue;
    place_children(state, children);
    for (size_t i = from; i < to;) {
      auto c = static_cast<unsigned char>(words_[i].text[depth]);
      size_t end = i;
      while (end < to && static_cast<unsigned char>(words_[end].text[depth]) == c) ++end;
      int32_t s = cells_[state].base + c;
      cells_[s].fail = state == 0 ? 0 : step(cells_[state].fail, c);
      queue.push_back({s, i, end, depth + 1});
      i = end;
    }
  }
  for (const Node& n : queue)  // breadth first: a state's failure is done before it
    if (int32_t f = cells_[n.state].fail; n.state) cells_[n.state].suffix = cells_[f].word >= 0 ? f : cells_[f].suffix;
}

int32_t WordList::step(int32_t s, unsigned char c) const {
  for (;;) {
    if (int32_t next = child(s, c); next > 0) return next;
    if (s == 0) return 0;
    s = cells_[s].fail;
  }
}

bool WordList::at_boundaries(std::string_view text, const WordHit& h) const {
  const Word& w = words_[h.word];
  return !(w.whole_begin && is_word_char(char_before(text, h.begin))) &&
         !(w.whole_end && is_word_char(char_at(text, h.end)));
}

std::vector<WordHit> WordList::find_all(std::string_view text) const {
  std::vector<WordHit> out;
  if (cells_.empty()) return out;
  int32_t s = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    s = step(s, lower_byte(text[i]));
    for (int32_t m = cells_[s].word >= 0 ? s : cells_[s].suffix; m > 0; m = cells_[m].suffix) {
      auto word = static_cast<uint32_t>(cells_[m].word);
      WordHit h{i + 1 - words_[word].text.size(), i + 1, word};
      if (at_boundaries(text, h)) out.push_back(h);
    }
  }
  return out;
}

// Whether a word of hits[i]'s `with` stands near it; hits are in order of their begin.
bool WordList::stands_near(const std::vector<WordHit>& hits, size_t i) const {
  const WordHit& h = hits[i];
  const std::vector<uint32_t>& with = words_[h.word].with;
  size_t from = i;
  while (from > 0 && hits[from - 1].begin + longest_ + kWindow >= h.begin) --from;
  for (size_t k = from; k < hits.size() && hits[k].begin <= h.end + kWindow; ++k)
    if (hits[k].end + kWindow >= h.begin && std::find(with.begin(), with.end(), hits[k].word) != with.end())
      return true;
  return false;
}

WordScore WordList::score(std::string_view text) const {
  WordScore out;
  std::vector<WordHit> hits = find_all(text);
  if (hits.empty()) return out;
  std::sort(hits.begin(), hits.end(),
            [](auto& a, auto& b) { return std::pair(a.begin, b.end) < std::pair(b.begin, a.end); });
  size_t covered = 0, excused_from = 0, excused_to = 0;
  for (size_t i = 0; i < hits.size(); ++i) {
    const WordHit& h = hits[i];
    const Word& w = words_[h.word];
    // Sorted by begin, so the exception that reaches farthest is the one that may hold what comes later.
    if (w.is_exception && h.end > excused_to) excused_from = h.begin, excused_to = h.end;
    if (!w.counts || h.begin < covered || (h.begin >= excused_from && h.end <= excused_to)) continue;
    if (!w.with.empty() && !stands_near(hits, i)) continue;
    if (out.hits++ == 0) out.first = w.text;
    out.weight += w.weight, out.bytes += static_cast<int64_t>(h.end - h.begin), covered = h.end;
  }
  return out;
}

}  // namespace puyu
