#include "serve/tokens.h"

#include "serve/openai.h"

namespace puyu {
namespace {

Json parse(std::string_view body) {
  Json j;
  try {
    j = Json::parse(body, "body");
  } catch (const Error& e) { throw ApiError(400, e.what()); }
  if (!j.is_object()) throw ApiError(400, cat("expected a JSON object, got ", j.type_name()));
  return j;
}
[[noreturn]] void missing(const char* field) { throw ApiError(400, cat("'", field, "': missing"), field); }
[[noreturn]] void wrong(const std::string& field, const char* expected, const Json& got) {
  throw ApiError(400, cat("'", field, "': expected ", expected, ", got ", got.type_name()), field);
}

// The ids of a chat, up to where the assistant's answer begins.
std::vector<int32_t> chat_ids(const Tokenizer& t, const Json& messages) {
  Json ask = Json::object();
  ask["model"] = "";
  ask["messages"] = messages;
  return encode_chat(t, parse_api_request(ask.dump(), true, {""}, {}).prompts.at(0).messages, true);
}

}  // namespace

std::string tokenize_body(const Tokenizer& t, int64_t context_length, std::string_view body) {
  const Json in = parse(body);
  const Json *prompt = in.find("prompt"), *messages = in.find("messages");
  if (!prompt && !messages) missing("prompt");
  if (prompt && messages) throw ApiError(400, "expected 'prompt' or 'messages', got both", "messages");
  bool special = true;
  for (const auto& [key, value] : in.as_object()) {
    if (key == "prompt") {
      if (!value.is_string()) wrong(key, "a string", value);
    } else if (key == "add_special_tokens") {
      if (!value.is_bool()) wrong(key, "true or false", value);
      special = value.as_bool();
      if (messages) throw ApiError(400, "'add_special_tokens': not with 'messages': a chat has its own", key);
    } else if (key != "model" && key != "messages") {
      throw ApiError(400, cat("'", key, "': unknown field of tokenize"), key);
    }
  }
  Json ids = Json::array();
  if (special && prompt)
    for (int32_t id : t.prefix()) ids.push(id);
  for (int32_t id : prompt ? t.encode_untrusted(prompt->as_string()) : chat_ids(t, *messages)) ids.push(id);
  Json out = Json::object();
  out["count"] = ids.size();
  out["max_model_len"] = context_length;
  out["tokens"] = std::move(ids);
  return out.dump();
}

std::string detokenize_body(const Tokenizer& t, std::string_view body) {
  const Json in = parse(body);
  if (!in.find("tokens")) missing("tokens");
  for (const auto& [key, value] : in.as_object())
    if (key != "tokens" && key != "model") throw ApiError(400, cat("'", key, "': unknown field of detokenize"), key);
  const Json& tokens = in.at("tokens");
  if (!tokens.is_array()) wrong("tokens", "a list of ids", tokens);
  std::vector<int32_t> ids;
  for (const Json& id : tokens.as_array()) {
    if (!id.is_int()) wrong("tokens", "a list of ids", id);
    if (id.as_int() < 0 || id.as_int() >= t.vocab_size())
      throw ApiError(400, cat("'tokens': expected ids below ", t.vocab_size(), ", got ", id.as_int()), "tokens");
    ids.push_back(static_cast<int32_t>(id.as_int()));
  }
  Json out = Json::object();
  out["prompt"] = t.decode(ids);
  return out.dump();
}

}  // namespace puyu
