// Trains a BPE tokenizer with byte fallback on documents: ids 0 <unk>, 1 <s>, 2 </s>, 3-258 the bytes, then the
// characters (most frequent first), the merges (in the order they were learnt), and kChatSpecials. The result depends
// on the documents only, not on their order or the number of threads. What may become one piece: bpe_words.h.
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
  template <class F>
  void fields(F&& f) {
    f("vocab_size", vocab_size, "pieces in all: 259 fixed ones, characters, merges and 7 special tokens");
    f("character_coverage", character_coverage,
      "share of the text's characters that get a piece of their own; the rare rest is spelt in bytes");
    f("max_piece_length", max_piece_length, "longest piece, in characters");
    f("min_count", min_count, "a merge must occur at least so often");
  }
};

// next_document fills `text` with one document and returns true, or returns false when there are no more.
Tokenizer train_bpe(const BpeTrainOptions& options, const std::function<bool(std::string& text)>& next_document);

}  // namespace puyu
