#include "serve/openai.h"

#include <algorithm>
#include <limits>

#include "serve/dialogue.h"

namespace puyu {
namespace {

// The text of `content`; null is empty.
std::string content(const Json& m, const std::string& at) {
  const Json* v = m.find("content");
  return !v || v->is_null() ? "" : text_content(*v, at + ".content", {"text"});
}

void add_calls(const Json& calls, const std::string& at, Dialogue& to) {
  if (!calls.is_array()) refuse(at, cat("expected a list, got ", calls.type_name()));
  for (size_t i = 0; i < calls.size(); ++i) {
    const Json& call = calls.as_array()[i];
    const std::string here = cat(at, "[", i, "]"), in = here + ".function";
    const std::string& id = text(member(call, "id", here), here + ".id");
    const Json& f = member(call, "function", here);
    const std::string& name = text(member(f, "name", in), in + ".name");
    const std::string& arguments = text(member(f, "arguments", in), in + ".arguments");
    to.call(id, name, parse_arguments(arguments, in + ".arguments"), here + ".id");
  }
}

void add_message(const Json& m, const std::string& at, Dialogue& to) {
  check_object(m, at);
  std::string role = text(member(m, "role", at), at + ".role");
  const Json *calls = m.find("tool_calls"), *call_id = m.find("tool_call_id"), *name = m.find("name");
  if (calls && (calls->is_null() || *calls == Json::array())) calls = nullptr;
  for (const auto& [key, value] : m.as_object()) {
    const bool known = key == "role" || key == "content" || key == "tool_calls" || key == "tool_call_id" ||
                       (key == "name" && (value == Json("<|plugin|>") || value == Json("<|interpreter|>")));
    if (!known && !value.is_null())
      refuse(at + "." + key,
             "not supported; a message has role and content (and name \"<|plugin|>\" or \"<|interpreter|>\")");
  }
  if ((!m.find("content") || m.at("content").is_null()) && !calls) refuse(at + ".content", "missing");
  if (calls && role != "assistant") refuse(at + ".tool_calls", "only the assistant calls tools");
  if (role == "tool") {
    if (!call_id) refuse(at + ".tool_call_id", "missing");
    return to.result(text(*call_id, at + ".tool_call_id"), content(m, at), at + ".tool_call_id");
  }
  if (role == "developer") role = "system";
  if (role != "system" && role != "user" && role != "assistant" && role != "environment")
    refuse(at + ".role", "expected system, developer, user, assistant, tool or environment");
  to.say({role, content(m, at), name && name->is_string() ? name->as_string() : ""});
  if (calls) add_calls(*calls, at + ".tool_calls", to);
}

std::vector<Message> messages(const Json& v) {
  if (!v.is_array() || v.size() == 0) refuse("messages", "expected a list of at least one message");
  Dialogue d;
  for (size_t i = 0; i < v.size(); ++i) add_message(v.as_array()[i], cat("messages[", i, "]"), d);
  return d.take();
}

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

std::vector<int32_t> ids_of(const Json& v, const std::string& field) {
  if (v.size() == 0) refuse(field, "expected at least one token id");
  std::vector<int32_t> out;
  for (size_t i = 0; i < v.size(); ++i)
    out.push_back(static_cast<int32_t>(
        integer(v.as_array()[i], cat(field, "[", i, "]"), 0, std::numeric_limits<int32_t>::max())));
  return out;
}

// For each prompt its ids, empty where it is text.
std::vector<std::vector<int32_t>> prompt_ids(const Json& v) {
  if (v.is_string()) return {{}};
  if (v.as_array()[0].is_number()) return {ids_of(v, "prompt")};
  std::vector<std::vector<int32_t>> out;
  for (size_t i = 0; i < v.size(); ++i) {
    const Json& p = v.as_array()[i];
    out.push_back(p.is_array() ? ids_of(p, cat("prompt[", i, "]")) : std::vector<int32_t>());
  }
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
constexpr const char* kIgnored[] = {"user", "metadata", "store", "service_tier"};

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

void read_field(const std::string& key, const Json& v, ApiRequest& r) {
  auto among = [&](auto& list) { return std::find(std::begin(list), std::end(list), key) != std::end(list); };
  if (!v.is_null() && read_guided(key, v, r.guided)) return;
  if (!v.is_null() && r.chat && read_tools(key, v, r.tools)) return;
  if (v.is_null() || among(kIgnored) || read_sampling(key, v, r.sampling) || logprobs_field(key, v, r)) return;
  if (key == "stream")
    r.stream = boolean(v, key);
  else if (key == "stream_options")
    r.include_usage = include_usage(v);
  else if (key == "messages" && r.chat)
    r.prompts = {{"", messages(v)}}, r.ids = {{}};
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

}  // namespace

ApiRequest parse_api_request(std::string_view body, bool chat, const ModelNames& models,
                             const SamplingOptions& defaults) {
  const Json j = parse_body(body);
  ApiRequest r = begin_request(j, models, defaults);
  r.chat = chat;
  r.input = chat ? "messages" : "prompt";
  if (!chat) r.sampling.max_tokens = 16;  // as OpenAI; a chat answer may fill the context
  for (const auto& [key, value] : j.as_object())
    if (key != "model") read_field(key, value, r);
  // The order of a body's fields means nothing.
  if (chat && r.sampling.top_logprobs >= 0 && !j.get("logprobs", false))
    refuse("top_logprobs", "only with \"logprobs\": true");
  if (r.sampling.max_tokens == 0) {
    if (!r.echo) refuse(j.find("max_tokens") ? "max_tokens" : "max_completion_tokens", "expected at least 1, got 0");
    r.no_answer = true, r.sampling.max_tokens = 1;  // the prompt's log-probs alone
  }
  const std::string& input = r.input;
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

Json model_entry(const std::string& model, int64_t created) {
  Json m = Json::object();
  m["id"] = model;
  m["object"] = "model";
  m["created"] = created;
  m["owned_by"] = "puyu";
  return m;
}

}  // namespace

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
