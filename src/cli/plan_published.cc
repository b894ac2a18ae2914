// puyu plan published: predictions beside what others have measured.
#include <cmath>
#include <cstdio>
#include <map>

#include "base/file.h"
#include "base/json.h"
#include "cli/plan.h"
#include "cli/verbs.h"
#include "eval/html_chart.h"
#include "eval/text_table.h"
#include "train/plan_published.h"

namespace puyu {
namespace {

struct Options {
  bool json = false;
  std::string svg;
  template <class F>
  void fields(F&& f) {
    f("json", json, "print JSON");
    f("svg", svg, "write the scaling curves as a picture to this file");
  }
};

constexpr const char* kHelp =
    "Predicts every published measurement that the planner knows (src/train/plan_published.cc names run and source) "
    "and\n"
    "prints both, as Markdown. Points with a * are those the constants of the A100 were chosen on; the others are held "
    "out.\n\n"
    "  puyu plan published --svg docs/benchmarks/plan.svg\n";

std::string error_text(double e) { return cat(e < 0 ? "−" : "+", fixed(100 * std::abs(e), 1), " %"); }

// Published points over predicted lines, tokens per second and GPU.
LineChart curves(const std::vector<PublishedPoint>& points) {
  LineChart chart;
  chart.title = "InternLM-7B on A100: points published by InternEvo, lines predicted", chart.x_label = "GPUs";
  chart.y_label = "tokens per second and GPU", chart.log_x = true;
  std::map<std::string, size_t> at;
  for (const auto& p : points) {
    const auto same = [&](const PublishedPoint& q) { return q.series == p.series; };
    if (p.mfu || std::count_if(points.begin(), points.end(), same) < 8) continue;
    const auto [i, fresh] = at.try_emplace(p.series, chart.series.size());
    if (fresh) {
      chart.series.push_back({p.series, {}, {}});
      chart.series.push_back({p.series, {}, {}, true, static_cast<int>(at.size()) - 1});
    }
    const auto x = static_cast<double>(p.cluster.ranks());
    LineChart::Series &line = chart.series[i->second], &dots = chart.series[i->second + 1];
    line.x.push_back(x), line.y.push_back(predict(p)), dots.x.push_back(x), dots.y.push_back(p.value);
  }
  // Lines first, so that a line's number is its colour.
  std::stable_sort(chart.series.begin(), chart.series.end(),
                   [](const auto& a, const auto& b) { return a.points < b.points; });
  return chart;
}

}  // namespace

int run_plan_published(const std::vector<std::string>& argv) {
  Options o;
  Fields f = list_fields(o);
  const Verb verb = {"plan published", "puyu plan published [options]", "the planner against published measurements",
                     run_plan_published};
  if (wants_help(argv, verb, kHelp, f)) return 0;
  if (!parse_args(argv, f).positional.empty()) throw UsageError("expected no more words");
  const auto points = published_points();
  TextTable table{{"run", "GPUs", "published", "predicted", "error", ""}, {}, {false, true, true, true, true, false}};
  Json j = Json::array();
  double worst = 0;
  for (const PublishedPoint& p : points) {
    const double v = predict(p), e = v / p.value - 1;
    worst = std::max(worst, std::abs(e));
    const double scale = p.mfu ? 100 : 1;
    table.rows.push_back({p.series, std::to_string(p.cluster.ranks()),
                          fixed(scale * p.value, 0) + (p.mfu ? " % MFU" : ""), fixed(scale * v, p.mfu ? 1 : 0),
                          error_text(e), p.calibrated ? "*" : ""});
    j.push(Json::Object{{"series", p.series},
                        {"source", p.source},
                        {"gpus", p.cluster.ranks()},
                        {"unit", p.mfu ? "mfu" : "tgs"},
                        {"published", p.value},
                        {"predicted", v},
                        {"calibrated", p.calibrated}});
  }
  if (!o.svg.empty()) write_file(o.svg, render_svg_file(curves(points)));
  if (o.json)
    std::printf("%s\n", j.dump().c_str());
  else
    std::printf("%s\n%zu points; the largest error is %.1f %%.\n", to_markdown(table).c_str(), points.size(),
                100 * worst);
  return 0;
}

}  // namespace puyu
