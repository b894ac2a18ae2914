#include "data/classifier.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/rng.h"
#include "data/classifier_parts.h"
#include "data/words.h"

namespace puyu {

std::vector<Feature> text_features(std::string_view text, int bits, int ngram, size_t max_words) {
  // A word has 64 bytes at most on average; what is behind will not be looked at.
  std::vector<Word> words = split_words(text.substr(0, max_words * 64));
  if (words.size() > max_words) words.resize(max_words);
  std::vector<uint32_t> buckets;
  buckets.reserve(words.size() * static_cast<size_t>(ngram));
  for (size_t i = 0; i < words.size(); ++i) {
    uint64_t h = 0;
    for (size_t n = 0; n < static_cast<size_t>(ngram) && i + n < words.size(); ++n) {
      h = mix64(h ^ (words[i + n].hash + n + 1));
      buckets.push_back(static_cast<uint32_t>(h >> (64 - bits)));
    }
  }
  std::sort(buckets.begin(), buckets.end());
  std::vector<Feature> out;
  double sum = 0;
  for (size_t i = 0; i < buckets.size();) {
    size_t end = i;
    while (end < buckets.size() && buckets[end] == buckets[i]) ++end;
    double v = 1 + std::log(static_cast<double>(end - i));
    out.push_back({buckets[i], static_cast<float>(v)});
    sum += v * v, i = end;
  }
  auto scale = static_cast<float>(sum > 0 ? 1 / std::sqrt(sum) : 0);
  for (Feature& f : out) f.value *= scale;
  return out;
}

double apply_calibration(const std::pair<double, double>* p, size_t n, double margin) {
  if (n == 1) return 1 / (1 + std::exp(-(p[0].first * margin + p[0].second)));
  auto* next = std::upper_bound(p, p + n, margin, [](double m, auto& point) { return m < point.first; });
  if (next == p) return p[0].second;
  if (next == p + n) return p[n - 1].second;
  double t = (margin - next[-1].first) / (next[0].first - next[-1].first);
  return next[-1].second + t * (next[0].second - next[-1].second);
}
double Calibration::apply(double margin) const { return apply_calibration(points.data(), points.size(), margin); }

// Platt (1999) with Newton steps and backtracking as Lin, Lin & Weng (2007): targets drawn in from 0 and 1.
Calibration fit_platt(const std::vector<double>& margins, const std::vector<bool>& positive) {
  auto count = static_cast<double>(std::count(positive.begin(), positive.end(), true));
  double high = (count + 1) / (count + 2), low = 1 / (static_cast<double>(positive.size()) - count + 2);
  double a = 1, b = std::log((count + 1) / (static_cast<double>(positive.size()) - count + 1));
  auto loss = [&](double x, double y) {
    double sum = 0;
    for (size_t i = 0; i < margins.size(); ++i) {
      double z = x * margins[i] + y, t = positive[i] ? high : low;
      sum += z >= 0 ? std::log1p(std::exp(-z)) + (1 - t) * z : std::log1p(std::exp(z)) - t * z;
    }
    return sum;
  };
  double now = loss(a, b);
  for (int step = 0; step < 100; ++step) {
    double ga = 0, gb = 0, haa = 1e-12, hab = 0, hbb = 1e-12;
    for (size_t i = 0; i < margins.size(); ++i) {
      double p = 1 / (1 + std::exp(-(a * margins[i] + b))), d = p - (positive[i] ? high : low), w = p * (1 - p);
      ga += d * margins[i], gb += d;
      haa += w * margins[i] * margins[i], hab += w * margins[i], hbb += w;
    }
    if (std::abs(ga) < 1e-8 && std::abs(gb) < 1e-8) break;
    double det = haa * hbb - hab * hab, da = -(hbb * ga - hab * gb) / det, db = -(haa * gb - hab * ga) / det;
    if (!(std::abs(det) > 0)) break;
    bool better = false;
    for (int halvings = 0; halvings < 34 && !better; ++halvings) {
      const double size = std::ldexp(1.0, -halvings);
      if (double next = loss(a + size * da, b + size * db); next < now + 1e-4 * size * (ga * da + gb * db)) {
        a += size * da, b += size * db, now = next;
        better = true;
      }
    }
    if (!better) break;
  }
  return {{{a, b}}};
}

// Pool adjacent violators; each pool becomes the point (its mean margin, its share of positives).
Calibration fit_isotonic(const std::vector<double>& margins, const std::vector<bool>& positive) {
  std::vector<size_t> order(margins.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t x, size_t y) { return margins[x] < margins[y]; });
  struct Pool {
    double margin, positive, size;
  };
  std::vector<Pool> pools;
  for (size_t i : order) {
    Pool p{margins[i], positive[i] ? 1.0 : 0.0, 1};
    while (!pools.empty() && (pools.back().positive * p.size >= p.positive * pools.back().size ||
                              pools.back().margin / pools.back().size >= p.margin / p.size)) {
      Pool& q = pools.back();
      p = {p.margin + q.margin, p.positive + q.positive, p.size + q.size};
      pools.pop_back();
    }
    pools.push_back(p);
  }
  Calibration c;
  for (const Pool& p : pools) c.points.emplace_back(p.margin / p.size, p.positive / p.size);
  if (c.points.size() == 1) c.points.emplace_back(c.points[0].first + 1, c.points[0].second);
  return c;
}

Classifier::Classifier(const std::string& path) : file_(path, kClassifierMagic, 1, "puyu data train-classifier") {
  uint64_t bits = file_.field(0), shape = file_.field(1), text = file_.field(2), points = file_.field(3);
  std::string_view body = file_.body();
  uint64_t ngram = shape & 0xff, max_words = shape >> 8, padded = (text + 7) / 8 * 8;
  if (bits < 8 || bits > 28 || ngram < 1 || ngram > 8 || max_words < 1 || max_words > (1 << 24) || text > body.size() ||
      points < 1 || points > body.size() / 16 || padded + points * 16 + 4 * ((uint64_t{1} << bits) + 2) != body.size())
    file_.damaged("its parts do not add up to its size");
  info_ = Json::parse(body.substr(0, text), path);
  bits_ = static_cast<int>(bits), ngram_ = static_cast<int>(ngram), max_words_ = max_words, points_count_ = points;
  points_ = body.data() + padded, weights_ = points_ + points * 16;
  double last = -INFINITY;
  for (size_t i = 0; i < points; ++i) {
    auto m = load_at<double>(points_ + i * 16), p = load_at<double>(points_ + i * 16 + 8);
    if (!(std::abs(m) < 1e100) || !(std::abs(p) < 1e100) || (points > 1 && (m <= last || p < 0 || p > 1)))
      file_.damaged("its calibration is no rising function");
    last = m;
  }
  for (uint64_t i = 0; i < (uint64_t{1} << bits) + 2; ++i)
    if (!std::isfinite(load_at<float>(weights_ + i * 4))) file_.damaged("a weight is not finite");
}

double Classifier::score(std::string_view text) const {
  double margin = load_at<float>(weights_);
  const char* w = weights_ + 8;  // the bias and its padding
  for (const Feature& f : text_features(text, bits_, ngram_, max_words_))
    margin += double{load_at<float>(w + uint64_t{f.bucket} * 4)} * f.value;
  return apply_calibration(reinterpret_cast<const std::pair<double, double>*>(points_), points_count_, margin);
}

}  // namespace puyu
