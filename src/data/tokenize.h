// A corpus folder (pipeline.h) to token shards (shard.h): train.tok, and valid-en.tok, valid-zh.tok, valid-code.tok
// with documents held out by the hash of their id, so the same document is held out whatever else is in the corpus
// grows. sources.json gives the names of the source numbers and the counts.
#pragma once
#include <string>

#include "text/tokenizer.h"

namespace puyu {

struct TokenizeOptions {
  double held_out = 0.01;    // share of the documents of each language group
  int64_t min_held_out = 4;  // at least so many, when the group has ten times as many
  bool end_of_text = true;   // </s> after each document
  template <class F>
  void fields(F&& f) {
    f("held_out", held_out, "share of documents held out for validation, in each language");
    f("min_held_out", min_held_out, "at least this many a language (never more than a tenth)");
    f("end_of_text", end_of_text, "write </s> after each document");
  }
};

struct TokenizeResult {
  int64_t documents = 0, tokens = 0, bytes = 0, held_out_documents = 0, held_out_tokens = 0;
};

TokenizeResult tokenize_corpus(const std::string& corpus_dir, const Tokenizer& tokenizer, const std::string& out_dir,
                               int workers, const TokenizeOptions& options = {});

}  // namespace puyu
