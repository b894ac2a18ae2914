// What a tokenizer is like and how it fits texts: its pieces by kind and script, and for each language bytes per token,
// the share of characters that have pieces, and which pieces no text has used. For `puyu tokenizer report`, where two
// tokenizers are held against the same texts.
#pragma once
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/tokenizer.h"

namespace puyu {

struct TokenUse {
  int64_t documents = 0, bytes = 0, characters = 0, tokens = 0;
  int64_t spelt = 0;  // characters that no piece covers: spelt in bytes, or unknown
  double bytes_per_token() const;
  double coverage() const;  // of the characters
};

struct ScriptPieces {
  int64_t pieces = 0, unused = 0, longest = 0;  // longest: bytes
  std::string longest_text;
};

class TokenizerReport {
 public:
  explicit TokenizerReport(Tokenizer tokenizer);
  // `language` is what the row is called. Texts are encoded by all threads.
  void add(std::span<const std::string> texts, std::span<const std::string> languages);
  const std::map<std::string, TokenUse>& uses() const { return uses_; }
  // Pieces by what they are made of: "ascii", "han", "digits", "spaces", "other", "mixed", "bytes", "special".
  std::map<std::string, ScriptPieces> pieces() const;
  Json json() const;
  std::string text(const std::string& name) const;

 private:
  Tokenizer tokenizer_;
  std::vector<int64_t> counts_;  // by id
  std::map<std::string, TokenUse> uses_;
};

// What a piece is made of, as in pieces().
std::string piece_class(const Tokenizer& t, int32_t id);

}  // namespace puyu
