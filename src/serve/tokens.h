// /tokenize and /detokenize as data (vLLM's shape): text to ids and back with the served model's own tokenizer, for
// clients that count tokens or send ids. Bodies in, bodies out; ApiError names the field.
#pragma once
#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace puyu {

// {"prompt": TEXT, "add_special_tokens": true} or {"messages": [...]} -> {"count", "max_model_len", "tokens"}
std::string tokenize_body(const Tokenizer& t, int64_t context_length, std::string_view body);
// {"tokens": [ID, ...]} -> {"prompt": TEXT}; special tokens have no text
std::string detokenize_body(const Tokenizer& t, std::string_view body);

}  // namespace puyu
