#include "data/stages.h"

#include <algorithm>

#include "data/judges.h"
#include "text/langid.h"
#include "text/unicode.h"

namespace puyu {

std::string ledger_line(const Document& d, const char* stage, const char* action, const std::string& rule, double value,
                        double limit, const std::string& of) {
  Json::Object o = {{"id", d.id},       {"source", d.source}, {"url", d.url},   {"stage", stage},
                    {"action", action}, {"rule", rule},       {"value", value}, {"limit", limit}};
  if (!of.empty()) o.emplace_back("of", of);
  return Json(std::move(o)).dump() + "\n";
}

bool Stages::drop(Stage& s, const Document& d, const std::string& rule, double value, double limit, int64_t bytes) {
  s.dropped[rule].add(bytes);
  ledger += ledger_line(d, s.name.c_str(), "drop", rule, value, limit);
  if (examples.wants(s.name, rule, d))
    examples.add(s.name, rule, d, judges_.safety.masked(example_text(d)), value, limit);
  return false;
}

void Stages::change(Stage& s, const Document& d, const std::string& kind, int64_t count) {
  if (count == 0) return;
  ++s.changed[kind];
  ledger += ledger_line(d, s.name.c_str(), "change", kind, static_cast<double>(count));
}

void Stages::fail(const ReadFailure& f) {
  Stage& s = funnel.stage("read");
  s.in.add(f.bytes);
  drop(s, f.document, f.reason, static_cast<double>(f.bytes), 0, f.bytes);
}

bool Stages::normalise(Document& d) {
  Stage& s = funnel.stage("normalise");
  auto before = static_cast<int64_t>(d.content.size());
  s.in.add(before);
  TextChanges c, title;
  d.content = normalize_text(d.content, c);
  d.title = normalize_text(d.title, title);
  std::replace(d.title.begin(), d.title.end(), '\n', ' ');
  change(s, d, "invalid_utf8", c.invalid_utf8);
  change(s, d, "control", c.control);
  change(s, d, "newlines", c.newlines);
  change(s, d, "spaces", c.spaces);
  change(s, d, "nfc", c.nfc);
  if (d.format == Format::kWeb) change(s, d, "policy_lines", remove_policy_lines(d.content));
  if (d.content.empty()) return drop(s, d, "empty", 0, 0, before);
  s.kept.add(static_cast<int64_t>(d.content.size()));
  return true;
}

bool Stages::identify(Document& d) {
  Stage& s = funnel.stage("language");
  auto bytes = static_cast<int64_t>(d.content.size());
  s.in.add(bytes);
  double score = 1;
  if (d.language.empty() || language_group(d.language) == "other") {
    Language l = detect_language(d.content);
    d.language = l.code, score = l.score;
  }
  d.scores["language"] = score;
  auto wanted = [&](const std::string& l) { return l == d.language || l == language_group(d.language); };
  if (std::none_of(config_.languages.begin(), config_.languages.end(), wanted))
    return drop(s, d, "language_" + d.language, score, 0, bytes);
  if (score < config_.min_language_score) return drop(s, d, "language_mixed", score, config_.min_language_score, bytes);
  s.kept.add(bytes);
  return true;
}

bool Stages::filter(Document& d) {
  Stage& s = funnel.stage("filter");
  auto bytes = static_cast<int64_t>(d.content.size());
  s.in.add(bytes);
  std::string group = language_group(d.language);
  FilterRules rules = group == "zh" ? config_.zh : group == "code" ? config_.code : config_.en;
  if (d.format == Format::kManual) rules.min_ended_lines = 0;  // lists of options end in anything
  LineChanges lines = filter_lines(d.content, rules.lines);
  for (const auto& [rule, count] : lines.lines) change(s, d, group + "." + rule, count);
  double lost = lines.words > 0 ? lines.removed_words / lines.words : 0, most = rules.lines.max_removed_words;
  if (most >= 0 && lost > most) return drop(s, d, group + ".max_removed_words", lost, most, bytes);
  if (d.content.empty()) return drop(s, d, group + ".no_line_left", 1, 0, bytes);
  Verdict v = judge(d.content, rules, group == "zh");
  if (!v.rule.empty()) return drop(s, d, group + "." + v.rule, v.value, v.limit, bytes);
  s.kept.add(static_cast<int64_t>(d.content.size()));
  return true;
}

bool Stages::process(Document& d) {
  Stage& s = funnel.stage("read");
  s.in.add(static_cast<int64_t>(d.content.size()));
  s.kept.add(static_cast<int64_t>(d.content.size()));
  for (const auto& [kind, count] : d.repairs) change(s, d, kind, count);
  auto runs = [&](const char* name) { return has_stage(config_, name); };
  return (!runs("normalise") || normalise(d)) && (!runs("language") || identify(d)) && (!runs("filter") || filter(d)) &&
         (!runs("safe") || safe(d)) && (!runs("quality") || quality(d)) && (!runs("decontaminate") || decontaminate(d));
}

}  // namespace puyu
