#include "data/examples.h"

#include <algorithm>

#include "base/hash.h"
#include "base/utf8.h"

namespace puyu {

std::string example_text(const Document& d) {
  std::string_view text = utf8_prefix(d.content, kExampleBytes);
  return std::string(text) + (text.size() < d.content.size() ? " …" : "");
}

bool Examples::wants(const std::string& stage, const std::string& rule, const Document& d) const {
  auto s = by_rule_.find(stage);
  if (s == by_rule_.end()) return true;
  auto r = s->second.find(rule);
  if (r == s->second.end() || r->second.size() < kExamplesPerRule) return true;
  return hash64(d.id) < r->second.back().order;
}

void Examples::insert(std::vector<Example>& list, Example e) {
  auto at = std::lower_bound(list.begin(), list.end(), e, [](const Example& a, const Example& b) {
    return std::tie(a.order, a.id) < std::tie(b.order, b.id);
  });
  list.insert(at, std::move(e));
  if (list.size() > kExamplesPerRule) list.pop_back();
}

void Examples::add(const std::string& stage, const std::string& rule, const Document& d, std::string text, double value,
                   double limit) {
  insert(by_rule_[stage][rule], {hash64(d.id), d.id, d.source, d.url, std::move(text), value, limit});
}

void Examples::merge(const Examples& other) {
  for (const auto& [stage, rules] : other.by_rule_)
    for (const auto& [rule, list] : rules)
      for (const Example& e : list) insert(by_rule_[stage][rule], e);
}

const std::map<std::string, std::vector<Examples::Example>>& Examples::of_stage(const std::string& stage) const {
  static const std::map<std::string, std::vector<Example>> kNone;
  auto it = by_rule_.find(stage);
  return it == by_rule_.end() ? kNone : it->second;
}

Json Examples::to_json() const {
  Json out = Json::object();
  for (const auto& [stage, rules] : by_rule_) {
    Json of_stage = Json::object();
    for (const auto& [rule, list] : rules) {
      Json of_rule = Json::array();
      for (const Example& e : list)
        of_rule.push(Json::Object{{"id", e.id},
                                  {"source", e.source},
                                  {"url", e.url},
                                  {"value", e.value},
                                  {"limit", e.limit},
                                  {"text", e.text}});
      of_stage[rule] = std::move(of_rule);
    }
    out[stage] = std::move(of_stage);
  }
  return out;
}

Examples Examples::from_json(const Json& j) {
  Examples out;
  for (const auto& [stage, rules] : j.as_object())
    for (const auto& [rule, list] : rules.as_object())
      for (const Json& e : list.as_array()) {
        Document d;
        d.id = e.at("id").as_string(), d.source = e.at("source").as_string(), d.url = e.at("url").as_string();
        out.add(stage, rule, d, e.at("text").as_string(), e.at("value").as_double(), e.at("limit").as_double());
      }
  return out;
}

}  // namespace puyu
