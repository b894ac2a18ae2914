#include "serve/dialogue.h"

#include <algorithm>

#include "serve/fields.h"

namespace puyu {

void Dialogue::say(Message m) {
  if (m.role == "assistant") open_.clear();
  answered_.clear();
  turns_.push_back(std::move(m));
}

void Dialogue::call(const std::string& id, const std::string& name, const Json& arguments, const std::string& field) {
  if (turns_.empty() || turns_.back().role != "assistant") say({"assistant", "", ""});
  if (std::find(open_.begin(), open_.end(), id) != open_.end())
    refuse(field, cat("there is a call '", id, "' already"));
  open_.push_back(id);
  turns_.back().calls.push_back(cat("{\"name\": ", Json(name).dump(), ", \"parameters\": ", arguments.dump(), "}"));
}

void Dialogue::result(const std::string& id, std::string content, const std::string& field) {
  const auto number = static_cast<size_t>(std::find(open_.begin(), open_.end(), id) - open_.begin());
  if (number == open_.size()) refuse(field, cat("the assistant's turn before it has no call '", id, "'"));
  const auto place = std::lower_bound(answered_.begin(), answered_.end(), number);
  if (place != answered_.end() && *place == number) refuse(field, cat("the call '", id, "' has its result already"));
  turns_.insert(turns_.end() - (answered_.end() - place), {"environment", std::move(content), "<|plugin|>"});
  answered_.insert(place, number);
}

std::string text_content(const Json& v, const std::string& field, const std::vector<const char*>& types) {
  if (v.is_string()) return v.as_string();
  if (!v.is_array()) refuse(field, cat("expected a string or a list of text parts, got ", v.type_name()));
  std::string out;
  for (size_t i = 0; i < v.size(); ++i) {
    const Json& part = v.as_array()[i];
    const std::string at = cat(field, "[", i, "]");
    const Json* type = part.find("type");
    const bool is_text = type && type->is_string() && part.find("text") &&
                         std::any_of(types.begin(), types.end(), [&](const char* t) { return *type == Json(t); });
    if (!is_text) refuse(at, cat("this model reads text parts only: {\"type\": \"", types[0], "\", \"text\": ...}"));
    for (const auto& [key, value] : part.as_object()) {
      const bool known = key == "type" || key == "text" || key == "cache_control" || key == "annotations" ||
                         key == "logprobs" || key == "citations" || key == "parsed";
      if (!known && !value.is_null()) refuse(at + "." + key, "unknown field of a text part");
    }
    out += text(part.at("text"), at + ".text");
  }
  return out;
}

Json parse_arguments(const std::string& text, const std::string& field) {
  if (text.empty()) return Json::object();
  Json j;
  try {
    j = Json::parse(text, "arguments");
  } catch (const Error& e) { refuse(field, cat("expected JSON: ", e.what())); }
  check_object(j, field);
  return j;
}

}  // namespace puyu
