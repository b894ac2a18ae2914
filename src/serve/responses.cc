#include "serve/responses.h"

#include <algorithm>
#include <limits>

#include "serve/dialogue.h"

namespace puyu {
namespace {

void add_message(const Json& item, const std::string& at, Dialogue& to) {
  only(item, {"type", "role", "content", "id", "status"}, at);
  std::string role = text(member(item, "role", at), at + ".role");
  if (role == "developer") role = "system";
  if (role != "system" && role != "user" && role != "assistant")
    refuse(at + ".role", "expected system, developer, user or assistant");
  to.say({role, text_content(member(item, "content", at), at + ".content", {"input_text", "output_text"}), ""});
}

void add_item(const Json& item, const std::string& at, Dialogue& to) {
  check_object(item, at);
  const Json* type = item.find("type");
  if (!type || *type == Json("message")) return add_message(item, at, to);
  const bool call = *type == Json("function_call");
  if (!call && *type != Json("function_call_output"))
    refuse(at + ".type", "expected \"message\", \"function_call\" or \"function_call_output\"");
  const std::string& id = text(member(item, "call_id", at), at + ".call_id");
  if (call) {
    only(item, {"type", "call_id", "name", "arguments", "id", "status", "parsed_arguments"}, at);
    const std::string& arguments = text(member(item, "arguments", at), at + ".arguments");
    return to.call(id, text(member(item, "name", at), at + ".name"), parse_arguments(arguments, at + ".arguments"),
                   at + ".call_id");
  }
  only(item, {"type", "call_id", "output", "id", "status"}, at);
  to.result(id, text_content(member(item, "output", at), at + ".output", {"input_text"}), at + ".call_id");
}

std::vector<Message> turns(const Json& input, const Json* instructions) {
  Dialogue d;
  if (instructions && !instructions->is_null()) d.say({"system", text(*instructions, "instructions"), ""});
  if (input.is_string())
    d.say({"user", input.as_string(), ""});
  else if (input.is_array() && input.size() > 0)
    for (size_t i = 0; i < input.size(); ++i) add_item(input.as_array()[i], cat("input[", i, "]"), d);
  else
    refuse("input", "expected a string or a list of items that is not empty");
  return d.take();
}

// {"type": "function", "name", "description", "parameters", "strict"}
Tool read_tool(const Json& v, const std::string& at) {
  if (member(v, "type", at) != Json("function"))
    refuse(at + ".type", "expected \"function\"; this server runs no tools of its own");
  only(v, {"type", "name", "description", "parameters", "strict"}, at);
  Tool t{.field = at, .schema = "parameters"};
  t.name = text(member(v, "name", at), at + ".name");
  if (const Json* d = v.find("description"); d && !d->is_null()) t.description = text(*d, at + ".description");
  if (const Json* p = v.find("parameters")) t.parameters = *p;
  if (const Json* s = v.find("strict"); s && !s->is_null()) t.strict = boolean(*s, at + ".strict");
  return t;
}

bool read_tool_field(const std::string& key, const Json& v, Tools& out) {
  if (key == "parallel_tool_calls") {
    out.parallel = boolean(v, key);
  } else if (key == "tool_choice") {
    read_tool_choice(v, [](const Json& c) { return text(member(c, "name", "tool_choice"), "tool_choice.name"); }, out);
  } else if (key == "tools") {
    read_tool_list(v, read_tool, out);
  } else {
    return false;
  }
  return true;
}

// {"format": {"type": "text"}, {"type": "json_object"} or {"type": "json_schema", "name", "schema", "strict"}}
Guided text_format(const Json& v) {
  check_object(v, "text");
  only(v, {"format"}, "text");
  const Json* f = v.find("format");
  if (!f || f->is_null()) return {};
  const std::string at = "text.format";
  const Json& type = member(*f, "type", at);
  const bool schema = type == Json("json_schema");
  only(*f, schema ? std::vector{"type", "name", "schema", "strict", "description"} : std::vector{"type"}, at);
  if (type == Json("text")) return {};
  if (type == Json("json_object")) return {Guided::Kind::kObject, at, {}};
  if (!schema) refuse(at + ".type", "expected \"text\", \"json_object\" or \"json_schema\"");
  text(member(*f, "name", at), at + ".name");
  return {Guided::Kind::kSchema, at + ".schema", member(*f, "schema", at)};
}

// What we do not have, with the values that ask for nothing.
bool asks_for_nothing(const std::string& key, const Json& v) {
  if (key == "store" || key == "background") return v == Json(false);
  if (key == "truncation") return v == Json("disabled");
  if (key == "top_logprobs") return v == Json(0);
  if (key == "reasoning" && v.is_object())
    return std::all_of(v.as_object().begin(), v.as_object().end(), [](const auto& m) { return m.second.is_null(); });
  if (key == "include" && v.is_array())  // a model without reasoning has none to include
    return std::all_of(v.as_array().begin(), v.as_array().end(),
                       [](const Json& what) { return what == Json("reasoning.encrypted_content"); });
  if (key == "stream_options" && v.is_object())
    return v.size() == 0 ||
           (v.size() == 1 && v.find("include_obfuscation") && v.at("include_obfuscation") == Json(false));
  return false;
}
constexpr const char* kRefused[] = {
    "store",   "background", "previous_response_id", "conversation", "truncation", "prompt",
    "include", "reasoning",  "stream_options",       "top_logprobs"};
// What concerns the caller's bookkeeping and not the answer.
constexpr const char* kIgnored[] = {"safety_identifier", "prompt_cache_key", "service_tier"};

void check_metadata(const Json& v) {
  check_object(v, "metadata");
  for (const auto& [key, value] : v.as_object()) text(value, "metadata." + key);
}

void read_field(const std::string& key, const Json& v, ApiRequest& r) {
  auto among = [&](auto& list) { return std::find(std::begin(list), std::end(list), key) != std::end(list); };
  if (v.is_null() || among(kIgnored) || key == "model" || key == "input" || key == "instructions") return;
  if (read_turn(key, v, r.turn)) return;
  if (among(kRefused)) {
    if (!asks_for_nothing(key, v))
      refuse(key, cat("this server does not support ", v.dump(), "; it keeps no responses and does no reasoning"));
  } else if (key == "stream") {
    r.stream = boolean(v, key);
  } else if (key == "max_output_tokens") {
    r.sampling.max_tokens = static_cast<int>(integer(v, key, 1, std::numeric_limits<int>::max()));
  } else if (key == "text") {
    r.guided = text_format(v);
  } else if (key == "metadata") {
    check_metadata(v);
  } else if (read_tool_field(key, v, r.tools)) {
    return;
  } else if (key == "max_tokens" || key == "max_completion_tokens" || key == "stop" ||
             !read_sampling(key, v, r.sampling)) {
    refuse(key, "unknown field of a response");
  }
}

// The answer repeats what it was asked with.
Json repeated(const Json& body, const ApiRequest& r) {
  const auto given = [&](const char* key, const Json& otherwise) {
    const Json* v = body.find(key);
    return v && !v->is_null() ? *v : otherwise;
  };
  Json text = Json::object();
  text["format"]["type"] = "text";
  Json out = Json::object();
  for (const char* key : {"instructions", "max_output_tokens"}) out[key] = given(key, {});
  out["model"] = r.model;
  out["parallel_tool_calls"] = r.tools.parallel;
  out["previous_response_id"] = Json();
  out["store"] = false;
  out["temperature"] = r.sampling.temperature;
  out["text"] = given("text", text);
  out["tool_choice"] = given("tool_choice", "auto");
  out["tools"] = given("tools", Json::array());
  out["top_p"] = r.sampling.top_p;
  out["truncation"] = "disabled";
  out["metadata"] = given("metadata", Json::object());
  return out;
}

}  // namespace

ApiRequest parse_responses_request(std::string_view body, const ModelNames& models, const SamplingOptions& defaults) {
  const Json j = parse_body(body);
  ApiRequest r = begin_request(j, models, defaults);
  r.api = Api::kResponses;
  r.input = "input";
  for (const auto& [key, value] : j.as_object()) read_field(key, value, r);
  if (!j.find("input") || j.at("input").is_null()) refuse("input", "missing");
  r.prompts = {{"", turns(j.at("input"), j.find("instructions"))}};
  r.ids = {{}};
  add_tools(r);
  r.repeated = repeated(j, r);
  return r;
}

}  // namespace puyu
