#include "grammar/schema.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "grammar/json_rules.h"
#include "grammar/regex.h"
#include "grammar/schema_check.h"

namespace puyu::grammar {
namespace {

constexpr int64_t kMaxCount = 100'000;
constexpr int kMaxSchemaDepth = 64;  // allOf and anyOf stay on one level of JSON, so the parser's bound is not enough

const char* const kDate =
    "\\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8]))";
const char* const kTime = "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,9})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)";

class Compiler {
 public:
  explicit Compiler(const Json& document) : document_(document), json_(d_) {}

  Grammar run() {
    refs_["#"] = d_.rule("#");
    d_.alternative(0, schema(document_, "#", 0));
    return Grammar(d_);
  }

 private:
  template <class... A>
  [[noreturn]] static void refuse(const std::string& path, const A&... why) {
    fail("[schema] ", path, ": ", why...);
  }

  Sequence schema(const Json& s, const std::string& path, int depth) {
    if (depth > kMaxSchemaDepth) refuse(path, "nested deeper than ", kMaxSchemaDepth, " levels; use $ref");
    if (s == Json(true)) return json_.value();
    if (s == Json(false)) refuse(path, "false: no value is valid here");
    if (!s.is_object()) refuse(path, "expected a schema (an object, or true), got ", s.type_name());
    d_.scope = path;
    if (s.find("$ref")) return reference(s, path, depth);
    if (s.find("enum") || s.find("const")) return values(s, path);
    for (const char* keyword : {"anyOf", "oneOf"})
      if (s.find(keyword)) return any_of(s, keyword, path, depth);
    if (s.find("allOf")) return all_of(s, path, depth);
    Strings types = types_of(s, path);
    check_keywords(s, types, path);
    if (types.empty()) return json_.value();
    std::vector<Sequence> out;
    for (const std::string& type : types) out.push_back(typed(s, type, path, depth));
    d_.scope = path;
    return d_.any_of(std::move(out));
  }

  static void only(const Json& s, const Strings& keywords, const std::string& path, const std::string& beside) {
    for (const auto& [key, value] : s.as_object())
      if (!is_annotation(key) && std::find(keywords.begin(), keywords.end(), key) == keywords.end())
        refuse(path + "/" + key, "not supported beside ", beside);
  }
  static void check_keywords(const Json& s, const Strings& types, const std::string& path) {
    for (const auto& [key, value] : s.as_object()) {
      bool known = is_annotation(key) || key == "type";
      for (const std::string& type : types) {
        const Strings& own = keywords_of(type);
        known |= std::find(own.begin(), own.end(), key) != own.end();
      }
      if (!known) refuse(path + "/" + key, "this keyword is not supported", types.empty() ? "" : " for " + types[0]);
    }
  }
  static const Json::Array& list(const Json& s, const char* keyword, const std::string& path) {
    const Json& v = s.at(keyword);
    if (!v.is_array() || v.size() == 0) refuse(path + "/" + keyword, "expected a list that is not empty");
    return v.as_array();
  }
  static int64_t count(const Json& s, const char* keyword, int64_t fallback, const std::string& path) {
    const Json* v = s.find(keyword);
    if (!v) return fallback;
    if (!v->is_int() || v->as_int() < 0 || v->as_int() > kMaxCount)
      refuse(path + "/" + keyword, "expected 0 to ", kMaxCount, ", got ", v->dump());
    return v->as_int();
  }
  static void in_order(int64_t min, int64_t max, const std::string& path, const char* what) {
    if (max != kNoLimit && min > max) refuse(path + "/" + what, "the minimum ", min, " is above the maximum ", max);
  }

  // A rule for each target, so that schemas may be recursive.
  Sequence reference(const Json& s, const std::string& path, int depth) {
    only(s, {"$ref"}, path, "$ref");
    if (!s.at("$ref").is_string()) refuse(path + "/$ref", "expected a string");
    const std::string& ref = s.at("$ref").as_string();
    const Json& target = resolve(document_, ref, path + "/$ref");
    if (auto it = refs_.find(ref); it != refs_.end()) return {{it->second, -1}};
    const int32_t rule = refs_[ref] = d_.rule(ref);
    d_.alternative(rule, schema(target, ref, depth + 1));
    return {{rule, -1}};
  }

  Sequence values(const Json& s, const std::string& path) {
    only(s, {"enum", "const", "type"}, path, "enum and const");
    if (s.find("enum") && s.find("const")) refuse(path + "/const", "not supported beside enum");
    const Json::Array all = s.find("const") ? Json::Array{s.at("const")} : list(s, "enum", path);
    const Strings types = types_of(s, path);
    std::vector<std::string> texts;
    for (const Json& v : all)
      if (types.empty() || std::any_of(types.begin(), types.end(), [&](auto& t) { return has_type(v, t); }))
        texts.push_back(v.dump());
    if (texts.empty()) refuse(path + "/type", "no value of the enum or const has this type");
    return d_.one_of_texts(std::move(texts));
  }

  Sequence any_of(const Json& s, const char* keyword, const std::string& path, int depth) {
    only(s, {keyword}, path, keyword);
    const Json::Array& members = list(s, keyword, path);
    const bool one = std::string_view(keyword) == "oneOf";
    std::vector<Sequence> out;
    for (size_t i = 0; i < members.size(); ++i) {
      for (size_t k = 0; one && k < i; ++k)
        if (!exclusive(document_, members[k], members[i]))
          refuse(cat(path, "/oneOf/", i), "may hold for the same value as member ", k,
                 "; use anyOf, or tell them apart by type, const or a required property with a const");
      out.push_back(schema(members[i], cat(path, "/", keyword, "/", i), depth + 1));
    }
    d_.scope = path;
    return d_.any_of(std::move(out));
  }

  // One member, or objects whose properties are put together.
  Sequence all_of(const Json& s, const std::string& path, int depth) {
    const Json::Array& members = list(s, "allOf", path);
    if (members.size() == 1 && has_only(s, {"allOf"})) return schema(members[0], path + "/allOf/0", depth + 1);
    Json merged = Json::object();
    merged["type"] = "object";
    merged["properties"] = Json::object();
    merged["required"] = Json::array();
    auto add = [&](const Json& part, const std::string& at, const Strings& keywords) {
      const std::string beside = "allOf: only objects' type, properties and required can be put together";
      if (!part.is_object()) refuse(at, "expected an object as schema");
      only(part, keywords, at, beside);
      if (part.find("type") && part.at("type") != Json("object")) refuse(at + "/type", "not supported beside ", beside);
      if (const Json* p = part.find("properties")) {
        if (!p->is_object()) refuse(at + "/properties", "expected an object");
        for (const auto& [key, value] : p->as_object()) {
          if (merged["properties"].find(key)) refuse(at + "/properties/" + key, "declared twice under allOf");
          merged["properties"][key] = value;
        }
      }
      if (const Json* r = part.find("required")) {
        if (!r->is_array()) refuse(at + "/required", "expected a list");
        for (const Json& key : r->as_array())
          if (const auto& had = merged["required"].as_array(); std::find(had.begin(), had.end(), key) == had.end())
            merged["required"].push(key);
      }
    };
    for (size_t i = 0; i < members.size(); ++i) {
      const Json* part = &members[i];
      const std::string at = cat(path, "/allOf/", i);
      if (part->is_object() && part->find("$ref") && part->at("$ref").is_string() && has_only(*part, {"$ref"}))
        part = &resolve(document_, part->at("$ref").as_string(), at + "/$ref");
      add(*part, at, {"type", "properties", "required"});
    }
    add(s, path, {"allOf", "type", "properties", "required"});
    return object(merged, path, depth);
  }

  Sequence typed(const Json& s, const std::string& type, const std::string& path, int depth) {
    if (type == "object") return object(s, path, depth);
    if (type == "array") return array(s, path, depth);
    if (type == "string") return string(s, path);
    if (type == "integer") return integer(s, path);
    if (type == "boolean") return d_.one_of_texts({"true", "false"});
    return type == "null" ? d_.literal("null") : number(s, path);
  }

  Sequence number(const Json& s, const std::string& path) {
    for (const std::string& k : keywords_of("integer"))
      if (s.find(k)) refuse(path + "/" + k, "supported for integers only");
    return json_.number();
  }

  Sequence integer(const Json& s, const std::string& path) {
    int64_t low = -JsonRules::kMaxInteger, high = JsonRules::kMaxInteger;
    auto bound = [&](const char* keyword, bool lower, bool exclusive_bound) {
      const Json* v = s.find(keyword);
      if (!v) return;
      if (!v->is_number() || !(std::abs(v->as_double()) < 1e18))
        refuse(path + "/" + keyword, "expected a number of at most 18 digits, got ", v->dump());
      const double x = v->is_int() ? 0 : v->as_double();
      const bool whole = v->is_int() || x == std::floor(x);
      int64_t n = v->is_int() ? v->as_int() : static_cast<int64_t>(lower ? std::ceil(x) : std::floor(x));
      if (exclusive_bound && whole) n += lower ? 1 : -1;
      (lower ? low : high) = lower ? std::max(low, n) : std::min(high, n);
    };
    bound("minimum", true, false), bound("exclusiveMinimum", true, true);
    bound("maximum", false, false), bound("exclusiveMaximum", false, true);
    if (low > high) refuse(path, "no integer lies between the minimum and the maximum");
    const bool free = low == -JsonRules::kMaxInteger && high == JsonRules::kMaxInteger;
    return free ? json_.integer() : json_.integer_between(low, high);
  }

  Sequence string(const Json& s, const std::string& path) {
    const int64_t min = count(s, "minLength", 0, path), max = count(s, "maxLength", kNoLimit, path);
    in_order(min, max, path, "minLength");
    const Json *pattern = s.find("pattern"), *format = s.find("format");
    if (!pattern && !format) {
      if (min == 0 && max == kNoLimit) return json_.string();
      return json_.quoted(d_.repeat(json_.string_char(), min, max));
    }
    const char* keyword = pattern ? "pattern" : "format";
    const Json& v = pattern ? *pattern : *format;
    if (!v.is_string()) refuse(path + "/" + keyword, "expected a string");
    if (pattern && format) refuse(path + "/format", "not supported beside pattern");
    for (const char* other : {"minLength", "maxLength"})
      if (s.find(other)) refuse(path + "/" + other, "not supported beside ", keyword);
    const EmitChars chars = [&](const CodeSet& set) { return json_.chars_in_string(set); };
    try {
      if (pattern) return json_.quoted(regex(d_, v.as_string(), RegexMatch::kSearch, chars));
    } catch (const Error& e) { refuse(path + "/pattern", e.what()); }
    const std::string& f = v.as_string();
    std::string text = f == "date"        ? kDate
                       : f == "time"      ? kTime
                       : f == "date-time" ? cat(kDate, "T", kTime)
                       : f == "uuid"      ? "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
                                          : "";
    if (text.empty()) refuse(path + "/format", "expected date, time, date-time or uuid, got '", f, "'; or use pattern");
    return json_.quoted(regex(d_, text, RegexMatch::kWhole, chars));
  }

  Sequence array(const Json& s, const std::string& path, int depth) {
    const int64_t min = count(s, "minItems", 0, path);
    int64_t max = count(s, "maxItems", kNoLimit, path);
    in_order(min, max, path, "minItems");
    if (const Json* u = s.find("uniqueItems"); u && *u != Json(false))
      refuse(path + "/uniqueItems", "not supported; a grammar does not compare items");
    const Json *items = s.find("items"), *prefix = s.find("prefixItems");
    if (!prefix) {
      if (!items && min == 0 && max == kNoLimit) return json_.array();
      const Sequence item = max == 0 || !items ? json_.value() : schema(*items, path + "/items", depth + 1);
      d_.scope = path;
      return json_.list('[', wrap(item), ']', min, max);
    }
    std::vector<Sequence> fixed;
    const Json::Array& listed = list(s, "prefixItems", path);
    for (size_t i = 0; i < listed.size(); ++i)
      fixed.push_back(schema(listed[i], cat(path, "/prefixItems/", i), depth + 1));
    const auto n = static_cast<int64_t>(fixed.size());
    const bool more = items && *items != Json(false);
    Sequence rest;  // from its comma on
    if (more) rest = wrap(d_.literal(",") + json_.space() + schema(*items, path + "/items", depth + 1));
    d_.scope = path;
    if (!more && min > n) refuse(path + "/minItems", "prefixItems has only ", n, " items and no items follow");
    if (max == kNoLimit && !more) max = n;
    Sequence tail;
    if (more && (max == kNoLimit || max > n))
      tail = d_.repeat(rest, std::max<int64_t>(min - n, 0), max == kNoLimit ? max : max - n);
    for (int64_t i = n - 1; i >= 0; --i) {
      if (max != kNoLimit && i >= max) continue;
      tail = (i > 0 ? d_.literal(",") + json_.space() : Sequence()) + fixed[static_cast<size_t>(i)] + tail;
      if (i == 0) tail = std::move(tail) + json_.space();
      tail = i >= min ? d_.optional(tail) : wrap(tail);
    }
    return d_.literal("[") + json_.space() + tail + d_.literal("]");
  }

  // One symbol, so that copies are small.
  Sequence wrap(const Sequence& s) {
    if (s.size() <= 1) return s;
    const int32_t rule = d_.rule(d_.scope);
    d_.alternative(rule, s);
    return {{rule, -1}};
  }

  struct Property {
    std::string key;
    Sequence pair;
    bool required;
  };

  Sequence object(const Json& s, const std::string& path, int depth) {
    const Json *properties = s.find("properties"), *more = s.find("additionalProperties");
    if (!properties && !s.find("required") && (!more || *more == Json(true))) return json_.object();
    std::vector<Property> all = declared(s, path, depth);
    const bool is_open = more && *more != Json(false);
    Sequence extra;  // one additional property
    if (is_open) {
      std::vector<std::string> keys;
      for (const Property& p : all) keys.push_back(p.key);
      const Sequence value = schema(*more, path + "/additionalProperties", depth + 1);
      extra = wrap((keys.empty() ? json_.string() : json_.other_key(keys)) + d_.literal(":") + json_.space() + value);
    }
    d_.scope = path;
    const Sequence comma = d_.literal(",") + json_.space();
    // What may follow, from the last property to the first: with nothing before it, or after a comma.
    Sequence later, first;
    if (is_open) later = d_.repeat(comma + extra, 0, kNoLimit), first = d_.optional(extra + later);
    for (auto p = all.rbegin(); p != all.rend(); ++p) {
      std::vector<Sequence> with_first{p->pair + later}, with_later{comma + p->pair + later};
      if (!p->required) with_first.push_back(first), with_later.push_back(later);
      first = wrap(d_.any_of(std::move(with_first))), later = wrap(d_.any_of(std::move(with_later)));
    }
    return d_.literal("{") + json_.space() + first + json_.space() + d_.literal("}");
  }

  std::vector<Property> declared(const Json& s, const std::string& path, int depth) {
    std::vector<std::string> required;
    if (const Json* r = s.find("required")) {
      if (!r->is_array()) refuse(path + "/required", "expected a list of names");
      for (const Json& key : r->as_array()) {
        if (!key.is_string()) refuse(path + "/required", "expected a list of names, got ", key.dump());
        if (std::find(required.begin(), required.end(), key.as_string()) == required.end())
          required.push_back(key.as_string());
      }
    }
    std::vector<Property> out;
    auto add = [&](const std::string& key, const Json& value, const std::string& at, bool must) {
      const Sequence v = schema(value, at, depth + 1);
      out.push_back({key, wrap(d_.literal(Json(key).dump() + ":") + json_.space() + v), must});
    };
    if (const Json* p = s.find("properties")) {
      if (!p->is_object()) refuse(path + "/properties", "expected an object, got ", p->type_name());
      for (const auto& [key, value] : p->as_object())
        add(key, value, path + "/properties/" + key, std::erase(required, key) > 0);
    }
    const Json* more = s.find("additionalProperties");
    for (const std::string& key : required) {  // required, yet not declared: an additional one
      if (more && *more == Json(false)) refuse(path + "/required", "'", key, "' is required and not allowed");
      add(key, more ? *more : Json(true), path + "/additionalProperties", true);
    }
    return out;
  }

  const Json& document_;
  Draft d_;
  JsonRules json_;
  std::map<std::string, int32_t> refs_;
};

}  // namespace

Grammar schema_grammar(const Json& schema) { return Compiler(schema).run(); }

Grammar json_object_grammar() {
  Json any = Json::object();
  any["type"] = "object";
  return schema_grammar(any);
}

}  // namespace puyu::grammar
