#include "serve/logprobs.h"

#include <algorithm>
#include <limits>

#include "base/utf8.h"

namespace puyu {
namespace {

// A model's vocabulary may be padded beyond the tokenizer's: such an id has no text.
std::string bytes_of(const Tokenizer& t, int32_t id) {
  return id < t.vocab_size() ? std::string(t.piece_bytes(id)) : std::string();
}
std::string shown(const Tokenizer& t, int32_t id) {
  if (id < t.vocab_size() && t.is_special(id)) return t.decode({&id, 1}, true);
  return repair_utf8(bytes_of(t, id));
}
// JSON has no infinities: what a filter excludes is as unlikely as a float can say.
double finite(float logp) {
  return std::max(static_cast<double>(logp), static_cast<double>(std::numeric_limits<float>::lowest()));
}
int64_t code_points(std::string_view s) {
  return std::count_if(s.begin(), s.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

Json chat_entry(const Tokenizer& t, int32_t id, float logp) {
  Json j = Json::object();
  j["token"] = shown(t, id);
  j["logprob"] = finite(logp);
  j["bytes"] = Json::array();
  for (char c : bytes_of(t, id)) j["bytes"].push(static_cast<int64_t>(static_cast<unsigned char>(c)));
  return j;
}

}  // namespace

Json chat_logprobs(const Tokenizer& t, std::span<const Token> tokens) {
  Json j = Json::object();
  j["content"] = Json::array();
  for (const Token& token : tokens) {
    Json entry = chat_entry(t, token.id, token.logp);
    entry["top_logprobs"] = Json::array();
    for (const TokenLogp& other : token.top) entry["top_logprobs"].push(chat_entry(t, other.id, other.logp));
    j["content"].push(std::move(entry));
  }
  j["refusal"] = Json();
  return j;
}

Json completion_logprobs(const Tokenizer& t, std::span<const int32_t> unscored, std::span<const Token> tokens,
                         int64_t& offset) {
  Json j = Json::object();
  for (const char* key : {"tokens", "token_logprobs", "top_logprobs", "text_offset"}) j[key] = Json::array();
  auto add = [&](int32_t id) {
    j["tokens"].push(shown(t, id));
    j["text_offset"].push(offset);
    offset += code_points(bytes_of(t, id));
  };
  for (int32_t id : unscored) {
    add(id);
    j["token_logprobs"].push(Json());
    j["top_logprobs"].push(Json());
  }
  for (const Token& token : tokens) {
    add(token.id);
    j["token_logprobs"].push(finite(token.logp));
    Json top = Json::object();
    // Two tokens may show the same text: the likelier one is named.
    for (const TokenLogp& other : token.top)
      if (const std::string text = shown(t, other.id); !top.find(text)) top[text] = finite(other.logp);
    if (const std::string text = shown(t, token.id); !top.find(text)) top[text] = finite(token.logp);
    j["top_logprobs"].push(std::move(top));
  }
  return j;
}

}  // namespace puyu
