#include "serve/openai.h"

#include <algorithm>
#include <limits>
#include <random>

#include "engine/local_generator.h"

namespace puyu {
namespace {

// "text", or [{"type": "text", "text": …}, …].
std::string content(const Json& v, const std::string& field) {
  if (v.is_string()) return v.as_string();
  if (!v.is_array()) refuse(field, cat("expected a string or a list of text parts, got ", v.type_name()));
  std::string out;
  for (size_t i = 0; i < v.size(); ++i) {
    const Json& part = v.as_array()[i];
    const Json* type = part.find("type");
    if (!type || !type->is_string() || type->as_string() != "text" || !part.find("text"))
      refuse(cat(field, "[", i, "]"), "this model reads text parts only: {\"type\": \"text\", \"text\": ...}");
    out += text(part.at("text"), cat(field, "[", i, "].text"));
  }
  return out;
}

}  // namespace

std::vector<Message> read_messages(const Json& v, const std::string& messages) {
  if (!v.is_array() || v.size() == 0) refuse(messages, "expected a list of at least one message");
  std::vector<Message> out;
  for (size_t i = 0; i < v.size(); ++i) {
    const std::string at = cat(messages, "[", i, "]");
    const Json& m = v.as_array()[i];
    if (!m.is_object()) refuse(at, cat("expected an object, got ", m.type_name()));
    Message parsed;
    for (const auto& [key, value] : m.as_object()) {
      const std::string field = at + "." + key;
      if (key == "role")
        parsed.role = text(value, field);
      else if (key == "content")
        parsed.content = value.is_null() ? "" : content(value, field);
      else if (key == "tool_calls" && value.is_array())
        for (size_t k = 0; k < value.size(); ++k)
          parsed.calls.push_back(call_text(value.as_array()[k], cat(field, "[", k, "]")));
      else if (key == "tool_call_id")
        text(value, field);
      else if (key == "name" && (value == Json("<|plugin|>") || value == Json("<|interpreter|>")))
        parsed.name = value.as_string();
      else if (!value.is_null())
        refuse(field, "not supported; a message has role and content (and name \"<|plugin|>\" or \"<|interpreter|>\")");
    }
    if ((!m.find("content") || m.at("content").is_null()) && parsed.calls.empty()) refuse(at + ".content", "missing");
    if (parsed.role == "tool") parsed.role = "environment", parsed.name = "<|plugin|>";
    if (!parsed.calls.empty() && parsed.role != "assistant")
      refuse(at + ".tool_calls", "only the assistant calls tools");
    if (parsed.role == "developer") parsed.role = "system";
    const bool known =
        parsed.role == "system" || parsed.role == "user" || parsed.role == "assistant" || parsed.role == "environment";
    if (!known) refuse(at + ".role", "expected system, developer, user, assistant, tool or environment");
    out.push_back(std::move(parsed));
  }
  return out;
}

namespace {

constexpr int64_t kMaxChoices = 128;

std::vector<Prompt> prompt_texts(const Json& v) {
  if (v.is_string()) return {{v.as_string(), {}}};
  if (!v.is_array() || v.size() == 0) refuse("prompt", "expected text, token ids, or a list of them, not empty");
  if (v.as_array()[0].is_number()) return {{"", {}}};  // ids of one prompt: prompt_ids()
  std::vector<Prompt> out;
  for (size_t i = 0; i < v.size(); ++i) {
    const Json& p = v.as_array()[i];
    out.push_back({p.is_array() ? std::string() : text(p, cat("prompt[", i, "]")), {}});
  }
  return out;
}

// For each prompt its ids, empty where it is text.
std::vector<std::vector<int32_t>> prompt_ids(const Json& v) {
  if (v.is_string()) return {{}};
  if (v.as_array()[0].is_number()) return {read_ids(v, "prompt")};
  std::vector<std::vector<int32_t>> out;
  for (size_t i = 0; i < v.size(); ++i) {
    const Json& p = v.as_array()[i];
    out.push_back(p.is_array() ? read_ids(p, cat("prompt[", i, "]")) : std::vector<int32_t>());
  }
  return out;
}

std::vector<std::string> stops(const Json& v) {
  std::vector<std::string> out;
  if (v.is_string())
    out = {v.as_string()};
  else if (v.is_array())
    for (const Json& s : v.as_array()) out.push_back(text(s, "stop"));
  else
    refuse("stop", cat("expected a string or a list of strings, got ", v.type_name()));
  if (out.size() > 16) refuse("stop", cat("expected at most 16 texts, got ", out.size()));
  if (std::find(out.begin(), out.end(), "") != out.end()) refuse("stop", "expected texts that are not empty");
  return out;
}

bool include_usage(const Json& v) {
  if (!v.is_object()) refuse("stream_options", cat("expected an object, got ", v.type_name()));
  bool out = false;
  for (const auto& [key, value] : v.as_object())
    if (key == "include_usage")
      out = boolean(value, "stream_options.include_usage");
    else
      refuse("stream_options." + key, "unknown field");
  return out;
}

// Fields of the API that we do not have, with the one value that asks for nothing.
bool asks_for_nothing(const std::string& key, const Json& v) {
  if (key == "best_of") return v == Json(1);
  if (key == "functions") return v.is_array() && v.size() == 0;
  if (key == "function_call") return v == Json("none") || v == Json("auto");
  if (key == "response_format") return v.is_object() && v.size() == 1 && v.find("type") && v.at("type") == Json("text");
  if (key == "suffix") return v == Json("");
  return false;
}
constexpr const char* kRefused[] = {"best_of", "functions", "function_call", "response_format", "suffix"};
// What concerns the caller's bookkeeping and not the answer.
constexpr const char* kIgnored[] = {"metadata", "store", "service_tier"};

std::vector<std::string> texts(const Json& v, const std::string& field) {
  if (!v.is_array()) refuse(field, cat("expected a list of strings, got ", v.type_name()));
  std::vector<std::string> out;
  for (size_t i = 0; i < v.size(); ++i) {
    out.push_back(text(v.as_array()[i], cat(field, "[", i, "]")));
    if (out.back().empty()) refuse(cat(field, "[", i, "]"), "expected a text that is not empty");
  }
  return out;
}

// {"ID": BIAS, …}
std::map<int32_t, double> logit_bias(const Json& v) {
  if (!v.is_object()) refuse("logit_bias", cat("expected an object of token ids and numbers, got ", v.type_name()));
  std::map<int32_t, double> out;
  for (const auto& [key, value] : v.as_object()) {
    const bool digits = !key.empty() && key.size() < 10 && key.find_first_not_of("0123456789") == std::string::npos;
    if (!digits) refuse("logit_bias", cat("expected token ids as keys, got '", key, "'"));
    out[static_cast<int32_t>(std::stol(key))] = number(value, "logit_bias." + key, -100, 100);
  }
  return out;
}

// Beyond OpenAI's: the names are vLLM's and LMDeploy's.
bool further_sampling_field(const std::string& key, const Json& v, SamplingOptions& s) {
  constexpr int kMax = std::numeric_limits<int>::max();
  if (key == "min_tokens")
    s.min_tokens = static_cast<int>(integer(v, key, 0, kMax));
  else if (key == "ignore_eos")
    s.ignore_eos = boolean(v, key);
  else if (key == "bad_words")
    s.bad_words = texts(v, key);
  else if (key == "repetition_ngram_size")
    s.repetition_ngram_size = static_cast<int>(integer(v, key, 0, 1000));
  else if (key == "repetition_ngram_threshold")
    s.repetition_ngram_threshold = static_cast<int>(integer(v, key, 2, kMax));
  else
    return false;
  return true;
}

constexpr int kMaxTopLogprobs = 20;  // OpenAI's

// Chat asks with a flag and a number, completions with one number.
bool logprobs_field(const std::string& key, const Json& v, ApiRequest& r) {
  int& top = r.sampling.top_logprobs;
  if (key == "echo" && !r.chat)
    r.echo = boolean(v, key);
  else if (key == "logprobs" && r.chat)
    top = boolean(v, key) ? std::max(top, 0) : -1;
  else if (key == "top_logprobs" && r.chat)
    top = static_cast<int>(integer(v, key, 0, kMaxTopLogprobs));
  else if (key == "logprobs" && v.is_bool() && !v.as_bool())  // some clients
    top = -1;
  else if (key == "logprobs")
    top = static_cast<int>(integer(v, key, 0, kMaxTopLogprobs));
  else
    return false;
  return true;
}

bool sampling_field(const std::string& key, const Json& v, SamplingOptions& s) {
  constexpr int kMax = std::numeric_limits<int>::max();
  if (key == "max_tokens" || key == "max_completion_tokens")
    s.max_tokens = static_cast<int>(integer(v, key, 0, kMax));
  else if (key == "temperature")
    s.temperature = number(v, key, 0, 2);
  else if (key == "top_p")
    s.top_p = number(v, key, 1e-9, 1);
  else if (key == "top_k")
    s.top_k = static_cast<int>(integer(v, key, 0, kMax));
  else if (key == "min_p")
    s.min_p = number(v, key, 0, 0.999999);
  else if (key == "repetition_penalty")
    s.repetition_penalty = number(v, key, 0.01, 100);
  else if (key == "presence_penalty")
    s.presence_penalty = number(v, key, -2, 2);
  else if (key == "frequency_penalty")
    s.frequency_penalty = number(v, key, -2, 2);
  else if (key == "logit_bias")
    s.logit_bias = logit_bias(v);
  else if (key == "seed")
    s.seed = integer(v, key, std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max());
  else if (key == "stop")
    s.stop = stops(v);
  else
    return further_sampling_field(key, v, s);
  return true;
}

void read_field(const std::string& key, const Json& v, ApiRequest& r) {
  auto among = [&](auto& list) { return std::find(std::begin(list), std::end(list), key) != std::end(list); };
  if (!v.is_null() && read_guided(key, v, r.guided)) return;
  if (!v.is_null() && r.chat && read_tools(key, v, r.tools)) return;
  if (v.is_null() || among(kIgnored) || sampling_field(key, v, r.sampling) || logprobs_field(key, v, r)) return;
  if (read_turn(key, v, r.turn)) return;
  if (key == "stream")
    r.stream = boolean(v, key);
  else if (key == "stream_options")
    r.include_usage = include_usage(v);
  else if (key == "messages" && r.chat)
    r.prompts = {{"", read_messages(v, key)}}, r.ids = {{}};
  else if (key == "prompt" && !r.chat)
    r.prompts = prompt_texts(v), r.ids = prompt_ids(v);
  else if (key == "n")
    r.n = integer(v, key, 1, kMaxChoices);
  else if (among(kRefused)) {
    if (!asks_for_nothing(key, v)) refuse(key, cat("this server does not support ", v.dump()));
  } else {
    refuse(key, r.chat ? "unknown field of a chat completion" : "unknown field of a completion");
  }
}

// The tools' turn stands after the caller's own system turns, before the first turn of another role.
void add_tools(ApiRequest& r) {
  check_tools(r.tools);
  if (!r.tools.offered()) return;
  std::vector<Message>& m = r.prompts[0].messages;
  m.insert(std::find_if(m.begin(), m.end(), [](const Message& x) { return x.role != "system"; }), tools_turn(r.tools));
  if (!r.tools.forced()) return;
  if (r.guided.kind != Guided::Kind::kNone)
    refuse("tool_choice", cat("'", r.guided.field, "' guides the answer already"));
  r.guided = call_guide(r.tools);
}

int64_t random_seed() {
  std::random_device device;
  return static_cast<int64_t>((static_cast<uint64_t>(device()) << 32 | device()) >> 1);
}

}  // namespace

ApiRequest parse_api_request(std::string_view body, bool chat, const ModelNames& models,
                             const SamplingOptions& defaults) {
  const Json j = parse_body(body);
  ApiRequest r;
  r.chat = chat;
  r.sampling = defaults;
  // As OpenAI: a chat answer may fill the context, a completion has 16 tokens unless told.
  r.sampling.max_tokens = chat ? std::numeric_limits<int>::max() : 16;
  r.sampling.seed = random_seed();
  r.model = read_model(j, models);
  for (const auto& [key, value] : j.as_object())
    if (key != "model") read_field(key, value, r);
  // The order of a body's fields means nothing.
  if (chat && r.sampling.top_logprobs >= 0 && !j.get("logprobs", false))
    refuse("top_logprobs", "only with \"logprobs\": true");
  if (r.sampling.max_tokens == 0) {
    if (!r.echo) refuse(j.find("max_tokens") ? "max_tokens" : "max_completion_tokens", "expected at least 1, got 0");
    r.no_answer = true, r.sampling.max_tokens = 1;  // the prompt's log-probs alone
  }
  const char* input = chat ? "messages" : "prompt";
  if (!j.find(input) || j.at(input).is_null()) refuse(input, "missing");
  if (j.find("stream_options") && !j.at("stream_options").is_null() && !r.stream)
    refuse("stream_options", "only with \"stream\": true");
  add_tools(r);
  const auto choices = static_cast<int64_t>(r.prompts.size()) * r.n;
  if (choices > kMaxChoices)
    refuse(input,
           cat("expected at most ", kMaxChoices, " answers a request, got ", r.prompts.size(), " prompts x ", r.n));
  return r;
}

namespace {

Json choice(size_t index) {
  Json c = Json::object();
  c["index"] = index;
  return c;
}
Json model_entry(const std::string& model, int64_t created) {
  Json m = Json::object();
  m["id"] = model;
  m["object"] = "model";
  m["created"] = created;
  m["owned_by"] = "puyu";
  return m;
}

}  // namespace

ApiAnswer::ApiAnswer(const ApiRequest& r, std::string model, std::string id, int64_t created)
    : chat_(r.chat),
      include_usage_(r.include_usage),
      n_(static_cast<size_t>(r.n)),
      model_(std::move(model)),
      created_(created) {
  id_ = (chat_ ? "chatcmpl-" : "cmpl-") + std::move(id);
}

Json ApiAnswer::frame(const char* object) const {
  Json j = Json::object();
  j["id"] = id_;
  j["object"] = object;
  j["created"] = created_;
  j["model"] = model_;
  return j;
}

// A prompt counts once, however many answers it has.
Json ApiAnswer::usage_of(const std::vector<Generation>& choices) const {
  int64_t prompt = 0, answer = 0, cached = 0;
  for (size_t i = 0; i < choices.size(); ++i) {
    if (i % n_ == 0) prompt += choices[i].prompt_tokens, cached += choices[i].cached_tokens;
    answer += choices[i].tokens;
  }
  Json u = Json::object();
  u["prompt_tokens"] = prompt;
  u["completion_tokens"] = answer;
  u["total_tokens"] = prompt + answer;
  u["prompt_tokens_details"]["cached_tokens"] = cached;
  return u;
}

namespace {

// Which stop text it was, as vLLM tells; null for an end token or the limit.
void add_finish(Json& choice, const Generation& g, bool called) {
  choice["finish_reason"] = called ? "tool_calls" : finish_reason_name(g.reason);
  choice["stop_reason"] = g.stop_text.empty() ? Json() : Json(g.stop_text);
}

}  // namespace

std::string ApiAnswer::whole(const std::vector<Generation>& choices, std::vector<ChoiceExtra> extra) const {
  Json j = frame(chat_ ? "chat.completion" : "text_completion");
  j["choices"] = Json::array();
  for (size_t i = 0; i < choices.size(); ++i) {
    Json c = choice(i);
    if (chat_) {
      c["message"]["role"] = "assistant";
      const bool called = !extra[i].tool_calls.is_null();
      c["message"]["content"] = called && choices[i].text.empty() ? Json() : Json(choices[i].text);
      if (called) c["message"]["tool_calls"] = extra[i].tool_calls;
    } else {
      c["text"] = choices[i].text;
    }
    c["logprobs"] = std::move(extra[i].logprobs);
    add_finish(c, choices[i], !extra[i].tool_calls.is_null());
    j["choices"].push(std::move(c));
  }
  j["usage"] = usage_of(choices);
  return j.dump();
}

std::string ApiAnswer::chunk(Json c) const {
  Json j = frame(chat_ ? "chat.completion.chunk" : "text_completion");
  j["choices"] = Json(Json::Array{std::move(c)});
  if (include_usage_) j["usage"] = Json();
  return j.dump();
}

std::string ApiAnswer::first(size_t index) const {
  if (!chat_) return "";
  Json c = choice(index);
  c["delta"]["role"] = "assistant";
  c["delta"]["content"] = "";
  c["finish_reason"] = Json();
  return chunk(std::move(c));
}

std::string ApiAnswer::text(size_t index, const std::string& piece, Json logprobs) const {
  Json c = choice(index);
  if (chat_)
    c["delta"]["content"] = piece;
  else
    c["text"] = piece;
  if (!logprobs.is_null()) c["logprobs"] = std::move(logprobs);
  c["finish_reason"] = Json();
  return chunk(std::move(c));
}

std::string ApiAnswer::tool_call(size_t index, Json call) const {
  Json c = choice(index);
  call["index"] = 0;
  c["delta"]["tool_calls"] = Json(Json::Array{std::move(call)});
  c["finish_reason"] = Json();
  return chunk(std::move(c));
}

std::string ApiAnswer::last(size_t index, const Generation& g, Json logprobs, bool called) const {
  Json c = choice(index);
  if (chat_)
    c["delta"] = Json::object();
  else
    c["text"] = "";
  if (!logprobs.is_null()) c["logprobs"] = std::move(logprobs);
  add_finish(c, g, called);
  return chunk(std::move(c));
}

std::string ApiAnswer::usage(const std::vector<Generation>& choices) const {
  Json j = frame(chat_ ? "chat.completion.chunk" : "text_completion");
  j["choices"] = Json::array();
  j["usage"] = usage_of(choices);
  return j.dump();
}

std::string api_error_body(const ApiError& e) {
  Json j = Json::object();
  Json& error = j["error"];
  error["message"] = e.what();
  error["type"] = e.status >= 500   ? "server_error"
                  : e.status == 429 ? "rate_limit_error"
                  : e.status == 401 ? "authentication_error"
                                    : "invalid_request_error";
  error["param"] = e.param.empty() ? Json() : Json(e.param);
  error["code"] = e.code.empty() ? Json() : Json(e.code);
  return j.dump();
}

std::string api_model_body(const std::string& model, int64_t created) { return model_entry(model, created).dump(); }

std::string api_models_body(const ModelNames& models, int64_t created) {
  Json j = Json::object();
  j["object"] = "list";
  j["data"] = Json::array();
  for (const std::string& model : models) j["data"].push(model_entry(model, created));
  return j.dump();
}

}  // namespace puyu
