// Reads a SentencePiece .model (a protobuf, sentencepiece_model.proto) into a Vocabulary. Only what BPE models need;
// a model that asks for what we do not do (unigram, a normaliser with rules, whitespace as suffix) is an Error that
// names it, never read wrong.
#pragma once
#include <string>
#include <string_view>

#include "text/vocabulary.h"

namespace puyu {

// `bytes` are untrusted. The [UNUSED_TOKEN_n] pieces of InternLM2 get the names of its chat specials.
Vocabulary parse_sentencepiece(std::string_view bytes, const std::string& where);

}  // namespace puyu
