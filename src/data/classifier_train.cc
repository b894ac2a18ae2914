// Training: AdaGrad, text by text. The models of the cross-validation and the final one are trained side by side, each
// by one thread, so nothing depends on the number of threads.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "base/config.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "data/classifier.h"
#include "data/classifier_parts.h"
#include "data/compress.h"
#include "data/document.h"

namespace puyu {
namespace {

struct Example {
  std::vector<Feature> features;
  bool positive;
};

struct Model {
  float bias = 0;
  std::vector<float> weights;
  double margin(const std::vector<Feature>& features) const {
    double m = bias;
    for (const Feature& f : features) m += double{weights[f.bucket]} * f.value;
    return m;
  }
};

// AdaGrad on one weight.
void step(float& w, float& squares, double gradient, const ClassifierOptions& o) {
  double g = gradient + o.l2 * w;
  squares = static_cast<float>(squares + g * g);
  w = static_cast<float>(w - o.lr * g / std::sqrt(double{squares} + 1e-8));
}

Model train(const std::vector<Example>& all, std::vector<uint32_t> rows, const ClassifierOptions& o) {
  Model m;
  m.weights.assign(size_t{1} << o.bits, 0);
  std::vector<float> squares(m.weights.size());
  float bias_squares = 0;
  Rng rng(static_cast<uint64_t>(o.seed));
  for (int epoch = 0; epoch < o.epochs; ++epoch) {
    rng.shuffle(rows.begin(), rows.end());
    for (uint32_t row : rows) {
      const Example& e = all[row];
      double error = 1 / (1 + std::exp(-m.margin(e.features))) - (e.positive ? 1 : 0);
      for (const Feature& f : e.features) step(m.weights[f.bucket], squares[f.bucket], error * f.value, o);
      step(m.bias, bias_squares, error, o);
    }
  }
  return m;
}

void check(const std::vector<LabelledText>& texts, const ClassifierOptions& o) {
  if (o.bits < 8 || o.bits > 24 || o.ngram < 1 || o.ngram > 8 || o.epochs < 1 || o.max_words < 1 ||
      o.max_words > (1 << 24))
    fail("[classifier] expected bits of 8 to 24, ngram of 1 to 8, at least one epoch and one word");
  if (o.calibration != "platt" && o.calibration != "isotonic")
    fail("[classifier] calibration: expected platt or isotonic, got '", o.calibration, "'");
  int64_t positives = std::count_if(texts.begin(), texts.end(), [](auto& t) { return t.positive; });
  auto all = static_cast<int64_t>(texts.size());
  if (o.folds < 2 || positives < o.folds || all - positives < o.folds)
    fail("[classifier] ", positives, " texts labelled '", o.positive, "' and ", all - positives,
         " others: expected at least as many ", "of each as folds (", o.folds, ", at least 2)");
}

std::string label_text(const Json& label) {
  if (label.is_string()) return label.as_string();
  return label.dump();
}

}  // namespace

std::vector<LabelledText> read_labelled(const std::string& path, const std::string& positive) {
  std::vector<LabelledText> out;
  std::map<std::string, int64_t> labels;
  InputStream in(path);
  int64_t number = 0;
  std::string reason;
  for (std::string line; in.read_line(line);) {
    ++number;
    if (line.empty()) continue;
    auto d = parse_document(line, reason);
    if (!d) fail("[classifier] ", path, ":", number, ": ", reason);
    const Json j = Json::parse(line, cat(path, ":", number));
    const Json* label = j.find("label");
    if (!label) fail("[classifier] ", path, ":", number, ": no field 'label'");
    std::string name = label_text(*label);
    ++labels[name];
    out.push_back({std::move(d->content), d->language, name == positive});
  }
  if (!in.damage().empty()) fail("[classifier] ", path, ": ", in.damage());
  if (!labels.count(positive)) {
    std::string known;
    for (auto& [name, n] : labels) known += cat(known.empty() ? "" : ", ", "'", name, "' (", n, ")");
    fail("[classifier] ", path, ": no text is labelled '", positive, "'; the labels are ",
         known.empty() ? "none" : known);
  }
  return out;
}

ClassifierQuality measure_quality(const std::vector<double>& p, const std::vector<bool>& positive) {
  ClassifierQuality q;
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p[a] > p[b]; });
  q.positives = std::count(positive.begin(), positive.end(), true);
  q.negatives = static_cast<int64_t>(p.size()) - q.positives;
  if (q.positives == 0 || q.negatives == 0) return q;
  auto P = static_cast<double>(q.positives), N = static_cast<double>(q.negatives);
  double tp = 0, fp = 0, area = 0;
  for (size_t i = 0; i < order.size();) {  // ties together
    size_t end = i;
    double up = 0, down = 0;
    for (; end < order.size() && p[order[end]] == p[order[i]]; ++end) (positive[order[end]] ? up : down) += 1;
    area += down * (tp + up / 2);
    tp += up, fp += down;
    q.average_precision += up / P * tp / (tp + fp);
    double f1 = 2 * tp / (P + tp + fp);
    if (f1 > q.best_f1) q.best_f1 = f1, q.best_threshold = p[order[i]];
    if (p[order[i]] >= 0.5) q.precision = tp / (tp + fp), q.recall = tp / P, q.f1 = f1;
    i = end;
  }
  q.auc = area / (P * N);
  double sum[10] = {}, right[10] = {}, count[10] = {};
  for (size_t i = 0; i < p.size(); ++i) {
    auto bin = std::min<size_t>(9, static_cast<size_t>(p[i] * 10));
    sum[bin] += p[i], right[bin] += positive[i], count[bin] += 1;
  }
  for (int b = 0; b < 10; ++b) q.calibration_error += std::abs(sum[b] - right[b]) / (P + N);
  return q;
}

Json to_json(const ClassifierQuality& q) {
  return Json::Object{{"positives", q.positives},
                      {"negatives", q.negatives},
                      {"auc", q.auc},
                      {"average_precision", q.average_precision},
                      {"precision", q.precision},
                      {"recall", q.recall},
                      {"f1", q.f1},
                      {"best_threshold", q.best_threshold},
                      {"best_f1", q.best_f1},
                      {"calibration_error", q.calibration_error}};
}

Json train_classifier(const std::vector<LabelledText>& texts, const ClassifierOptions& o, const std::string& out) {
  check(texts, o);
  const size_t n = texts.size(), folds = static_cast<size_t>(o.folds);
  std::vector<Example> all(n);
  std::vector<size_t> fold(n);
  parallel_for(static_cast<int64_t>(n), [&](int64_t i) {
    all[i] = {text_features(texts[i].text, o.bits, o.ngram, static_cast<size_t>(o.max_words)), texts[i].positive};
    fold[i] = hash64(texts[i].text, static_cast<uint64_t>(o.seed)) % folds;
  });
  // Each text's margin by a model that has not seen it.
  std::vector<double> margins(n);
  std::vector<bool> positive(n);
  Json fold_auc = Json::array();
  std::vector<Model> models(folds + 1);  // the last one sees everything
  parallel_for(o.folds + 1, [&](int64_t k) {
    std::vector<uint32_t> rows;
    for (size_t i = 0; i < n; ++i)
      if (fold[i] != static_cast<size_t>(k)) rows.push_back(static_cast<uint32_t>(i));
    models[static_cast<size_t>(k)] = train(all, std::move(rows), o);
  });
  for (size_t k = 0; k < folds; ++k) {
    std::vector<double> held;
    std::vector<bool> truth;
    for (size_t i = 0; i < n; ++i)
      if (fold[i] == k)
        held.push_back(margins[i] = models[k].margin(all[i].features)), truth.push_back(texts[i].positive);
    fold_auc.push(measure_quality(held, truth).auc);
  }
  for (size_t i = 0; i < n; ++i) positive[i] = texts[i].positive;
  Calibration c = o.calibration == "platt" ? fit_platt(margins, positive) : fit_isotonic(margins, positive);
  std::map<std::string, std::pair<std::vector<double>, std::vector<bool>>> by_language;
  for (size_t i = 0; i < n; ++i)
    for (const std::string& group : {std::string("all"), texts[i].language}) {
      if (group.empty()) continue;
      by_language[group].first.push_back(c.apply(margins[i])), by_language[group].second.push_back(positive[i]);
    }
  Json report = Json::object();
  for (auto& [group, scores] : by_language) report[group] = to_json(measure_quality(scores.first, scores.second));
  report["folds"] = std::move(fold_auc);

  const Model& m = models[folds];
  ClassifierOptions shown = o;
  std::string info = Json(Json::Object{{"options", to_json(list_fields(shown))}, {"report", report}}).dump();
  SealedWriter file(out, kClassifierMagic, 1);
  file.write(info);
  file.pad();
  file.write_values(c.points.data(), c.points.size());
  const float head[2] = {m.bias, 0};
  file.write_values(head, 2);
  file.write_values(m.weights.data(), m.weights.size());
  file.commit({static_cast<uint64_t>(o.bits), static_cast<uint64_t>(o.ngram) | static_cast<uint64_t>(o.max_words) << 8,
               info.size(), c.points.size()});
  return report;
}

}  // namespace puyu
