#include "data/quality.h"

#include <algorithm>

namespace puyu {
namespace {

constexpr const char* kBuckets[] = {"head", "middle", "tail"};

bool speaks(const std::string& wanted, const Document& d) {
  return wanted == d.language || wanted == language_group(d.language);
}

}  // namespace

Quality::Quality(const QualityOptions& options) : options_(options) {
  for (const ClassifierRule& r : options_.classifier) {
    if (r.name.empty() || r.model.empty()) fail("[data] quality.classifier: expected a name and a model");
    classifiers_.emplace_back(r.model);
  }
  for (const PerplexityRule& r : options_.perplexity) {
    if (r.model.empty() || !(r.head_below > 0) || r.tail_above < r.head_below)
      fail("[data] quality.perplexity: expected a model and 0 < head_below <= tail_above, got ", r.head_below, " and ",
           r.tail_above);
    for (const std::string& bucket : r.drop)
      if (std::find(std::begin(kBuckets), std::end(kBuckets), bucket) == std::end(kBuckets))
        fail("[data] quality.perplexity.drop: expected head, middle or tail, got '", bucket, "'");
    models_.emplace_back(r.model);
  }
}

uint64_t Quality::checksum() const {
  std::string all;
  for (const Classifier& c : classifiers_) all += hex64(c.checksum());
  for (const NgramModel& m : models_) all += hex64(m.checksum());
  return hash64(all);
}

Verdict Quality::judge(Document& d) const {
  Verdict out;
  for (size_t i = 0; i < classifiers_.size(); ++i) {
    const ClassifierRule& r = options_.classifier[i];
    auto judged = [&](const std::string& l) { return speaks(l, d); };
    if (!r.languages.empty() && std::none_of(r.languages.begin(), r.languages.end(), judged)) continue;
    double score = classifiers_[i].score(d.content);
    d.scores[r.name] = score;
    if (out.rule.empty() && score > r.drop_above) out = {r.name + ".drop_above", score, r.drop_above};
    if (out.rule.empty() && score < r.drop_below) out = {r.name + ".drop_below", score, r.drop_below};
  }
  for (size_t i = 0; i < models_.size(); ++i) {
    const PerplexityRule& r = options_.perplexity[i];
    if (!r.language.empty() && !speaks(r.language, d)) continue;
    double perplexity = models_[i].score(d.content).perplexity();
    size_t bucket = perplexity < r.head_below ? 0 : perplexity > r.tail_above ? 2 : 1;
    d.scores["perplexity"] = perplexity, d.scores["bucket"] = static_cast<double>(bucket);
    if (out.rule.empty() && std::find(r.drop.begin(), r.drop.end(), kBuckets[bucket]) != r.drop.end())
      out = {std::string("perplexity.") + kBuckets[bucket], perplexity, bucket == 0 ? r.head_below : r.tail_above};
  }
  return out;
}

}  // namespace puyu
