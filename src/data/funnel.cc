#include "data/funnel.h"

#include <algorithm>
#include <cstdio>

#include "base/progress.h"
#include "base/utf8.h"

namespace puyu {
namespace {

Json amount_json(const Amount& a) { return Json::Object{{"documents", a.documents}, {"bytes", a.bytes}}; }
Amount amount_from(const Json& j) { return {j.at("documents").as_int(), j.at("bytes").as_int()}; }

Json amounts_json(const std::map<std::string, Amount>& amounts) {
  Json out = Json::object();
  for (const auto& [name, a] : amounts) out[name] = amount_json(a);
  return out;
}
std::map<std::string, Amount> amounts_from(const Json& j) {
  std::map<std::string, Amount> out;
  for (const auto& [name, a] : j.as_object()) out[name] = amount_from(a);
  return out;
}

void merge_amounts(std::map<std::string, Amount>& into, const std::map<std::string, Amount>& from) {
  for (const auto& [name, a] : from) into[name].documents += a.documents, into[name].bytes += a.bytes;
}

std::string padded(std::string text, size_t width, bool right) {
  size_t w = display_width(text);
  std::string spaces(w < width ? width - w : 0, ' ');
  return right ? spaces + text : text + spaces;
}

std::string row(const std::string& what, const Amount& a, const std::string& share) {
  return padded(what, 34, false) + padded(std::to_string(a.documents), 10, true) +
         padded(a.bytes < 0 ? "" : format_count(static_cast<double>(a.bytes), "B"), 12, true) + padded(share, 9, true) +
         "\n";
}

std::string percent(int64_t part, int64_t whole) {
  char out[16];
  std::snprintf(out, sizeof out, "%.1f %%", whole ? 100.0 * static_cast<double>(part) / static_cast<double>(whole) : 0);
  return out;
}

}  // namespace

Stage& Funnel::stage(const std::string& name) {
  for (Stage& s : stages)
    if (s.name == name) return s;
  stages.push_back({name, {}, {}, {}, {}});
  return stages.back();
}

void Funnel::merge(const Funnel& other) {
  for (const Stage& from : other.stages) {
    Stage& s = stage(from.name);
    s.in.documents += from.in.documents, s.in.bytes += from.in.bytes;
    s.kept.documents += from.kept.documents, s.kept.bytes += from.kept.bytes;
    merge_amounts(s.dropped, from.dropped);
    for (const auto& [kind, n] : from.changed) s.changed[kind] += n;
  }
  merge_amounts(languages, other.languages);
  merge_amounts(sources, other.sources);
}

Json to_json(const Funnel& f) {
  Json stages = Json::array();
  for (const Stage& s : f.stages) {
    Json changed = Json::object();
    for (const auto& [kind, n] : s.changed) changed[kind] = n;
    stages.push(Json::Object{{"name", s.name},
                             {"in", amount_json(s.in)},
                             {"kept", amount_json(s.kept)},
                             {"dropped", amounts_json(s.dropped)},
                             {"changed", std::move(changed)}});
  }
  return Json::Object{
      {"stages", std::move(stages)}, {"languages", amounts_json(f.languages)}, {"sources", amounts_json(f.sources)}};
}

Funnel funnel_from_json(const Json& j) {
  Funnel f;
  for (const Json& s : j.at("stages").as_array()) {
    Stage stage{s.at("name").as_string(),
                amount_from(s.at("in")),
                amount_from(s.at("kept")),
                amounts_from(s.at("dropped")),
                {}};
    for (const auto& [kind, n] : s.at("changed").as_object()) stage.changed[kind] = n.as_int();
    f.stages.push_back(std::move(stage));
  }
  f.languages = amounts_from(j.at("languages"));
  f.sources = amounts_from(j.at("sources"));
  return f;
}

std::string format_funnel(const Funnel& f) {
  std::string out = padded("", 34, false) + padded("documents", 10, true) + padded("bytes", 12, true) + "\n";
  if (f.stages.empty()) return out;
  int64_t all = f.stages[0].in.documents;
  out += row("in", f.stages[0].in, "100.0 %");
  for (const Stage& s : f.stages) {
    std::vector<std::pair<std::string, Amount>> dropped(s.dropped.begin(), s.dropped.end());
    std::stable_sort(dropped.begin(), dropped.end(),
                     [](auto& a, auto& b) { return a.second.documents > b.second.documents; });
    for (const auto& [rule, a] : dropped) out += row("    - " + rule, a, percent(a.documents, all));
    for (const auto& [kind, n] : s.changed) out += row("    ~ " + kind, {n, -1}, percent(n, all));
    out += row(s.name, s.kept, percent(s.kept.documents, all));
  }
  for (const auto& [name, a] : f.languages) out += row("  language " + name, a, percent(a.documents, all));
  for (const auto& [name, a] : f.sources) out += row("  source " + name, a, percent(a.documents, all));
  return out;
}

}  // namespace puyu
