#include "cli/run_curve.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "eval/html_chart.h"
#include "train/run_log.h"

namespace puyu {
namespace {

std::vector<StepMetrics> steps_of(const std::string& dir) {
  std::vector<StepMetrics> steps = read_metrics(dir + "/metrics.jsonl");
  if (steps.empty()) fail("[info] ", dir, "/metrics.jsonl has no steps yet");
  return steps;
}

bool says(const StepMetrics& m, const char* kind) {
  return std::any_of(m.events.begin(), m.events.end(), [&](const std::string& e) { return e.starts_with(kind); });
}

}  // namespace

bool is_run(const std::string& dir) { return file_exists(dir + "/metrics.jsonl"); }

Json describe_run(const std::string& dir) {
  const std::vector<StepMetrics> steps = steps_of(dir);
  const StepMetrics& last = steps.back();
  Json j = Json::object();
  j["kind"] = "training run";
  j["steps"] = last.step;
  j["phase"] = last.phase;
  j["loss"] = last.loss;
  j["consumed_tokens"] = last.consumed_tokens;
  int64_t skipped = 0, rollbacks = 0;
  double seconds = 0, saving = 0;
  for (const StepMetrics& m : steps) {
    skipped += m.skipped, rollbacks += says(m, "rollback: ");
    seconds += m.seconds, saving += m.save_seconds;
    for (const ValidLoss& v : m.valid) j["valid"][v.name] = v.loss;  // the last one stays
  }
  j["skipped"] = skipped, j["rollbacks"] = rollbacks, j["seconds"] = seconds, j["save_seconds"] = saving;
  for (const SourceLoss& s : last.sources) j["epochs"][s.name] = s.epochs;
  j["finished"] = is_directory(dir + "/model");
  return j;
}

std::string run_curve_svg(const std::string& dir, const std::string& title) {
  LineChart chart{.title = title, .x_label = "step", .y_label = "loss, nats a token"};
  LineChart::Series train{.name = "training"}, out{.name = "left out", .points = true};
  std::map<std::string, LineChart::Series> valid;
  std::string phase;
  for (const StepMetrics& m : steps_of(dir)) {
    const auto x = static_cast<double>(m.step);
    if (m.phase != phase) chart.markers.push_back({x, phase = m.phase});
    if (says(m, "rollback: ")) chart.markers.push_back({x, "rolled back"});
    if (!m.skipped) train.x.push_back(x), train.y.push_back(m.loss);
    if (m.skipped) out.x.push_back(x), out.y.push_back(train.y.empty() ? m.loss : train.y.back());
    for (const ValidLoss& v : m.valid) {
      LineChart::Series& s = valid[v.name];
      s.name = "valid " + v.name;
      s.x.push_back(x), s.y.push_back(v.loss);
    }
  }
  chart.series.push_back(std::move(train));
  for (auto& [name, s] : valid) chart.series.push_back(std::move(s));
  if (!out.x.empty()) chart.series.push_back(std::move(out));
  return render_svg_file(chart);
}

}  // namespace puyu
