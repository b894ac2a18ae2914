#include "text/bpe.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "base/utf8.h"
#include "text/chunk_cache.h"
#include "text/joins.h"

namespace puyu {
namespace {

constexpr int kIdBits = 20;
constexpr uint64_t kEmpty = ~uint64_t{0};
constexpr int kPairFilterBits = 20;
constexpr uint64_t kMix = 0x9E3779B97F4A7C15ull;

uint64_t slot(uint64_t key, size_t table_size) {  // table_size is a power of two
  return (key * kMix) >> (64 - std::countr_zero(table_size));
}
size_t table_size_for(size_t n) { return std::bit_ceil(std::max<size_t>(n * 2, 16)); }
uint64_t join_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(left) << kIdBits | static_cast<uint64_t>(right);
}
// Exact for pairs of ASCII, hashed for the others: a false alarm costs time, never a result.
uint64_t pair_bit(char32_t a, char32_t b) {
  if ((a | b) < 128) return a << 7 | b;
  uint64_t key = (static_cast<uint64_t>(a) << 21 | b) * kMix;
  return (128 * 128) + ((key ^ key >> 32) * kMix >> (64 - kPairFilterBits));
}

size_t read_character(std::string_view s, size_t i, char32_t& c) {
  auto b = static_cast<unsigned char>(s[i]);
  if (b < 0x80) return c = b, 1;
  return decode_utf8(s, i, c);
}

// As SentencePiece's identity normaliser: each byte that starts no valid character becomes U+FFFD, U+2581 is a space.
// `origins`, if wanted, gets where each byte of the result, and its end, stands in `text`.
std::string normalized(std::string_view text, std::vector<size_t>* origins = nullptr) {
  std::string out;
  out.reserve(text.size() + 16);
  char32_t c = 0;
  for (size_t i = 0, n = 0; i < text.size(); i += std::max<size_t>(n, 1)) {
    n = read_character(text, i, c);
    if (n == 0)
      out += "\xEF\xBF\xBD";
    else if (c == 0x2581)
      out += ' ';
    else
      out += text.substr(i, n);
    if (origins)
      for (size_t k = 0; origins->size() < out.size(); ++k) origins->push_back(n > 1 && c != 0x2581 ? i + k : i);
  }
  if (origins) origins->push_back(text.size());
  return out;
}

}  // namespace

// Where ids go, and what is reused from chunk to chunk.
struct BpeEncoder::Output {
  std::vector<int32_t>& ids;
  std::vector<TokenSpan>* spans = nullptr;
  ChunkCache* cache = nullptr;        // none: each chunk is encoded anew
  size_t at = 0;                      // of the text, as far as it has ids
  std::vector<int32_t> symbols = {};  // of a chunk
  void add(int32_t id, size_t bytes) {
    ids.push_back(id);
    if (spans) spans->push_back({at, at + bytes});
    at += bytes;
  }
};

BpeEncoder::BpeEncoder(const Vocabulary& v)
    : byte_fallback_(v.byte_fallback),
      lossless_(v.lossless),
      dummy_prefix_(v.add_dummy_prefix),
      num_pieces_(static_cast<int32_t>(v.pieces.size())),
      cache_owner_(ChunkCache::new_owner()) {
  add_symbols(v);
  add_joins(v);
  add_whole_pieces();
}

void BpeEncoder::add_symbols(const Vocabulary& v) {
  bmp_symbols_.assign(0x10000, -1);
  pair_bits_.assign((128 * 128 + (size_t{1} << kPairFilterBits)) / 64, 0);
  auto set_symbol = [&](char32_t c, int32_t id) { (c < 0x10000 ? bmp_symbols_[c] : astral_symbols_[c]) = id; };
  std::vector<char32_t> inner;  // every character of every piece
  for (int32_t id = 0; id < num_pieces_; ++id) {
    const Piece& p = v.pieces[id];
    // Text holds no U+0020 once it is normalised, so a piece with one is never met.
    const bool usable = p.text.find(' ') == p.text.npos && valid_utf8(p.text);
    texts_.push_back(usable ? with_spaces(p.text) : "");
    if (p.kind == PieceKind::kUnknown) unknown_ = id;
    if (p.kind == PieceKind::kByte) byte_ids_[byte_of_piece(p.text)] = id;
    if (p.kind == PieceKind::kUserDefined && usable) {
      bool special = std::ranges::any_of(v.specials, [&](const auto& s) { return s.first == id; });
      user_defined_.push_back({texts_[id], id, special});
      user_defined_first_[static_cast<unsigned char>(texts_[id][0])] = true;
    }
    if (p.kind != PieceKind::kNormal || !usable) continue;
    char32_t c = 0, last = 0;
    for (size_t i = 0, n = 0; i < texts_[id].size(); i += n, last = c) {
      n = read_character(texts_[id], i, c);
      inner.push_back(c);
      if (i > 0) pair_bits_[pair_bit(last, c) / 64] |= uint64_t{1} << (pair_bit(last, c) % 64);
      if (n == texts_[id].size()) set_symbol(c, id);
    }
  }
  for (char32_t c : inner)
    if (symbol_of(c) < 0) {
      set_symbol(c, static_cast<int32_t>(texts_.size()));
      append_utf8(texts_.emplace_back(), c);
    }
  std::ranges::sort(user_defined_, {}, &UserDefined::text);
  for (const UserDefined& u : user_defined_) longest_user_defined_ = std::max(longest_user_defined_, u.text.size());
}

void BpeEncoder::add_joins(const Vocabulary& v) {
  std::vector<int32_t> normal;
  for (int32_t id = 0; id < num_pieces_; ++id)
    if (v.pieces[id].kind == PieceKind::kNormal && !texts_[id].empty()) normal.push_back(id);
  std::ranges::stable_sort(normal, std::ranges::greater{}, [&](int32_t id) { return v.pieces[id].score; });
  ranks_.assign(num_pieces_, kNoRank);
  for (size_t i = 0; i < normal.size(); ++i) {
    bool tie = i > 0 && v.pieces[normal[i]].score == v.pieces[normal[i - 1]].score;
    ranks_[normal[i]] = tie ? ranks_[normal[i - 1]] : static_cast<uint32_t>(i);
  }

  std::unordered_map<std::string_view, int32_t> ids;
  ids.reserve(texts_.size() * 2);
  for (int32_t id : normal) ids.emplace(texts_[id], id);
  for (size_t id = num_pieces_; id < texts_.size(); ++id) ids.emplace(texts_[id], static_cast<int32_t>(id));
  std::vector<uint64_t> entries;
  for (int32_t id : normal) {
    std::string_view text = texts_[id];
    for (size_t cut = 1; cut < text.size(); ++cut) {
      if ((text[cut] & 0xC0) == 0x80) continue;  // inside a character
      auto left = ids.find(text.substr(0, cut));
      if (left == ids.end()) continue;
      auto right = ids.find(text.substr(cut));
      if (right == ids.end()) continue;
      entries.push_back(join_key(left->second, right->second) << kIdBits | static_cast<uint64_t>(id));
    }
  }
  joins_.assign(table_size_for(entries.size()), kEmpty);
  for (uint64_t e : entries) {
    size_t i = slot(e >> kIdBits, joins_.size());
    while (joins_[i] != kEmpty) i = (i + 1) & (joins_.size() - 1);
    joins_[i] = e;
  }
}

// Not every piece encodes to itself: another join may come first. Those that do are found without joining.
void BpeEncoder::add_whole_pieces() {
  std::vector<std::pair<uint64_t, int32_t>> found;
  std::vector<int32_t> symbols;
  for (int32_t id = 0; id < num_pieces_; ++id) {
    if (ranks_[id] == kNoRank) continue;
    symbols.clear();
    char32_t c = 0;
    for (size_t i = 0, n = 0; i < texts_[id].size(); i += n) {
      n = read_character(texts_[id], i, c);
      symbols.push_back(symbol_of(c));
    }
    if (symbols.size() < 2) continue;
    join(symbols);
    if (symbols.size() == 1) found.emplace_back(hash_chunk(texts_[id]), id);
  }
  wholes_.assign(table_size_for(found.size()), -1);
  for (const auto& [hash, id] : found) {
    size_t i = slot(hash, wholes_.size());
    while (wholes_[i] >= 0) i = (i + 1) & (wholes_.size() - 1);
    wholes_[i] = id;
  }
}

int32_t BpeEncoder::symbol_of(char32_t c) const {
  if (c < 0x10000) return bmp_symbols_[c];
  auto it = astral_symbols_.find(c);
  return it == astral_symbols_.end() ? -1 : it->second;
}

bool BpeEncoder::may_join(char32_t a, char32_t b) const {
  uint64_t bit = pair_bit(a, b);
  return pair_bits_[bit / 64] >> (bit % 64) & 1;
}

int32_t BpeEncoder::joined(int32_t left, int32_t right) const {
  const uint64_t key = join_key(left, right);
  for (size_t i = slot(key, joins_.size()); joins_[i] != kEmpty; i = (i + 1) & (joins_.size() - 1))
    if (joins_[i] >> kIdBits == key) return static_cast<int32_t>(joins_[i] & ((1 << kIdBits) - 1));
  return -1;
}

int32_t BpeEncoder::whole_piece(std::string_view chunk, uint64_t hash) const {
  for (size_t i = slot(hash, wholes_.size()); wholes_[i] >= 0; i = (i + 1) & (wholes_.size() - 1))
    if (texts_[wholes_[i]] == chunk) return wholes_[i];
  return -1;
}

// Index of the longest user-defined piece that text starts with, or -1: narrows the sorted list byte by byte.
int32_t BpeEncoder::user_defined_at(std::string_view text, bool spell_specials) const {
  auto first = user_defined_.begin(), last = user_defined_.end();
  int32_t best = -1;
  for (size_t depth = 0; depth < text.size() && first != last; ++depth) {
    auto byte_at = [depth](const UserDefined& u) {
      return static_cast<int>(static_cast<unsigned char>(u.text[depth]));
    };
    if (first->text.size() == depth) ++first;  // ended here; the others are longer
    auto range =
        std::ranges::equal_range(first, last, static_cast<int>(static_cast<unsigned char>(text[depth])), {}, byte_at);
    first = range.begin(), last = range.end();
    if (first != last && first->text.size() == depth + 1 && !(spell_specials && first->special))
      best = static_cast<int32_t>(first - user_defined_.begin());
  }
  return best;
}

// `bytes` spell `length` bytes of the text: the three of U+2581 one space.
void BpeEncoder::put_unknown(std::string_view bytes, size_t length, Output& out) const {
  if (byte_fallback_) {
    for (size_t i = 0; i + 1 < bytes.size(); ++i)
      out.add(byte_ids_[static_cast<unsigned char>(bytes[i])], length == bytes.size());
    out.add(byte_ids_[static_cast<unsigned char>(bytes.back())], 1);
  } else if (out.ids.empty() || out.ids.back() != unknown_) {
    out.add(unknown_, length);
  } else {  // a run of unknown characters is one <unk>
    out.at += length;
    if (out.spans && !out.spans->empty()) out.spans->back().end = out.at;
  }
}

void BpeEncoder::put(int32_t symbol, Output& out) const {
  const std::string& text = texts_[symbol];
  if (symbol < num_pieces_)
    out.add(symbol, text.size());
  else
    put_unknown(text == " " ? kSpaceMark : std::string_view(text), text.size(), out);
}

void BpeEncoder::join(std::vector<int32_t>& symbols) const {
  join_all(symbols, [this](int32_t left, int32_t right) -> Join {
    const int32_t made = joined(left, right);
    return {made < 0 ? kNoRank : ranks_[made], made};
  });
}

void BpeEncoder::finish(Output& out) const {
  if (out.symbols.size() > 1) join(out.symbols);
  for (int32_t symbol : out.symbols) put(symbol, out);
  out.symbols.clear();
}

void BpeEncoder::join_chunk(std::string_view chunk, uint64_t hash, Output& out) const {
  if (const int32_t whole = whole_piece(chunk, hash); whole >= 0) return out.add(whole, chunk.size());
  char32_t c = 0;
  for (size_t i = 0, n = 0; i < chunk.size(); i += n) {
    n = read_character(chunk, i, c);
    const int32_t symbol = n == 0 ? -1 : symbol_of(c);
    n = std::max<size_t>(n, 1);
    if (symbol >= 0) {
      out.symbols.push_back(symbol);
      continue;
    }
    finish(out);  // in no piece: nothing joins across it
    const std::string_view bytes = chunk.substr(i, n);
    put_unknown(bytes == " " && !lossless_ ? kSpaceMark : bytes, n, out);
  }
  finish(out);
}

void BpeEncoder::put_chunk(std::string_view chunk, Output& out) const {
  if (chunk.size() == 1 && static_cast<unsigned char>(chunk[0]) < 0x80)
    if (const int32_t symbol = bmp_symbols_[static_cast<unsigned char>(chunk[0])]; symbol >= 0) return put(symbol, out);
  const uint64_t hash = hash_chunk(chunk);
  if (!out.cache || chunk.size() > ChunkCache::kMaxBytes) return join_chunk(chunk, hash, out);
  ChunkCache::Entry& known = out.cache->at(hash);
  if (known.holds(cache_owner_, chunk)) {
    out.ids.insert(out.ids.end(), known.ids, known.ids + known.count);
    return;
  }
  const size_t before = out.ids.size();
  join_chunk(chunk, hash, out);
  known.store(cache_owner_, chunk, std::span(out.ids).subspan(before));
}

// The end of the chunk whose last character so far, c, ends at `at`.
size_t BpeEncoder::chunk_end(std::string_view text, size_t at, char32_t c, bool spell_specials) const {
  char32_t d = 0;
  while (at < text.size()) {
    const auto b = static_cast<unsigned char>(text[at]);
    if (user_defined_first_[b] && user_defined_at(text.substr(at), spell_specials) >= 0) break;
    const size_t n = read_character(text, at, d);
    if (n == 0 || !may_join(c, d)) break;
    at += n, c = d;
  }
  return at;
}

// Encodes chunk by chunk as long as they end at `limit` or before; returns where the next one begins.
size_t BpeEncoder::encode_prepared(std::string_view text, size_t limit, bool spell_specials, Output& out) const {
  char32_t c = 0;
  size_t i = 0;
  while (i < text.size() && i <= limit) {
    if (user_defined_first_[static_cast<unsigned char>(text[i])]) {
      if (int32_t u = user_defined_at(text.substr(i), spell_specials); u >= 0) {
        out.add(user_defined_[u].id, user_defined_[u].text.size());
        i += user_defined_[u].text.size();
        continue;
      }
    }
    const size_t n = read_character(text, i, c);
    const size_t end = n == 0 ? i + 1 : chunk_end(text, i + n, c, spell_specials);
    if (end > limit) break;
    put_chunk(text.substr(i, end - i), out);
    i = end;
  }
  return i;
}

bool BpeEncoder::reads_as_it_is(std::string_view text) const {
  return lossless_ || (text.find(kSpaceMark) == text.npos && valid_utf8(text));
}

std::string BpeEncoder::prepared(std::string_view text) const {
  return reads_as_it_is(text) ? std::string(text) : normalized(text);
}

void BpeEncoder::encode(std::string_view text, bool spell_specials, std::vector<int32_t>& out) const {
  if (text.empty()) return;
  std::string copy;
  if (!reads_as_it_is(text)) text = copy = normalized(text);
  if (dummy_prefix_) text = copy = cat(" ", text);
  // What becomes of unknown characters without byte pieces depends on what stands before.
  Output to{out, nullptr, byte_fallback_ ? &ChunkCache::of_this_thread() : nullptr};
  encode_prepared(text, text.size(), spell_specials, to);
}

void BpeEncoder::encode(std::string_view text, bool spell_specials, std::vector<int32_t>& out,
                        std::vector<TokenSpan>& spans) const {
  if (text.empty()) return;
  std::string copy;
  std::vector<size_t> origins;
  const bool as_it_is = reads_as_it_is(text);
  if (!as_it_is) text = copy = normalized(text, &origins);
  if (dummy_prefix_) text = copy = cat(" ", text);
  const size_t first = spans.size(), prefix = dummy_prefix_;
  Output to{out, &spans, nullptr};
  encode_prepared(text, text.size(), spell_specials, to);
  auto origin = [&](size_t at) { return as_it_is ? at - std::min(at, prefix) : origins[at - std::min(at, prefix)]; };
  for (size_t i = first; i < spans.size(); ++i) spans[i] = {origin(spans[i].begin), origin(spans[i].end)};
}

size_t BpeEncoder::encode_begin(std::string_view text, bool last, std::vector<int32_t>& out) const {
  // A user-defined piece that may go on.
  const size_t unsure = last ? 0 : std::max<size_t>(longest_user_defined_, 1);
  if (text.size() < unsure) return 0;
  Output to{out, nullptr, byte_fallback_ ? &ChunkCache::of_this_thread() : nullptr};
  return encode_prepared(text, text.size() - unsure, false, to);
}

}  // namespace puyu
