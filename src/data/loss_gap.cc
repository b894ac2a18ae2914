#include "data/loss_gap.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "data/compress.h"
#include "data/loss_scorer.h"

namespace puyu {
namespace {

Json to_json(const SetLoss& s) {
  return Json::Object{
      {"loss", s.mean}, {"error", s.error}, {"samples", s.samples}, {"tokens", s.tokens}, {"cut", s.cut}};
}

}  // namespace

SetLoss mean_loss(LossScorer& scorer, const std::vector<std::string>& texts) {
  SetLoss s;
  std::vector<std::pair<double, double>> samples;  // loss, tokens
  for (const std::string& text : texts) {
    std::vector<int32_t> ids = scorer.tokenizer().prefix();
    const std::vector<int32_t> own = scorer.tokenizer().encode_untrusted(text);
    const size_t before = std::max<size_t>(1, ids.size());
    ids.insert(ids.end(), own.begin(), own.end());
    if (static_cast<int64_t>(ids.size()) > scorer.context()) ids.resize(static_cast<size_t>(scorer.context())), ++s.cut;
    if (ids.size() <= before) continue;
    double loss = 0;
    for (const float l : scorer.logp(ids, before)) loss -= double{l};
    samples.emplace_back(loss, static_cast<double>(ids.size() - before));
  }
  if (samples.empty()) fail("[data] loss test: a set without a text of two tokens");
  double loss = 0, tokens = 0, squares = 0;
  for (const auto& [l, n] : samples) loss += l, tokens += n;
  s.mean = loss / tokens, s.tokens = static_cast<int64_t>(tokens), s.samples = static_cast<int64_t>(samples.size());
  // A ratio of two sums over samples: its error by the residuals.
  for (const auto& [l, n] : samples) squares += (l - s.mean * n) * (l - s.mean * n);
  const auto k = static_cast<double>(samples.size());
  s.error = k > 1 ? std::sqrt(squares * k / (k - 1)) / tokens : 0;
  return s;
}

Json to_json(const LossTest& t) {
  auto error = [](const SetLoss& a, const SetLoss& b) { return std::sqrt(a.error * a.error + b.error * b.error); };
  return Json::Object{{"test", to_json(t.test)},
                      {"train", to_json(t.train)},
                      {"reference", to_json(t.reference)},
                      {"delta1", t.delta1()},
                      {"delta1_error", error(t.test, t.reference)},
                      {"delta2", t.delta2()},
                      {"delta2_error", error(t.test, t.train)}};
}

std::vector<std::string> read_samples(const std::string& path, int64_t limit) {
  if (limit < 1) fail("[data] loss test: expected a limit of at least 1, got ", limit);
  std::vector<std::string> all, out;
  InputStream in(path);
  int64_t number = 0;
  for (std::string line; in.read_line(line);) {
    ++number;
    if (line.empty()) continue;
    const Json j = Json::parse(line, cat(path, ":", number));
    std::string text;
    for (const char* key : {"question", "answer", "text", "content"})
      if (const Json* v = j.is_object() ? j.find(key) : nullptr; v && v->is_string())
        text += (text.empty() ? "" : "\n") + v->as_string();
    if (text.empty())
      fail("[data] ", path, ":", number, ": expected an object with question and answer, text or content");
    all.push_back(std::move(text));
  }
  if (!in.damage().empty()) fail("[data] ", path, ": ", in.damage());
  if (all.empty()) fail("[data] ", path, ": no samples");
  const size_t count = std::min(all.size(), static_cast<size_t>(limit));
  for (size_t i = 0; i < count; ++i) out.push_back(std::move(all[i * all.size() / count]));
  return out;
}

}  // namespace puyu
