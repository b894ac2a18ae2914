// A classifier of texts that anybody can train: logistic regression over hashed n-grams of words (as fastText and
// Vowpal Wabbit have it), with its scores calibrated to probabilities on texts that it was not trained on. Trained by
// 'puyu data train-classifier', used by the stage "quality": toxicity, pornography, advertisement, fluency, value.
// Training gives the same bytes for any number of threads.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "data/sealed_file.h"

namespace puyu {

struct ClassifierOptions {
  std::string positive, calibration = "platt";
  int bits = 18, ngram = 2, epochs = 8, folds = 5;
  int64_t max_words = 2000, seed = 1;
  double lr = 0.3, l2 = 1e-6;
  template <class F>
  void fields(F&& f) {
    f("positive", positive, "the label whose probability is the score; every other label is its opposite");
    f("calibration", calibration, "platt (a sigmoid) or isotonic (steps; wants some thousand texts)");
    f("bits", bits, "2^bits weights, 4 bytes each");
    f("ngram", ngram, "words (single ideographs in Chinese) a gram, at most");
    f("epochs", epochs, "times through the texts");
    f("folds", folds, "parts of the cross-validation; equal texts are in the same part");
    f("max_words", max_words, "words of a text that are looked at");
    f("seed", seed, "order of the texts");
    f("lr", lr, "learning rate (AdaGrad)");
    f("l2", l2, "weight decay");
  }
};

struct LabelledText {
  std::string text, language;
  bool positive = false;
};
// JSONL with "content" or "text", "label" (text, number or true/false) and perhaps "language". Errors name the line.
std::vector<LabelledText> read_labelled(const std::string& path, const std::string& positive);

// How well scores tell the classes apart.
struct ClassifierQuality {
  int64_t positives = 0, negatives = 0;
  double auc = 0, average_precision = 0;
  double precision = 0, recall = 0, f1 = 0;  // at probability 0.5
  double best_threshold = 0.5, best_f1 = 0;
  double calibration_error = 0;  // expected: mean |share of positives - mean probability| over 10 bins
};
ClassifierQuality measure_quality(const std::vector<double>& probability, const std::vector<bool>& positive);
Json to_json(const ClassifierQuality& q);

// Trains on all texts and measures by cross-validation. The report: {"all": quality, "LANGUAGE": …, "folds": [AUC …]};
// its calibrated numbers are of scores each model gave to texts it had not seen.
Json train_classifier(const std::vector<LabelledText>& texts, const ClassifierOptions& options, const std::string& out);

class Classifier {
 public:
  explicit Classifier(const std::string& path);
  double score(std::string_view text) const;  // the probability of the positive label
  const Json& info() const { return info_; }  // options and report
  uint64_t checksum() const { return file_.checksum(); }

 private:
  SealedFile file_;
  Json info_;
  int bits_ = 0, ngram_ = 0;
  size_t max_words_ = 0;
  const char *weights_ = nullptr, *points_ = nullptr;
  size_t points_count_ = 0;
};

}  // namespace puyu
