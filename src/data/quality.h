// The stage "quality" of a run: classifiers with bounds for each language, and the perplexity of an n-gram model with
// CCNet's three buckets: head (like the texts of the model), middle and tail. Off until a model is named.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/classifier.h"
#include "data/document.h"
#include "data/filter.h"
#include "data/ngram_model.h"

namespace puyu {

struct ClassifierRule {
  std::string name, model;
  std::vector<std::string> languages;
  double drop_above = 2, drop_below = -1;
  template <class F>
  void fields(F&& f) {
    f("name", name, "of the score in the output: toxicity, pornography, advertisement, fluency, …");
    f("model", model, "made by 'puyu data train-classifier'");
    f("languages", languages, "it judges these (en, zh, code, or a code of ISO 639-1); empty: all");
    f("drop_above", drop_above, "a document with a higher score is dropped");
    f("drop_below", drop_below, "a document with a lower score is dropped");
  }
};

struct PerplexityRule {
  std::string language, model;
  double head_below = 0, tail_above = 0;
  std::vector<std::string> drop;
  template <class F>
  void fields(F&& f) {
    f("language", language, "it judges this one; empty: all");
    f("model", model, "made by 'puyu data train-ngram'");
    f("head_below", head_below, "perplexities below are the head ('puyu data perplexity' shows a corpus's quantiles)");
    f("tail_above", tail_above, "perplexities above are the tail");
    f("drop", drop, "buckets to drop: head, middle, tail");
  }
};

struct QualityOptions {
  std::vector<ClassifierRule> classifier;
  std::vector<PerplexityRule> perplexity;
  template <class F>
  void fields(F&& f) {
    f("classifier", classifier, "trained classifiers");
    f("perplexity", perplexity, "n-gram models");
  }
};

class Quality {
 public:
  explicit Quality(const QualityOptions& options);
  bool is_on() const { return !options_.classifier.empty() || !options_.perplexity.empty(); }
  uint64_t checksum() const;
  // Adds its scores to the document (name, "perplexity", and "bucket": 0 head, 1 middle, 2 tail).
  Verdict judge(Document& d) const;

 private:
  const QualityOptions options_;
  std::vector<Classifier> classifiers_;
  std::vector<NgramModel> models_;
};

}  // namespace puyu
