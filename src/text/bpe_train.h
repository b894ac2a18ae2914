// Trains a BPE tokenizer on documents: ids 0 <unk>, 1 <s>, 2 </s>, 3-258 the bytes (with byte fallback), then the
// characters (most frequent first), the merges (in the order they were learnt), reserved tokens and kChatSpecials. The
// result depends on the documents only, not on their order or the number of threads. What may become one piece:
// bpe_words.h.
//
// With `ranks` as InternLM2's own was made (report 2.3.1): after the bytes the ASCII pieces of a ranks file such as
// cl100k's, in its order, then characters and pieces of the other scripts, learnt from the documents.
#pragma once
#include <functional>
#include <string>

#include "text/tokenizer.h"

namespace puyu {

struct BpeTrainOptions {
  int vocab_size = 8192;
  double character_coverage = 0.9995;
  int max_piece_length = 16;
  int min_count = 2;
  std::string pretokenizer = "script";
  bool split_digits = true;
  bool byte_fallback = true;
  std::string ranks;
  int ranks_pieces = 0;
  int reserved = 0;
  int round_to = 1;
  int64_t memory_mb = 3500;
  template <class F>
  void fields(F&& f) {
    f("vocab_size", vocab_size,
      "pieces in all: <unk>, <s>, </s>, the bytes, characters, merges, 7 special tokens, "
      "reserved ones");
    f("character_coverage", character_coverage,
      "share of the text's characters that get a piece of their own; the rare rest is spelt in bytes");
    f("max_piece_length", max_piece_length, "longest piece, in characters");
    f("min_count", min_count, "a merge must occur at least so often");
    f("pretokenizer", pretokenizer,
      "what pieces cannot cross: edges of 'script' runs, of 'cl100k' words, or of lines "
      "('none')");
    f("split_digits", split_digits, "each digit is a piece of its own");
    f("byte_fallback", byte_fallback, "256 pieces for bytes; without, a character that has no piece is <unk>");
    f("ranks", ranks,
      "a ranks file (cl100k_base.tiktoken) whose ASCII pieces come first; the text then adds the other "
      "scripts");
    f("ranks_pieces", ranks_pieces, "how many of them; InternLM2 has 60094");
    f("reserved", reserved, "tokens [UNUSED_TOKEN_n] for later use");
    f("round_to", round_to, "vocab_size is rounded up to a multiple of this with reserved tokens");
    f("memory_mb", memory_mb, "memory for the words; when they need more, a share of them, chosen by hash, is used");
  }
};

// next_document fills `text` with one document and returns true, or returns false when there are no more.
Tokenizer train_bpe(const BpeTrainOptions& options, const std::function<bool(std::string& text)>& next_document);

// The first n pieces of a ranks file that are plain ASCII, in its order. Error when there are fewer.
std::vector<std::string> ascii_pieces(std::string_view ranks, const std::string& where, size_t n);

}  // namespace puyu
