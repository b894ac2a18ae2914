// Program text as tokens: identifiers, numbers, strings, operators, comments. White space is none of them, so two files
// that differ in their indentation (2 or 4 spaces, a tab) have the same tokens; what the search for duplicates among
// code compares (InternLM2 report 3.1.2: "a tokenizer that knows code"), and what the rules about code count.
// Lexical only: strings and comments are told by the language's signs, an unknown language has C's.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "data/minhash.h"

namespace puyu {

enum class CodeKind : uint8_t { kIdentifier, kNumber, kString, kOperator, kComment };
struct CodeToken {
  CodeKind kind;
  std::string_view text;  // a view into the source; strings and comments with their signs
};
// In the order of the text; every byte that is no white space is in exactly one token.
std::vector<CodeToken> code_tokens(std::string_view language, std::string_view text);

// MinHash over n-grams of tokens. Comments are left out (a license at the head of every file is no duplicate), but of a
// file that holds nothing else.
Signature code_minhash(std::string_view language, std::string_view text, int ngram = 5);

}  // namespace puyu
