// Embeddings and scores as data: what is asked of the model's hidden states instead of an answer. Bodies in, bodies
// out; docs/formats.d/serve.md lists the fields.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "serve/openai.h"
#include "text/tokenizer.h"

namespace puyu {

struct PooledRequest {
  std::string model;
  std::vector<std::vector<int32_t>> inputs;  // tokens
  Turn turn = {};
  bool base64 = false;  // embeddings
};

// POST /v1/embeddings: the mean of the hidden states after the last norm over all tokens of each text, <s> included.
PooledRequest parse_embeddings(std::string_view body, const ModelNames& models, const Tokenizer& t, int64_t hidden);
// POST /v1/score: chats, each with the reward token after it, on which the value head stands.
PooledRequest parse_score(std::string_view body, const ModelNames& models, const Tokenizer& t);

// One vector an input.
std::string embeddings_body(const PooledRequest& r, std::span<const std::vector<float>> vectors);
std::string score_body(const PooledRequest& r, std::span<const std::vector<float>> values);

std::string base64(std::string_view bytes);

}  // namespace puyu
