// puyu data report: a run as a page, in the form in which WanJuan-CC tells its own (removed of the stage before, kept
// of everything), with examples of what each rule dropped.
#include <algorithm>
#include <cstdio>

#include "base/file.h"
#include "base/progress.h"
#include "cli/data_tools.h"
#include "data/examples.h"
#include "data/funnel.h"
#include "eval/html_report.h"

namespace puyu {
namespace {

struct ReportOptions {
  std::string out;
  template <class F>
  void fields(F&& f) {
    f("out", out, "the page; empty: report.html in the run's folder");
  }
};

std::string percent(int64_t part, int64_t whole) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f %%",
                whole ? 100.0 * static_cast<double>(part) / static_cast<double>(whole) : 0.0);
  return text;
}
std::string bytes_text(int64_t bytes) { return format_count(static_cast<double>(bytes), "B"); }

Section funnel_section(const Funnel& f) {
  const Amount& all = f.stages[0].in;
  BarChart documents{.title = "Documents after each stage",
                     .bars = {{"in", static_cast<double>(all.documents), std::to_string(all.documents), ""}},
                     .percent = true};
  Table t{
      "", {"stage", "documents", "removed of the stage before", "kept of all", "bytes", "removed", "kept of all"}, {}};
  t.rows.push_back({"in", std::to_string(all.documents), "", "100 %", bytes_text(all.bytes), "", "100 %"});
  for (const Stage& s : f.stages) {
    int64_t removed = s.in.documents - s.kept.documents, removed_bytes = s.in.bytes - s.kept.bytes;
    documents.bars.push_back({s.name, static_cast<double>(s.kept.documents), std::to_string(s.kept.documents),
                              "−" + percent(removed, s.in.documents) + " of the stage before"});
    t.rows.push_back({s.name, std::to_string(s.kept.documents), "−" + percent(removed, s.in.documents),
                      percent(s.kept.documents, all.documents), bytes_text(s.kept.bytes),
                      "−" + percent(removed_bytes, s.in.bytes), percent(s.kept.bytes, all.bytes)});
  }
  return {"Funnel", {documents, t}};
}

Section stage_section(const Stage& s, const Examples& examples) {
  Section out{s.name, {}};
  std::vector<std::pair<std::string, Amount>> dropped(s.dropped.begin(), s.dropped.end());
  std::stable_sort(dropped.begin(), dropped.end(),
                   [](auto& a, auto& b) { return a.second.documents > b.second.documents; });
  Table rules{"Dropped by rule", {"rule", "documents", "of the stage's", "bytes"}, {}};
  for (const auto& [rule, a] : dropped)
    rules.rows.push_back(
        {rule, std::to_string(a.documents), percent(a.documents, s.in.documents), bytes_text(a.bytes)});
  if (!rules.rows.empty()) out.blocks.emplace_back(rules);
  Table changes{"Changed", {"what", "documents", "of the stage's"}, {}};
  for (const auto& [kind, n] : s.changed) changes.rows.push_back({kind, std::to_string(n), percent(n, s.in.documents)});
  if (!changes.rows.empty()) out.blocks.emplace_back(changes);
  const auto& of_stage = examples.of_stage(s.name);
  for (const auto& [rule, a] : dropped)
    if (auto list = of_stage.find(rule); list != of_stage.end())
      for (const Examples::Example& e : list->second)
        if (!e.text.empty())
          out.blocks.emplace_back(
              Code{cat(rule, ": ", e.source, "/", e.url, " (value ", e.value, ", limit ", e.limit, ", id ", e.id, ")"),
                   e.text});
  if (out.blocks.empty()) out.blocks.emplace_back(Text{"Nothing was dropped or changed here."});
  return out;
}

Table amounts_table(const std::string& caption, const std::map<std::string, Amount>& amounts, const Amount& all) {
  Table t{caption, {"", "documents", "share", "bytes", "share"}, {}};
  for (const auto& [name, a] : amounts)
    t.rows.push_back({name, std::to_string(a.documents), percent(a.documents, all.documents), bytes_text(a.bytes),
                      percent(a.bytes, all.bytes)});
  return t;
}

int run_report(const std::vector<std::string>& argv) {
  ReportOptions o;
  Fields f = list_fields(o);
  constexpr const char* kHelp =
      "Writes a page about a run of 'puyu data run': what each stage removed and kept, by documents and bytes, every "
      "rule with\n"
      "its count, and examples of the texts it dropped. The page needs nothing else and runs no script.\n";
  if (wants_help(argv, kDataReport, kHelp, f)) return 0;
  Args a = parse_args(argv, f, {{"o", "out"}});
  if (a.positional.size() != 2) throw UsageError("expected the folder of a run");
  const std::string& dir = a.positional[1];
  if (!file_exists(dir + "/run.json"))
    fail("[data] ", dir, ": expected the folder of a finished 'puyu data run', found no run.json");
  Funnel funnel = funnel_from_json(Json::parse(read_file(dir + "/funnel.json"), dir + "/funnel.json"));
  if (funnel.stages.empty()) fail("[data] ", dir, "/funnel.json: no stages");
  Examples examples = Examples::from_json(Json::parse(read_file(dir + "/examples.json"), dir + "/examples.json"));
  const Amount &all = funnel.stages[0].in, &kept = funnel.stages.back().kept;
  HtmlReport page{.title = "Data run", .subtitle = dir, .numbers = {}, .sections = {}, .footer = ""};
  page.numbers = {{"documents in", std::to_string(all.documents), bytes_text(all.bytes)},
                  {"documents kept", std::to_string(kept.documents), percent(kept.documents, all.documents)},
                  {"bytes kept", bytes_text(kept.bytes), percent(kept.bytes, all.bytes)}};
  page.sections.push_back(funnel_section(funnel));
  page.sections.push_back(
      {"What is left",
       {amounts_table("By language", funnel.languages, kept), amounts_table("By source", funnel.sources, kept)}});
  for (const Stage& s : funnel.stages) page.sections.push_back(stage_section(s, examples));
  page.footer = "Why one document is there or not: puyu data why ID --run " + dir;
  std::string out = o.out.empty() ? dir + "/report.html" : o.out;
  write_file(out, render_html(page));
  std::printf("%s\n", out.c_str());
  return 0;
}

}  // namespace

const Verb kDataReport = {"data report", "puyu data report RUN [--out FILE.html]",
                          "a page about a run, with examples of what was dropped", run_report};

}  // namespace puyu
