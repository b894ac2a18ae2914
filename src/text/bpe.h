// The BPE encoder: SentencePiece's rule (start from characters; join the neighbours whose text is the best-scored
// piece, leftmost on ties; user-defined pieces first) in near-linear time. Four facts make it fast, none changes a
// result:
// - two characters that stand side by side in no piece never join, so text falls apart into short chunks there;
// - most chunks were met before (chunk_cache.h), or are a piece that encodes to itself, found with one look-up;
// - which pieces join is a table of id pairs, so no string is hashed while joining;
// - long chunks are joined rank by rank, forwards through memory (joins.h).
// Immutable after construction.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer.h"
#include "text/vocabulary.h"

namespace puyu {

class BpeEncoder {
 public:
  explicit BpeEncoder(const Vocabulary& v);
  // Appends the ids of `text`. With spell_specials, user-defined pieces that are special tokens are not recognised.
  void encode(std::string_view text, bool spell_specials, std::vector<int32_t>& out) const;

  // As encode, with the bytes of `text` that each id stands for.
  void encode(std::string_view text, bool spell_specials, std::vector<int32_t>& out,
              std::vector<TokenSpan>& spans) const;
  // Appends the ids that no text after this one can change (`last`: all), and returns how many bytes they cover. `text`
  // must be what prepared() gives.
  size_t encode_begin(std::string_view text, bool last, std::vector<int32_t>& out) const;
  // Text as the model reads it: broken UTF-8 is U+FFFD, U+2581 a space; as it is for lossless vocabularies.
  std::string prepared(std::string_view text) const;

 private:
  struct Output;
  int32_t symbol_of(char32_t c) const;
  bool may_join(char32_t a, char32_t b) const;
  int32_t joined(int32_t left, int32_t right) const;  // the piece of both, or -1
  int32_t user_defined_at(std::string_view text, bool spell_specials) const;
  int32_t whole_piece(std::string_view chunk, uint64_t hash) const;
  void add_symbols(const Vocabulary& v);
  void add_joins(const Vocabulary& v);
  void add_whole_pieces();
  bool reads_as_it_is(std::string_view text) const;
  size_t encode_prepared(std::string_view text, size_t limit, bool spell_specials, Output& out) const;
  size_t chunk_end(std::string_view text, size_t at, char32_t c, bool spell_specials) const;
  void put_chunk(std::string_view chunk, Output& out) const;
  void join_chunk(std::string_view chunk, uint64_t hash, Output& out) const;
  void finish(Output& out) const;
  void join(std::vector<int32_t>& symbols) const;
  void put(int32_t symbol, Output& out) const;
  void put_unknown(std::string_view bytes, size_t length, Output& out) const;

  struct UserDefined {
    std::string text;
    int32_t id;
    bool special;
  };
  bool byte_fallback_, lossless_, dummy_prefix_;
  int32_t num_pieces_, unknown_ = 0;
  uint32_t cache_owner_;
  size_t longest_user_defined_ = 0;
  std::array<int32_t, 256> byte_ids_{};
  std::vector<std::string> texts_;    // of symbols, with plain spaces: pieces, then characters that are no piece
  std::vector<uint32_t> ranks_;       // of pieces, 0 is joined first; equal scores have equal ranks
  std::vector<int32_t> bmp_symbols_;  // by code point below U+10000; -1: in no piece
  std::unordered_map<char32_t, int32_t> astral_symbols_;
  std::vector<uint64_t> pair_bits_;        // a Bloom filter of the character pairs inside pieces
  std::vector<uint64_t> joins_;            // open addressing; left, right, joined in 20 bits each
  std::vector<int32_t> wholes_;            // open addressing by the hash of the text; ids
  std::vector<UserDefined> user_defined_;  // sorted by text
  std::array<bool, 256> user_defined_first_{};
};

}  // namespace puyu
