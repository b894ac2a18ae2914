// The demo's report.html: loss curves, the data funnel, answers before and after each stage, all numbers.
#include <cmath>
#include <cstdio>

#include "base/config.h"
#include "base/error.h"
#include "base/progress.h"
#include "cli/demo.h"
#include "eval/html_report.h"

namespace puyu {
namespace {

std::string number(double v, int digits) {
  char buf[32];
  std::snprintf(buf, sizeof buf, "%.*f", digits, v);
  return buf;
}
std::string percent(const Json& estimate) {
  return cat(number(100 * estimate.at("value").as_double(), 1), " ± ",
             number(100 * estimate.at("error").as_double(), 1), " %");
}

// One series of a station's "curve" (an array of objects): y over x.
LineChart::Series series(const Json& curve, const char* name, const char* x, const char* y) {
  LineChart::Series s{name, {}, {}};
  for (const Json& point : curve.as_array()) {
    if (!point.find(y)) continue;
    s.x.push_back(point.at(x).as_double());
    s.y.push_back(point.at(y).as_double());
  }
  return s;
}

// Means of `window` neighbours, for curves whose single steps say little.
LineChart::Series smooth(LineChart::Series s, size_t window) {
  LineChart::Series out{s.name, {}, {}};
  for (size_t end = window; end <= s.x.size(); end += window) {
    double sum = 0;
    for (size_t i = end - window; i < end; ++i) sum += s.y[i];
    out.x.push_back(s.x[end - 1]);
    out.y.push_back(sum / static_cast<double>(window));
  }
  return out.x.empty() ? s : out;
}

Section data_section(const Stations& s) {
  const Funnel funnel = funnel_from_json(s.result("data").at("funnel"));
  BarChart kept{.title = "Documents that are left after each stage"};
  auto bar = [&](const std::string& name, const Amount& a) {
    kept.bars.push_back({name, static_cast<double>(a.documents), "", format_count(static_cast<double>(a.bytes), "B")});
  };
  Table dropped{"What was dropped, and why", {"stage", "rule", "documents", "bytes"}, {}};
  if (!funnel.stages.empty()) bar("in", funnel.stages[0].in);
  for (const Stage& stage : funnel.stages) {
    bar(stage.name, stage.kept);
    for (const auto& [rule, a] : stage.dropped)
      dropped.rows.push_back({stage.name, rule, cat(a.documents), format_count(static_cast<double>(a.bytes), "B")});
  }
  const Json& tokens = s.result("tokens");
  return {"Data",
          {kept, dropped,
           Text{cat("Training tokens: ", tokens.at("train_tokens").as_int(), "; vocabulary ",
                    s.result("tokenizer").at("vocab_size").as_int(), ".")}}};
}

Section pretrain_section(const Stations& s) {
  const Json& r = s.result("pretrain");
  LineChart loss{.title = "Training loss",
                 .x_label = "step",
                 .y_label = "nats per token",
                 .series = {series(r.at("curve"), "training", "step", "loss")}};
  LineChart valid{.title = "Held-out loss by language", .x_label = "step", .y_label = "nats per token"};
  for (const auto& [name, curve] : r.at("valid").as_object())
    valid.series.push_back(series(curve, name.c_str(), "step", "loss"));
  for (const Json& p : r.at("phases").as_array())
    for (LineChart* c : {&loss, &valid}) c->markers.push_back({p.at("begin").as_double(), p.at("name").as_string()});
  LineChart norm{.title = "Gradient norm",
                 .x_label = "step",
                 .y_label = "norm",
                 .log_y = true,
                 .series = {series(r.at("curve"), "grad_norm", "step", "grad_norm")}};
  return {"Pre-training",
          {Text{cat(r.at("parameters").as_int(), " parameters, ", format_count(r.at("tokens").as_double(), "tokens"),
                    ", ", format_count(r.at("tgs").as_double(), "tokens"), "/s.")},
           loss, valid, norm}};
}

Section align_section(const Stations& s) {
  const Json &sft = s.result("finetune"), &reward = s.result("reward"), &ppo = s.result("rlhf");
  LineChart sft_loss{.title = "SFT loss",
                     .x_label = "step",
                     .y_label = "nats per counted token",
                     .series = {series(sft.at("curve"), "answers", "step", "loss"),
                                series(sft.at("valid"), "held-out answers", "step", "loss"),
                                series(sft.at("curve"), "text beside them", "step", "text_loss")}};
  auto chart = [](const char* title, const char* y, std::vector<LineChart::Series> lines) {
    return LineChart{.title = title, .x_label = "step", .y_label = y, .series = std::move(lines)};
  };
  const Json& steps = ppo.at("curve");
  return {"Alignment",
          {sft_loss,
           chart("Reward model: pairs in the right order", "share of a step's pairs, means of 20 steps",
                 {smooth(series(reward.at("curve"), "pairs", "step", "accuracy"), 20)}),
           Text{cat("Accuracy of the reward model on ", reward.at("pairs").as_int(),
                    " held-out pairs: ", number(100 * reward.at("accuracy").as_double(), 1), " %.")},
           chart("PPO: what is right", "share, means of 10 steps",
                 {smooth(series(steps, "sampled answers", "step", "accuracy"), 10),
                  smooth(series(steps, "the reward model on them", "step", "ranked"), 10)}),
           chart("PPO: reward of the rollouts", "reward model's score, means of 10 steps",
                 {smooth(series(steps, "reward", "step", "reward"), 10)}),
           chart("PPO: KL to the SFT model", "nats per token, means of 10 steps",
                 {smooth(series(steps, "KL", "step", "kl"), 10)})}};
}

Section eval_section(const Stations& s) {
  Table t{"Every number with its standard error", {"task", "metric", "n", "base", "SFT", "RLHF"}, {}};
  const char* stages[] = {"eval-base", "eval-sft", "eval-rlhf"};
  const auto& rows = s.result("eval-rlhf").at("results").as_array();
  for (size_t i = 0; i < rows.size(); ++i) {
    std::vector<std::string> row{rows[i].at("task").as_string(), rows[i].at("metric").as_string(),
                                 cat(rows[i].at("n").as_int())};
    for (const char* stage : stages) {
      const Json& e = s.result(stage).at("results").as_array().at(i);
      const bool share = e.at("share").as_bool();
      row.push_back(share ? percent(e)
                          : cat(number(e.at("value").as_double(), 3), " ± ", number(e.at("error").as_double(), 3)));
    }
    t.rows.push_back(std::move(row));
  }
  Transcript answers{"The same questions after each stage (greedy)", {"base", "SFT", "RLHF"}, {}};
  for (size_t i = 0; i < demo_questions().size(); ++i) {
    Transcript::Row row{demo_questions()[i], "", {}};
    for (const char* stage : stages)
      row.answers.push_back({s.result(stage).at("answers").as_array().at(i).as_string(), Transcript::Mark::kNone});
    answers.rows.push_back(std::move(row));
  }
  return {"Evaluation", {t, answers}};
}

Section time_section(const Stations& s) {
  BarChart bars{.title = "Where the time went", .percent = false};
  for (const auto& d : s.done()) bars.bars.push_back({d.name, d.seconds, format_duration(d.seconds), ""});
  return {"Time", {bars}};
}

}  // namespace

std::string demo_report(const DemoOptions& o, const Stations& s) {
  HtmlReport r{.title = "puyu: the whole chain on real text", .subtitle = cat("corpus ", o.corpus, ", run ", o.out)};
  for (const Json& e : s.result("eval-rlhf").at("results").as_array())
    if (e.at("share").as_bool())
      r.numbers.push_back({e.at("task").as_string(), percent(e), cat("n = ", e.at("n").as_int())});
  r.sections = {eval_section(s), data_section(s), pretrain_section(s), align_section(s), time_section(s)};
  DemoOptions copy = o;
  r.sections.push_back({"Options", {Code{"all options of this run", to_toml(list_fields(copy))}}});
  return render_html(r);
}

}  // namespace puyu
