// Reads Hugging Face's tokenizer.json (model type BPE) and tokenizer_config.json, and tiktoken's rank files, into a
// Vocabulary. What a file asks for and hf_bpe.h does not do is an Error that names the key, never read wrong.
#pragma once
#include <string>
#include <string_view>

#include "base/json.h"
#include "text/hf_bpe.h"
#include "text/vocabulary.h"

namespace puyu {

Vocabulary parse_tokenizer_json(std::string_view bytes, const std::string& where);  // untrusted

// bos_token, eos_token, add_bos_token, chat_template, added_tokens_decoder of a folder's tokenizer_config.json.
void apply_tokenizer_config(const Json& config, const std::string& where, Vocabulary& v);

// cl100k_base.tiktoken: lines of a piece in base64 and its rank. Its five special tokens are added.
Vocabulary parse_tiktoken_cl100k(std::string_view bytes, const std::string& where);

// The vocabularies of one kind (GGUF's "gpt2" has the same parts): pieces as they stand in the file, merges as
// "left right".
struct BpeParts {
  std::vector<std::string> pieces;  // empty: no piece of this id
  std::vector<std::pair<std::string, std::string>> merges;
};
// Fills pieces, merges and bytes. v.hf's switches are set already. Messages without the file's name.
void set_pieces(BpeParts parts, HfBpe& hf, Vocabulary& v);
void add_token(AddedToken t, HfBpe& hf, Vocabulary& v);

}  // namespace puyu
