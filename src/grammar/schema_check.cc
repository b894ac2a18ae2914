#include "grammar/schema_check.h"

#include <algorithm>
#include <map>

#include "base/error.h"

namespace puyu::grammar {
namespace {

template <class List>
bool among(const List& list, std::string_view s) {
  return std::find(std::begin(list), std::end(list), s) != std::end(list);
}
const std::map<std::string, Strings, std::less<>> kTypes = {
    {"object", {"properties", "required", "additionalProperties"}},
    {"array", {"items", "prefixItems", "minItems", "maxItems", "uniqueItems"}},
    {"string", {"minLength", "maxLength", "pattern", "format"}},
    {"integer", {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}},
    {"number", {}},
    {"boolean", {}},
    {"null", {}},
};

// The values that an enum or a const names; empty: other.
std::vector<Json> values_of(const Json& s) {
  if (const Json* c = s.find("const")) return {*c};
  const Json* e = s.find("enum");
  return e && e->is_array() ? e->as_array() : std::vector<Json>();
}
// 1 and 1.0 are the same number to a schema.
bool same(const Json& a, const Json& b) {
  return a == b || (a.is_number() && b.is_number() && a.as_double() == b.as_double());
}

Strings types_of_any(const Json& s) {
  Strings out;
  for (const Json& v : values_of(s))
    for (const auto& [type, keywords] : kTypes)
      if (has_type(v, type) && !among(out, type)) out.push_back(type);
  return out.empty() ? types_of(s, "#") : out;
}

}  // namespace

bool is_annotation(std::string_view k) {
  constexpr std::string_view kAnnotations[] = {"title",    "description", "default",  "examples",
                                               "$schema",  "$id",         "$comment", "deprecated",
                                               "readOnly", "writeOnly",   "$defs",    "definitions"};
  return among(kAnnotations, k);
}

bool has_only(const Json& schema, const Strings& keywords) {
  return std::all_of(schema.as_object().begin(), schema.as_object().end(),
                     [&](const Json::Member& m) { return is_annotation(m.first) || among(keywords, m.first); });
}

const Strings& keywords_of(const std::string& type) {
  static const Strings kNone;
  auto it = kTypes.find(type);
  return it == kTypes.end() ? kNone : it->second;
}

Strings types_of(const Json& schema, const std::string& path) {
  auto known = [&](const Json& t, const std::string& at) {
    if (!t.is_string() || !kTypes.contains(t.as_string()))
      fail("[schema] ", at, ": expected object, array, string, integer, number, boolean or null, got ", t.dump());
    return t.as_string();
  };
  Strings out;
  if (const Json* type = schema.find("type")) {
    if (!type->is_array()) return {known(*type, path + "/type")};
    for (size_t i = 0; i < type->size(); ++i) {
      out.push_back(known(type->as_array()[i], cat(path, "/type/", i)));
      if (std::count(out.begin(), out.end(), out.back()) > 1)
        fail("[schema] ", path, "/type/", i, ": '", out.back(), "' stands twice");
    }
    if (out.empty()) fail("[schema] ", path, "/type: expected at least one type");
    return out;
  }
  for (const auto& [type, keywords] : kTypes)
    if (std::any_of(keywords.begin(), keywords.end(), [&](const std::string& k) { return schema.find(k); }))
      out.push_back(type);
  if (out.size() > 1) fail("[schema] ", path, ": keywords of several types; say which with 'type'");
  return out;
}

const Json& resolve(const Json& document, const std::string& ref, const std::string& path) {
  if (ref.empty() || ref[0] != '#' || (ref.size() > 1 && ref[1] != '/'))
    fail("[schema] ", path, ": expected a pointer into this document such as '#/$defs/name', got '", ref, "'");
  const Json* at = &document;
  for (size_t i = 1; i < ref.size();) {
    const size_t end = std::min(ref.find('/', i + 1), ref.size());
    std::string key;
    for (size_t k = i + 1; k < end; ++k) {
      const bool escape = ref[k] == '~' && k + 1 < end && (ref[k + 1] == '0' || ref[k + 1] == '1');
      key += escape ? (ref[++k] == '0' ? '~' : '/') : ref[k];
    }
    const Json* next = at->find(key);
    if (at->is_array() && !key.empty() && key.size() < 7 &&
        std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; }))
      if (const size_t n = std::stoul(key); n < at->size()) next = &at->as_array()[n];
    if (!next) fail("[schema] ", path, ": '", ref, "' points to nothing");
    at = next;
    i = end;
  }
  return *at;
}

bool has_type(const Json& v, const std::string& type) {
  return type == "object"    ? v.is_object()
         : type == "array"   ? v.is_array()
         : type == "string"  ? v.is_string()
         : type == "integer" ? v.is_int()
         : type == "number"  ? v.is_number()
         : type == "boolean" ? v.is_bool()
                             : v.is_null();
}

bool exclusive(const Json& document, const Json& a, const Json& b, int depth) {
  if (depth > 8 || !a.is_object() || !b.is_object()) return false;
  auto target = [&](const Json& s) { return s.find("$ref") && s.at("$ref").is_string(); };
  if (target(a)) return exclusive(document, resolve(document, a.at("$ref").as_string(), "$ref"), b, depth + 1);
  if (target(b)) return exclusive(document, a, resolve(document, b.at("$ref").as_string(), "$ref"), depth + 1);
  const std::vector<Json> x = values_of(a), y = values_of(b);
  if (!x.empty() && !y.empty())
    return std::none_of(x.begin(), x.end(), [&](const Json& v) {
      return std::any_of(y.begin(), y.end(), [&](const Json& w) { return same(v, w); });
    });
  const Strings s = types_of_any(a), t = types_of_any(b);
  auto number = [](const std::string& type) { return type == "integer" ? std::string("number") : type; };
  if (s.empty() || t.empty()) return false;
  bool apart = true;
  for (const std::string& p : s)
    for (const std::string& q : t) apart &= number(p) != number(q);
  if (apart) return true;
  if (s != Strings{"object"} || t != s) return false;
  const Json *p = a.find("properties"), *q = b.find("properties");  // a property that tells them apart
  if (!p || !q || !p->is_object() || !q->is_object()) return false;
  auto required = [](const Json& schema, const std::string& key) {
    const Json* r = schema.find("required");
    return r && r->is_array() && std::count(r->as_array().begin(), r->as_array().end(), Json(key)) > 0;
  };
  for (const auto& [key, value] : p->as_object())
    if (q->find(key) && required(a, key) && required(b, key) && exclusive(document, value, q->at(key), depth + 1))
      return true;
  return false;
}

}  // namespace puyu::grammar
