// Tokenizers in GGUF files: SentencePiece's BPE ("llama") and byte-level BPE ("gpt2"). The names of special tokens
// stand there as control pieces.
#pragma once
#include "tensor/gguf.h"
#include "text/tokenizer.h"

namespace puyu {

Tokenizer read_gguf_tokenizer(const Gguf& file);
void add_gguf_tokenizer(const Tokenizer& t, int64_t vocab_size, GgufMetadata& to);  // padded to the model's vocabulary

// From a model: a folder, a tokenizer's own file, or a .gguf.
Tokenizer load_tokenizer(const std::string& path);

}  // namespace puyu
