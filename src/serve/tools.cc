#include "serve/tools.h"

#include <set>

#include "serve/fields.h"

namespace puyu {
namespace {

void check_object(const Json& v, const std::string& field) {
  if (!v.is_object()) refuse(field, cat("expected an object, got ", v.type_name()));
}
const Json& member(const Json& v, const char* key, const std::string& field) {
  check_object(v, field);
  const Json* m = v.find(key);
  if (!m) refuse(field + "." + key, "missing");
  return *m;
}

// {"type": "function", "function": {"name", "description", "parameters", "strict"}} as the model's turn has it.
Json read_tool(const Json& v, const std::string& at) {
  if (member(v, "type", at) != Json("function")) refuse(at + ".type", "expected \"function\"");
  const Json& f = member(v, "function", at);
  const std::string in = at + ".function";
  Json out = Json::object();
  out["name"] = text(member(f, "name", in), in + ".name");
  if (out.at("name").as_string().empty()) refuse(in + ".name", "expected a name that is not empty");
  out["description"] = "";
  out["parameters"] = Json::object();
  out["parameters"]["type"] = "object";
  for (const auto& [key, value] : f.as_object()) {
    if (key == "description" && !value.is_null())
      out["description"] = text(value, in + ".description");
    else if (key == "parameters" && !value.is_null())
      check_object(value, in + ".parameters"), out["parameters"] = value;
    else if (key == "strict" && !value.is_null())
      boolean(value, in + ".strict");
    else if (key != "name" && !value.is_null())
      refuse(in + "." + key, "unknown field");
  }
  return out;
}

}  // namespace

bool read_tools(const std::string& key, const Json& v, Tools& out) {
  if (key == "parallel_tool_calls") {
    boolean(v, key);
    return true;
  }
  if (key == "tool_choice") {
    if (v == Json("auto"))
      out.choice = Tools::Choice::kAuto;
    else if (v == Json("none"))
      out.choice = Tools::Choice::kNone;
    else if (v == Json("required"))
      out.choice = Tools::Choice::kRequired;
    else if (v.is_object()) {
      out.choice = Tools::Choice::kRequired;
      out.named = text(member(member(v, "function", key), "name", key + ".function"), key + ".function.name");
    } else {
      refuse(key,
             "expected \"auto\", \"none\", \"required\" or {\"type\": \"function\", \"function\": {\"name\": ...}}");
    }
    return true;
  }
  if (key != "tools") return false;
  if (!v.is_array()) refuse(key, cat("expected a list, got ", v.type_name()));
  if (v.size() == 0) return true;
  if (v.size() > 128) refuse(key, cat("expected at most 128 tools, got ", v.size()));
  out.list = Json::array();
  std::set<std::string> names;
  for (size_t i = 0; i < v.size(); ++i) {
    out.list.push(read_tool(v.as_array()[i], cat("tools[", i, "]")));
    const std::string& name = out.list.as_array().back().at("name").as_string();
    if (!names.insert(name).second) refuse(cat("tools[", i, "].function.name"), cat("'", name, "' stands there twice"));
  }
  return true;
}

void check_tools(const Tools& t) {
  if (t.list.is_null() && t.choice == Tools::Choice::kRequired)
    refuse("tool_choice", "asks for a call, but there are no tools");
  if (t.named.empty()) return;
  for (const Json& tool : t.list.as_array())
    if (tool.at("name") == Json(t.named)) return;
  refuse("tool_choice.function.name", cat("there is no tool '", t.named, "'"));
}

Message tools_turn(const Tools& t) { return {"system", t.list.dump() + "\n", "<|plugin|>"}; }

Guided call_guide(const Tools& t) {
  Json any = Json::array();
  for (const Json& tool : t.list.as_array()) {
    if (!t.named.empty() && tool.at("name") != Json(t.named)) continue;
    Json call = Json::object();
    call["type"] = "object";
    call["properties"]["name"]["const"] = tool.at("name");
    call["properties"]["parameters"] = tool.at("parameters");
    call["required"] = Json(Json::Array{Json("name"), Json("parameters")});
    call["additionalProperties"] = false;
    any.push(std::move(call));
  }
  Json schema = Json::object();
  if (any.size() == 1)
    schema = any.as_array()[0];
  else
    schema["anyOf"] = std::move(any);
  return {Guided::Kind::kSchema, "tools", std::move(schema)};
}

std::string call_text(const Json& call, const std::string& field) {
  const Json& f = member(call, "function", field);
  const std::string in = field + ".function", name = text(member(f, "name", in), in + ".name");
  const std::string& arguments = text(member(f, "arguments", in), in + ".arguments");
  Json parsed = Json::object();
  try {
    if (!arguments.empty()) parsed = Json::parse(arguments, "arguments");
  } catch (const Error& e) { refuse(in + ".arguments", cat("expected JSON: ", e.what())); }
  return cat("{\"name\": ", Json(name).dump(), ", \"parameters\": ", parsed.dump(), "}");
}

std::optional<ToolCall> parse_call(const std::string& text, const Tools& t) {
  Json j;
  try {
    j = Json::parse(text, "call");
  } catch (const Error&) { return std::nullopt; }  // the caller shows what was written
  const Json* name = j.is_object() ? j.find("name") : nullptr;
  if (!name || !name->is_string()) return std::nullopt;
  const Json* parameters = j.find("parameters") ? j.find("parameters") : j.find("arguments");
  if (parameters && !parameters->is_object()) return std::nullopt;
  for (const Json& tool : t.list.as_array())
    if (tool.at("name") == *name) return ToolCall{name->as_string(), parameters ? parameters->dump() : "{}"};
  return std::nullopt;
}

Json call_json(const ToolCall& c, const std::string& id) {
  Json j = Json::object();
  j["id"] = id;
  j["type"] = "function";
  j["function"]["name"] = c.name;
  j["function"]["arguments"] = c.arguments;
  return j;
}

}  // namespace puyu
