// What a Tokenizer holds: its vocabulary and the tables made from it. For src/text/ only.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "text/bpe.h"
#include "text/tokenizer.h"
#include "text/vocabulary.h"

namespace puyu {

struct Tokenizer::Impl {
  Vocabulary vocabulary;
  BpeEncoder encoder;
  std::vector<std::string> bytes;  // what each id decodes to
  std::vector<bool> special_ids;
  std::map<std::string, int32_t, std::less<>> specials;
  std::string special_starts;  // their first bytes
  uint64_t fingerprint = 0;
  explicit Impl(Vocabulary v);
};

Tokenizer make_tokenizer(Vocabulary v);

}  // namespace puyu
