// What a Tokenizer holds: its vocabulary and the tables made from it. For src/text/ only.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "text/bpe.h"
#include "text/hf_bpe.h"
#include "text/tokenizer.h"
#include "text/vocabulary.h"

namespace puyu {

struct Tokenizer::Impl {
  Vocabulary vocabulary;
  std::optional<BpeEncoder> encoder;  // one of the two
  std::optional<HfEncoder> hf;
  std::vector<std::string> bytes;  // what each id decodes to
  std::vector<bool> special_ids;
  std::map<std::string, int32_t, std::less<>> specials;
  std::string special_starts;  // their first bytes
  uint64_t fingerprint = 0;
  int32_t unknown = -1;
  explicit Impl(Vocabulary v);
  Impl(const Impl&) = delete;  // the encoder refers to the vocabulary
  Impl& operator=(const Impl&) = delete;
  void encode(std::string_view text, bool spell_specials, std::vector<int32_t>& out) const;
};

Tokenizer make_tokenizer(Vocabulary v);
// As Tokenizer::encode_untrusted for a text that stands inside another one, unless it is first there.
void encode_part(const Tokenizer& t, std::string_view text, bool first, std::vector<int32_t>& ids);

}  // namespace puyu
