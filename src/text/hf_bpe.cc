#include "text/hf_bpe.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "base/utf8.h"
#include "text/chunk_cache.h"
#include "text/unicode.h"

namespace puyu {
namespace {

constexpr uint64_t kEmpty = ~uint64_t{0};
constexpr uint64_t kMix = 0x9E3779B97F4A7C15ull;
constexpr size_t kCachedWord = 16;  // longer words seldom come again; their parts may

uint64_t key_of(int32_t left, int32_t right) {
  return static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
}
size_t slot(uint64_t key, size_t table_size) {  // a power of two
  return (key ^ key >> 29) * kMix >> (64 - std::countr_zero(table_size));
}

size_t read_char(std::string_view s, size_t i, char32_t& c) {  // 0: no valid character here
  const auto b = static_cast<unsigned char>(s[i]);
  if (b < 0x80) return c = b, 1;
  return decode_utf8(s, i, c);
}

const std::array<char32_t, 256>& letters() {
  static const std::array<char32_t, 256> kLetters = [] {
    std::array<char32_t, 256> out{};
    char32_t next = 256;
    for (char32_t b = 0; b < 256; ++b) {
      const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
      out[b] = printable ? b : next++;
    }
    return out;
  }();
  return kLetters;
}

bool is_word_char(char32_t c) {  // \w
  return c == '_' || (unicode_category(c) &
                      (category_bits("L") | category_bits("M") | category_bits("Nd") | category_bits("Pc"))) != 0;
}
char32_t char_before(std::string_view s, size_t at) {
  char32_t c = 0;
  for (size_t n = 1; n <= std::min<size_t>(4, at); ++n)
    if (read_char(s, at - n, c) == n) return c;
  return 0xFFFD;
}
char32_t char_at(std::string_view s, size_t at) {
  char32_t c = 0;
  return read_char(s, at, c) ? c : 0xFFFD;
}
// The place before the white space that ends at `at`, but not before `from`; and after that which begins there.
size_t trim_left(std::string_view s, size_t at, size_t from) {
  while (at > from && is_white_space(char_before(s, at))) {
    size_t n = 1;
    while (at - n > from && (s[at - n] & 0xC0) == 0x80) ++n;
    at -= n;
  }
  return at;
}
size_t trim_right(std::string_view s, size_t at) {
  char32_t c = 0;
  for (size_t n; at < s.size() && (n = read_char(s, at, c)) > 0 && is_white_space(c);) at += n;
  return at;
}

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  for (size_t at; (at = text.find(from)) != text.npos; text.remove_prefix(at + from.size()))
    out.append(text.substr(0, at)).append(to);
  return out.append(text);
}

// The stretches that the pattern matches and those between: f(begin, end, is_match).
template <class F>
void each_match(const SplitPattern& p, std::string_view text, F&& f) {
  size_t begin = 0;  // of what matched nothing yet
  for (size_t at = 0; at < text.size();) {
    const size_t end = p.match(text, at);
    if (end == text.npos || end == at) {
      char32_t c = 0;
      at += std::max<size_t>(read_char(text, at, c), 1);
      continue;
    }
    if (begin < at) f(begin, at, false);
    f(at, end, true);
    begin = at = end;
  }
  if (begin < text.size()) f(begin, text.size(), false);
}

// f(begin, end) for each piece, in order.
template <class F>
void each_piece(const SplitStep& s, std::string_view text, F&& f) {
  using Behavior = SplitStep::Behavior;
  if (s.behavior == Behavior::kIsolated)
    return each_match(*s.pattern, text, [&](size_t a, size_t b, bool) { f(a, b); });
  if (s.behavior == Behavior::kRemoved)
    return each_match(*s.pattern, text, [&](size_t a, size_t b, bool match) {
      if (match == s.invert) f(a, b);
    });
  const bool previous = s.behavior == Behavior::kMergedWithPrevious;
  size_t open = 0;  // a piece that may still grow
  bool growing = false, last_matched = false;
  each_match(*s.pattern, text, [&](size_t a, size_t, bool match) {
    match ^= s.invert;
    // With previous: a match joins what stood before it, unless that ends in a match. With next: what stands before
    // joins this, if it is a match and this is none.
    const bool joins = previous ? match && !last_matched : last_matched && !match;
    if (growing && !joins) f(open, a), open = a;
    growing = true, last_matched = match;
  });
  if (growing) f(open, text.size());
}

}  // namespace

const char* const kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const char* const kCl100kPattern =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s)";

std::string bytes_to_letters(std::string_view bytes) {
  std::string out;
  for (char b : bytes) append_utf8(out, letters()[static_cast<unsigned char>(b)]);
  return out;
}

bool letters_to_bytes(std::string_view text, std::string& bytes) {
  static const std::array<int, 512> kBytes = [] {
    std::array<int, 512> out{};
    out.fill(-1);
    for (size_t b = 0; b < 256; ++b) out[letters()[b]] = static_cast<int>(b);
    return out;
  }();
  bytes.clear();
  char32_t c = 0;
  for (size_t i = 0, n = 0; i < text.size(); i += n) {
    n = read_char(text, i, c);
    if (n == 0 || c >= kBytes.size() || kBytes[c] < 0) return false;
    bytes += static_cast<char>(kBytes[c]);
  }
  return true;
}

void HfEncoder::Matcher::build() {
  for (const AddedToken& t : tokens) by_first[static_cast<unsigned char>(t.text[0])].push_back(&t);
  for (auto& list : by_first)
    std::ranges::stable_sort(list, std::ranges::greater{}, [](const AddedToken* t) { return t->text.size(); });
}

const AddedToken* HfEncoder::Matcher::at(std::string_view text, bool with_specials) const {
  for (const AddedToken* t : by_first[static_cast<unsigned char>(text[0])])
    if ((with_specials || !t->special) && text.starts_with(t->text)) return t;
  return nullptr;
}

HfEncoder::HfEncoder(const Vocabulary& v)
    : v_(v), hf_(*v.hf), words_owner_(ChunkCache::new_owner()), parts_owner_(ChunkCache::new_owner()) {
  for (AddedToken t : hf_.added) {
    Matcher& to = t.normalized ? normalized_ : raw_;
    if (t.normalized) t.text = normalized(t.text);
    if (!t.text.empty()) to.add(std::move(t));
  }
  raw_.build(), normalized_.build();
  byte_ids_.fill(-1);
  for (size_t id = 0; id < v.pieces.size(); ++id) {
    const Piece& p = v.pieces[id];
    char32_t c = 0;
    if (p.kind == PieceKind::kByte) byte_ids_[static_cast<size_t>(byte_of_piece(p.text))] = static_cast<int32_t>(id);
    if (p.kind != PieceKind::kNormal) continue;
    if (hf_.byte_level && p.text.size() == 1)
      byte_ids_[static_cast<unsigned char>(p.text[0])] = static_cast<int32_t>(id);
    else if (!hf_.byte_level && read_char(p.text, 0, c) == p.text.size())
      characters_[c] = static_cast<int32_t>(id);
  }
  add_merges();
  add_wholes();
}

void HfEncoder::add_merges() {
  merges_.assign(std::bit_ceil(std::max<size_t>(hf_.merges.size() * 2, 16)), {kEmpty, {}});
  cut_at_marks_ = !hf_.byte_level && !hf_.ignore_merges && characters_.contains(0x2581);
  for (const Merge& m : hf_.merges) {
    const uint64_t key = key_of(m.left, m.right);
    size_t i = slot(key, merges_.size());
    while (merges_[i].key != kEmpty && merges_[i].key != key) i = (i + 1) & (merges_.size() - 1);
    merges_[i] = {key, {m.rank, m.made}};  // of two equal pairs the last, as a map has it
    const std::string& made = v_.pieces[static_cast<size_t>(m.made)].text;
    if (hf_.byte_level) cuts_.add(made);
    const size_t mark = made.rfind(kSpaceMark);
    if (cut_at_marks_ && mark != made.npos && mark != 0 && replaced(made.substr(0, mark), kSpaceMark, "") != "")
      cut_at_marks_ = false;
  }
}

void HfEncoder::add_wholes() {
  std::vector<int32_t> symbols;
  for (size_t id = 0; id < v_.pieces.size(); ++id) {
    const Piece& p = v_.pieces[id];
    if (p.kind != PieceKind::kNormal) continue;
    if (!hf_.ignore_merges) {
      symbols.clear();
      symbols_of(p.text, symbols);
      join_all(symbols, [this](int32_t l, int32_t r) { return find(l, r); });
      if (symbols != std::vector{static_cast<int32_t>(id)}) continue;
    }
    wholes_.emplace(p.text, static_cast<int32_t>(id));
    if (hf_.byte_level) cuts_.add(p.text);
  }
}

Join HfEncoder::find(int32_t left, int32_t right) const {
  const uint64_t key = key_of(left, right);
  for (size_t i = slot(key, merges_.size()); merges_[i].key != kEmpty; i = (i + 1) & (merges_.size() - 1))
    if (merges_[i].key == key) return merges_[i].join;
  return {};
}

// Text between added tokens, and the tokens: leftmost, then longest, as tokenizers' extract_and_normalize.
void HfEncoder::each_part(const Matcher& m, std::string_view text, bool with_specials, const Part& part) {
  size_t start = 0;
  auto plain = [&](size_t end) {
    if (start < end) part(text.substr(start, end - start), nullptr, start == 0);
  };
  for (size_t i = 0; !m.empty() && i < text.size();) {
    const AddedToken* t =
        m.by_first[static_cast<unsigned char>(text[i])].empty() ? nullptr : m.at(text.substr(i), with_specials);
    if (!t) {
      ++i;
      continue;
    }
    size_t begin = i, end = i + t->text.size();
    const bool inside = (begin > 0 && is_word_char(char_before(text, begin))) ||
                        (end < text.size() && is_word_char(char_at(text, end)));
    if (t->single_word && inside) {
      i = end;
      continue;
    }
    if (t->lstrip) begin = trim_left(text, begin, start);
    if (t->rstrip) end = trim_right(text, end);
    plain(begin);
    part(t->text, t, begin == 0);
    start = i = end;
  }
  plain(text.size());
}

std::string HfEncoder::normalized(std::string_view text) const {
  std::string s(text);
  for (const NormalizeStep& n : hf_.normalize)
    if (n.kind == NormalizeStep::Kind::kNfc)
      s = normalize_nfc(s);
    else if (n.kind == NormalizeStep::Kind::kReplace)
      s = replaced(s, n.from, n.to);
    else if (!s.empty())
      s.insert(0, n.to);
  return s;
}

void HfEncoder::encode(std::string_view text, bool with_specials, std::vector<int32_t>& out, bool first) const {
  each_part(raw_, text, with_specials, [&](std::string_view part, const AddedToken* token, bool at_start) {
    if (token) return out.push_back(token->id);
    std::string copy;
    if (!hf_.normalize.empty()) part = copy = normalized(part);
    if (normalized_.empty()) return words(0, part, first && at_start, out);
    each_part(normalized_, part, with_specials, [&](std::string_view inner, const AddedToken* t, bool begins) {
      if (t) return out.push_back(t->id);
      words(0, inner, first && at_start && begins, out);
    });
  });
}

// Applies the steps from `step` on. first: this stands at the beginning of the whole text.
void HfEncoder::words(size_t step, std::string_view text, bool first, std::vector<int32_t>& out) const {
  if (text.empty()) return;
  if (step == hf_.split.size()) return word(text, out);
  const SplitStep& s = hf_.split[step];
  if (s.kind == SplitStep::Kind::kPattern)
    return each_piece(s, text,
                      [&](size_t a, size_t b) { words(step + 1, text.substr(a, b - a), first && a == 0, out); });
  std::string copy;
  if (s.kind == SplitStep::Kind::kPrefixSpace) {
    if (text[0] != ' ') text = copy = cat(" ", text);
  } else {
    copy = replaced(text, " ", kSpaceMark);
    const bool wanted = s.prefix == SplitStep::Prefix::kAlways || (s.prefix == SplitStep::Prefix::kFirst && first);
    if (wanted && !copy.starts_with(kSpaceMark)) copy.insert(0, kSpaceMark);
    text = copy;
  }
  words(step + 1, text, first, out);
}

void HfEncoder::word(std::string_view text, std::vector<int32_t>& out) const {
  if (!cut_at_marks_) return chunk(text, out);
  size_t start = 0;
  for (size_t at = 1; (at = text.find(kSpaceMark, at)) != text.npos; at += kSpaceMark.size())
    if (!text.substr(0, at).ends_with(kSpaceMark)) chunk(text.substr(start, at - start), out), start = at;
  chunk(text.substr(start), out);
}

void HfEncoder::chunk(std::string_view text, std::vector<int32_t>& out) const {
  if (hf_.byte_level && text.size() <= kCachedWord)
    return ChunkCache::of_this_thread().encode(words_owner_, text, out, [&] { byte_word(text, out); });
  if (hf_.byte_level) return byte_word(text, out);
  if (const auto whole = wholes_.find(text); whole != wholes_.end()) return out.push_back(whole->second);
  join(text, out);
}

// A word that falls apart is no piece.
void HfEncoder::byte_word(std::string_view text, std::vector<int32_t>& out) const {
  size_t end = cuts_.part_end(text, 0);
  if (end == text.size())
    if (const auto whole = wholes_.find(text); whole != wholes_.end()) return out.push_back(whole->second);
  for (size_t at = 0; at < text.size(); at = end) {
    end = cuts_.part_end(text, at);
    const std::string_view part = text.substr(at, end - at);
    ChunkCache::of_this_thread().encode(parts_owner_, part, out, [&] { join(part, out); });
  }
}

void HfEncoder::join(std::string_view text, std::vector<int32_t>& out) const {
  std::vector<int32_t> symbols;
  symbols_of(text, symbols);
  join_all(symbols, [this](int32_t l, int32_t r) { return find(l, r); });
  out.insert(out.end(), symbols.begin(), symbols.end());
}

void HfEncoder::symbols_of(std::string_view text, std::vector<int32_t>& out) const {
  auto put_bytes = [&](std::string_view bytes) {
    for (char b : bytes) out.push_back(byte_ids_[static_cast<unsigned char>(b)]);
  };
  if (hf_.byte_level) return put_bytes(text);
  bool was_unknown = false;
  char32_t c = 0;
  for (size_t i = 0, n = 0; i < text.size(); i += n) {
    n = read_char(text, i, c);
    const auto piece = n ? characters_.find(c) : characters_.end();
    n = std::max<size_t>(n, 1);
    const bool known = piece != characters_.end();
    if (known)
      out.push_back(piece->second);
    else if (v_.byte_fallback)
      put_bytes(text.substr(i, n));
    else if (hf_.unknown >= 0 && !(was_unknown && hf_.fuse_unknown))
      out.push_back(hf_.unknown);
    was_unknown = !known && !v_.byte_fallback;
  }
}

}  // namespace puyu
