// Log-probs in OpenAI's two shapes. Token texts are the bytes that a token adds, with U+FFFD where they are a part of a
// character only; special tokens show their own text.
#pragma once
#include <span>

#include "base/json.h"
#include "engine/generator.h"
#include "text/tokenizer.h"

namespace puyu {

// Chat: {"content": [{"token", "logprob", "bytes", "top_logprobs"}], "refusal": null}.
Json chat_logprobs(const Tokenizer& t, std::span<const Token> tokens);

// Completions: {"tokens", "token_logprobs", "top_logprobs", "text_offset"}. `offset`: code points of text before these
// tokens; moved on. An id alone, without log-prob (a prompt's first token), has null in the middle two.
Json completion_logprobs(const Tokenizer& t, std::span<const int32_t> unscored, std::span<const Token> tokens,
                         int64_t& offset);

}  // namespace puyu
