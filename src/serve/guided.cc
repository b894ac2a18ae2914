#include "serve/guided.h"

#include <algorithm>

#include "grammar/gbnf.h"
#include "grammar/regex.h"
#include "grammar/schema.h"
#include "serve/fields.h"

namespace puyu {
namespace {

// {"type": "json_object"} or {"type": "json_schema", "json_schema": {"name", "schema", "strict", "description"}}.
Guided response_format(const Json& v) {
  for (const auto& [key, value] : v.as_object())
    if (key != "type" && !(key == "json_schema" && v.at("type") == Json("json_schema")))
      refuse("response_format." + key, "unknown field");
  if (v.at("type") == Json("json_object")) return {Guided::Kind::kObject, "response_format", {}};
  const std::string field = "response_format.json_schema";
  const Json* s = v.find("json_schema");
  if (!s || !s->is_object()) refuse(field, "expected an object with 'name' and 'schema'");
  for (const auto& [key, value] : s->as_object())
    if (key != "name" && key != "schema" && key != "strict" && key != "description")
      refuse(field + "." + key, "unknown field");
  if (!s->find("schema")) refuse(field + ".schema", "missing");
  return {Guided::Kind::kSchema, field + ".schema", s->at("schema")};
}

grammar::Grammar compile(const Guided& g) {
  switch (g.kind) {
    case Guided::Kind::kObject:
      return grammar::json_object_grammar();
    case Guided::Kind::kSchema:
      return grammar::schema_grammar(g.value);
    case Guided::Kind::kRegex:
      return grammar::regex_grammar(g.value.as_string());
    case Guided::Kind::kGrammar:
      return grammar::parse_gbnf(g.value.as_string());
    default:
      break;
  }
  std::vector<std::string> texts;
  for (const Json& t : g.value.as_array()) texts.push_back(t.as_string());
  return grammar::choice_grammar(texts);
}

}  // namespace

bool read_guided(const std::string& key, const Json& v, Guided& out) {
  Guided g;
  if (key == "response_format" && v.is_object() && v.find("type") &&
      (v.at("type") == Json("json_object") || v.at("type") == Json("json_schema"))) {
    g = response_format(v);
  } else if (key == "guided_json") {
    g = {Guided::Kind::kSchema, key, v};
  } else if (key == "guided_regex" || key == "guided_grammar") {
    g = {key == "guided_regex" ? Guided::Kind::kRegex : Guided::Kind::kGrammar, key, text(v, key)};
  } else if (key == "guided_choice") {
    if (!v.is_array() || v.size() == 0) refuse(key, "expected a list of texts that is not empty");
    for (size_t i = 0; i < v.size(); ++i) text(v.as_array()[i], cat(key, "[", i, "]"));
    g = {Guided::Kind::kChoice, key, v};
  } else {
    return false;
  }
  if (out.kind != Guided::Kind::kNone) refuse(g.field, cat("'", out.field, "' guides the answer already"));
  out = std::move(g);
  return true;
}

std::shared_ptr<grammar::Guide> GuideCache::get(const Guided& g) {
  if (g.kind == Guided::Kind::kNone) return nullptr;
  const std::string key = cat(static_cast<int>(g.kind), g.value.dump());
  std::lock_guard lock(mutex_);
  auto it = std::find_if(guides_.begin(), guides_.end(), [&](const auto& known) { return known.first == key; });
  if (it != guides_.end()) {
    guides_.splice(guides_.begin(), guides_, it);
    return it->second;
  }
  try {
    grammar::Grammar compiled = compile(g);
    if (!trie_) trie_ = std::make_shared<const grammar::TokenTrie>(tokenizer_);
    guides_.emplace_front(key, std::make_shared<grammar::Guide>(std::move(compiled), trie_, end_ids_));
  } catch (const Error& e) { refuse(g.field, e.what()); }
  if (guides_.size() > kKept) guides_.pop_back();
  return guides_.front().second;
}

}  // namespace puyu
