#include "serve/anthropic.h"

#include <algorithm>
#include <limits>

#include "serve/dialogue.h"

namespace puyu {
namespace {

const Json* type_of(const Json& block, const std::string& at) {
  check_object(block, at);
  return block.find("type");
}

void add_call(const Json& block, const std::string& at, Dialogue& to) {
  only(block, {"type", "id", "name", "input", "cache_control", "caller"}, at);
  const Json& input = member(block, "input", at);
  check_object(input, at + ".input");
  to.call(text(member(block, "id", at), at + ".id"), text(member(block, "name", at), at + ".name"), input, at + ".id");
}

void add_result(const Json& block, const std::string& at, Dialogue& to) {
  only(block, {"type", "tool_use_id", "content", "is_error", "cache_control"}, at);
  const Json* content = block.find("content");
  std::string said = content && !content->is_null() ? text_content(*content, at + ".content", {"text"}) : "";
  if (const Json* failed = block.find("is_error"); failed && !failed->is_null() && boolean(*failed, at + ".is_error")) {
    Json j = Json::object();  // InternLM2's turns have no word for it
    j["error"] = said;
    said = j.dump();
  }
  to.result(text(member(block, "tool_use_id", at), at + ".tool_use_id"), std::move(said), at + ".tool_use_id");
}

// Blocks of one message. Results are turns of their own; calls stand after their turn's text.
void add_blocks(const Json& blocks, const std::string& role, const std::string& at, Dialogue& to) {
  std::string said;
  bool any_text = false, other = false;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const std::string here = cat(at, "[", i, "]");
    const Json* type = type_of(blocks.as_array()[i], here);
    if (type && *type == Json("tool_result") && role == "user") {
      if (any_text) refuse(here, "results stand before the text of their message");
      add_result(blocks.as_array()[i], here, to);
      other = true;
    } else if (type && *type == Json("tool_use") && role == "assistant") {
      other = true;
    } else if (type && *type == Json("text")) {
      said += text_content(Json(Json::Array{blocks.as_array()[i]}), here, {"text"});
      any_text = true;
    } else {
      refuse(here + ".type",
             role == "user" ? "expected \"text\" or \"tool_result\"" : "expected \"text\" or \"tool_use\"");
    }
  }
  if (any_text || !other || role == "assistant") to.say({role, std::move(said), ""});
  for (size_t i = 0; i < blocks.size() && role == "assistant"; ++i)
    if (blocks.as_array()[i].at("type") == Json("tool_use")) add_call(blocks.as_array()[i], cat(at, "[", i, "]"), to);
}

std::vector<Message> turns(const Json& messages, const Json* system) {
  Dialogue d;
  if (system && !system->is_null()) d.say({"system", text_content(*system, "system", {"text"}), ""});
  if (!messages.is_array() || messages.size() == 0) refuse("messages", "expected a list of at least one message");
  for (size_t i = 0; i < messages.size(); ++i) {
    const Json& m = messages.as_array()[i];
    const std::string at = cat("messages[", i, "]");
    const std::string& role = text(member(m, "role", at), at + ".role");
    const Json& content = member(m, "content", at);
    only(m, {"role", "content"}, at);
    if (role != "user" && role != "assistant") refuse(at + ".role", "expected user or assistant");
    if (content.is_string())
      d.say({role, content.as_string(), ""});
    else if (content.is_array() && content.size() > 0)
      add_blocks(content, role, at + ".content", d);
    else
      refuse(at + ".content", "expected a string or a list of blocks that is not empty");
    if (i + 1 == messages.size() && role != "user")
      refuse(at + ".role", "the last message is the user's: answers cannot begin with a given text");
  }
  return d.take();
}

Tool read_tool(const Json& v, const std::string& at) {
  const Json* type = type_of(v, at);
  if (type && !type->is_null() && *type != Json("custom"))
    refuse(at + ".type", "expected \"custom\"; this server runs no tools of its own");
  only(v, {"type", "name", "description", "input_schema", "strict", "cache_control", "eager_input_streaming"}, at);
  Tool t{.field = at, .schema = "input_schema"};
  t.name = text(member(v, "name", at), at + ".name");
  t.parameters = member(v, "input_schema", at);
  if (const Json* d = v.find("description"); d && !d->is_null()) t.description = text(*d, at + ".description");
  if (const Json* s = v.find("strict"); s && !s->is_null()) t.strict = boolean(*s, at + ".strict");
  return t;
}

// {"type": "auto" | "any" | "tool" | "none", "name", "disable_parallel_tool_use"}
void tool_choice(const Json& v, Tools& out) {
  const std::string at = "tool_choice";
  const Json& type = member(v, "type", at);
  only(v, {"type", "name", "disable_parallel_tool_use"}, at);
  if (type == Json("auto"))
    out.choice = Tools::Choice::kAuto;
  else if (type == Json("none"))
    out.choice = Tools::Choice::kNone;
  else if (type == Json("any") || type == Json("tool"))
    out.choice = Tools::Choice::kRequired;
  else
    refuse(at + ".type", "expected \"auto\", \"any\", \"tool\" or \"none\"");
  if (type == Json("tool")) out.named = text(member(v, "name", at), at + ".name");
  if (const Json* one = v.find("disable_parallel_tool_use"); one && !one->is_null())
    out.parallel = !boolean(*one, at + ".disable_parallel_tool_use");
}

// {"format": {"type": "json_schema", "schema"}}
Guided output_format(const Json& v) {
  check_object(v, "output_config");
  only(v, {"format"}, "output_config");
  const Json* f = v.find("format");
  if (!f || f->is_null()) return {};
  const std::string at = "output_config.format";
  if (member(*f, "type", at) != Json("json_schema")) refuse(at + ".type", "expected \"json_schema\"");
  only(*f, {"type", "schema"}, at);
  return {Guided::Kind::kSchema, at + ".schema", member(*f, "schema", at)};
}

std::vector<std::string> stop_sequences(const Json& v) {
  std::vector<std::string> out = read_texts(v, "stop_sequences");
  if (out.size() > 16) refuse("stop_sequences", cat("expected at most 16 texts, got ", out.size()));
  return out;
}

// What concerns the caller's bookkeeping and not the answer; prompts are cached without being asked.
constexpr const char* kIgnored[] = {"metadata", "service_tier", "cache_control"};

void read_field(const std::string& key, const Json& v, ApiRequest& r) {
  if (v.is_null() || key == "model" || key == "messages" || key == "system") return;
  if (std::find(std::begin(kIgnored), std::end(kIgnored), key) != std::end(kIgnored)) return;
  if (key == "stream") {
    r.stream = boolean(v, key);
  } else if (key == "max_tokens") {
    r.sampling.max_tokens = static_cast<int>(integer(v, key, 1, std::numeric_limits<int>::max()));
  } else if (key == "temperature") {
    r.sampling.temperature = number(v, key, 0, 1);
  } else if (key == "stop_sequences") {
    r.sampling.stop = stop_sequences(v);
  } else if (key == "tool_choice") {
    tool_choice(v, r.tools);
  } else if (key == "tools") {
    read_tool_list(v, read_tool, r.tools);
  } else if (key == "output_config") {
    r.guided = output_format(v);
  } else if (key == "thinking") {
    if (member(v, "type", key) != Json("disabled")) refuse(key, "this model does not think; expected \"disabled\"");
  } else if (key == "thread") {  // by this code the client knows to send the whole dialogue instead
    throw ApiError(400, "'thread': this server keeps no dialogues; send all messages", key,
                   "thread_unsupported_request");
  } else if (key == "stop" || key == "max_completion_tokens" || !read_sampling(key, v, r.sampling)) {
    refuse(key, "unknown field of a message");
  }
}

}  // namespace

ApiRequest parse_messages_request(std::string_view body, bool count_only, const ModelNames& models,
                                  const SamplingOptions& defaults) {
  const Json j = parse_body(body);
  ApiRequest r = begin_request(j, models, defaults);
  r.api = Api::kAnthropic;
  for (const auto& [key, value] : j.as_object()) read_field(key, value, r);
  for (const char* needed : {"messages", "max_tokens"})
    if ((!j.find(needed) || j.at(needed).is_null()) && !(count_only && needed == std::string_view("max_tokens")))
      refuse(needed, "missing");
  r.prompts = {{"", turns(j.at("messages"), j.find("system"))}};
  r.ids = {{}};
  add_tools(r);
  return r;
}

std::string anthropic_error_body(const ApiError& e) {
  const char* type = e.status == 401   ? "authentication_error"
                     : e.status == 404 ? "not_found_error"
                     : e.status == 413 ? "request_too_large"
                     : e.status == 429 ? "rate_limit_error"
                     : e.status == 503 ? "overloaded_error"
                     : e.status >= 500 ? "api_error"
                                       : "invalid_request_error";
  Json j = Json::object();
  j["type"] = "error";
  j["error"]["type"] = type;
  j["error"]["message"] = e.what();
  if (!e.code.empty()) j["error"]["details"]["error_code"] = e.code;
  return j.dump();
}

}  // namespace puyu
