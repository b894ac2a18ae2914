#include "serve/tools.h"

#include <algorithm>

#include "grammar/schema.h"
#include "serve/fields.h"

namespace puyu {
namespace {

constexpr size_t kMaxTools = 128;

// {"type": "function", "function": {"name", "description", "parameters", "strict"}}.
Tool read_tool(const Json& v, const std::string& at) {
  if (member(v, "type", at) != Json("function")) refuse(at + ".type", "expected \"function\"");
  const Json& f = member(v, "function", at);
  Tool t{.field = at + ".function", .schema = "parameters"};
  t.name = text(member(f, "name", t.field), t.field + ".name");
  for (const auto& [key, value] : f.as_object()) {
    if (value.is_null() || key == "name") continue;
    const std::string field = t.field + "." + key;
    if (key == "description")
      t.description = text(value, field);
    else if (key == "parameters")
      t.parameters = value;
    else if (key == "strict")
      t.strict = boolean(value, field);
    else
      refuse(field, "unknown field");
  }
  return t;
}

Json any_object() {
  Json j = Json::object();
  j["type"] = "object";
  j["additionalProperties"] = true;
  return j;
}

// A schema that becomes a part of another document: its references go on pointing at what they pointed at. `named`: an
// object of schemas by names, which are no keywords.
Json moved(const Json& schema, const std::string& to, bool named = false) {
  if (schema.is_array()) {
    Json out = Json::array();
    for (const Json& item : schema.as_array()) out.push(moved(item, to));
    return out;
  }
  if (!schema.is_object()) return schema;
  Json out = Json::object();
  for (const auto& [key, value] : schema.as_object()) {
    if (!named && key == "$ref" && value.is_string() && value.as_string().starts_with('#'))
      out[key] = to + value.as_string().substr(1);
    else if (!named && (key == "const" || key == "enum" || key == "default" || key == "examples"))
      out[key] = value;
    else
      out[key] = moved(value, to, !named && (key == "properties" || key == "$defs" || key == "definitions"));
  }
  return out;
}

// loose: for each tool, whether any object will do.
Guided calls_schema(const Tools& t, const std::vector<bool>& loose) {
  const std::set<std::string> names = t.names();
  Json any = Json::array();
  for (size_t i = 0; i < t.list.size(); ++i) {
    if (!names.contains(t.list[i].name)) continue;
    Json call = Json::object();
    call["type"] = "object";
    call["properties"]["name"]["const"] = t.list[i].name;
    call["properties"]["parameters"] =
        loose[i] ? any_object() : moved(t.list[i].parameters, cat("#/anyOf/", any.size(), "/properties/parameters"));
    call["required"] = Json(Json::Array{Json("name"), Json("parameters")});
    call["additionalProperties"] = false;
    any.push(std::move(call));
  }
  Json schema = Json::object();
  schema["anyOf"] = std::move(any);
  return {Guided::Kind::kSchema, "tools", std::move(schema)};
}

void add_tool(Tool t, Tools& to) {
  if (t.name.empty()) refuse(t.field + ".name", "expected a name that is not empty");
  for (const Tool& other : to.list)
    if (other.name == t.name) refuse(t.field + ".name", cat("'", t.name, "' stands there twice"));
  const std::string at = t.field + "." + t.schema;
  if (t.parameters.is_null()) {
    t.parameters = Json::object();  // as OpenAI: none
    t.parameters["type"] = "object";
    t.parameters["properties"] = Json::object();
  }
  check_object(t.parameters, at);
  if (t.parameters.size() == 0) t.parameters = any_object();
  if (const Json* type = t.parameters.find("type"); type && *type != Json("object"))
    refuse(at + ".type", "expected \"object\": arguments have names");
  to.list.push_back(std::move(t));
}

}  // namespace

std::set<std::string> Tools::names() const {
  std::set<std::string> out;
  if (offered())
    for (const Tool& t : list)
      if (named.empty() || t.name == named) out.insert(t.name);
  return out;
}

void read_tool_list(const Json& v, Tool (*read)(const Json&, const std::string&), Tools& out) {
  if (!v.is_array()) refuse("tools", cat("expected a list, got ", v.type_name()));
  if (v.size() > kMaxTools) refuse("tools", cat("expected at most ", kMaxTools, " tools, got ", v.size()));
  for (size_t i = 0; i < v.size(); ++i) add_tool(read(v.as_array()[i], cat("tools[", i, "]")), out);
}

void read_tool_choice(const Json& v, const std::function<std::string(const Json&)>& name, Tools& out) {
  out.choice = Tools::Choice::kRequired;
  if (v == Json("auto"))
    out.choice = Tools::Choice::kAuto;
  else if (v == Json("none"))
    out.choice = Tools::Choice::kNone;
  else if (v.is_object() && v.find("type") && v.at("type") == Json("function"))
    out.named = name(v);
  else if (v != Json("required"))
    refuse("tool_choice", "expected \"auto\", \"none\", \"required\" or {\"type\": \"function\", ...} with a name");
}

bool read_tools(const std::string& key, const Json& v, Tools& out) {
  if (key == "parallel_tool_calls") {
    out.parallel = boolean(v, key);
  } else if (key == "tool_choice") {
    const std::string at = key + ".function";
    read_tool_choice(
        v, [&](const Json& c) { return text(member(member(c, "function", key), "name", at), at + ".name"); }, out);
  } else if (key == "tools") {
    read_tool_list(v, read_tool, out);
  } else {
    return false;
  }
  return true;
}

void check_tools(const Tools& t) {
  if (t.list.empty() && t.choice == Tools::Choice::kRequired)
    refuse("tool_choice", "asks for a call, but there are no tools");
  const auto same = [&](const Tool& tool) { return tool.name == t.named; };
  if (!t.named.empty() && std::none_of(t.list.begin(), t.list.end(), same))
    refuse("tool_choice", cat("there is no tool '", t.named, "'"));
}

Message tools_turn(const Tools& t) {
  Json list = Json::array();
  for (const Tool& tool : t.list) {
    Json j = Json::object();
    j["name"] = tool.name;
    j["description"] = tool.description;
    j["parameters"] = tool.parameters;
    list.push(std::move(j));
  }
  return {"system", list.dump() + "\n", "<|plugin|>"};
}

std::shared_ptr<grammar::Guide> call_guide(const Tools& t, GuideCache& guides) {
  std::vector<bool> loose(t.list.size());
  try {
    return guides.get(calls_schema(t, loose));
  } catch (const ApiError&) {  // of some tool's schema: which one, and may it be?
    bool any = false;
    const std::set<std::string> names = t.names();
    for (size_t i = 0; i < t.list.size(); ++i) try {
        if (names.contains(t.list[i].name)) grammar::schema_grammar(t.list[i].parameters);
      } catch (const Error& e) {
        if (t.list[i].strict) refuse(t.list[i].field + "." + t.list[i].schema, e.what());
        any = loose[i] = true;
      }
    if (!any) throw;
  }
  return guides.get(calls_schema(t, loose));
}

}  // namespace puyu
