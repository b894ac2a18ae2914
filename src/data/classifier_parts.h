// What training and use of a classifier share.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "data/classifier.h"

namespace puyu {

constexpr std::string_view kClassifierMagic = "PUYUCLS1";

struct Feature {
  uint32_t bucket;
  float value;
};
// Ascending by bucket; 1 + log(count), scaled to length 1.
std::vector<Feature> text_features(std::string_view text, int bits, int ngram, size_t max_words);

// From margins to probabilities: points (margin, probability), linear between them in the margin. Two points of
// infinite slope are not needed: Platt's sigmoid is kept as (A, B) and one point.
struct Calibration {
  std::vector<std::pair<double, double>> points;  // one: a sigmoid 1 / (1 + exp(-(first * margin + second)))
  double apply(double margin) const;
};
double apply_calibration(const std::pair<double, double>* points, size_t n, double margin);
Calibration fit_platt(const std::vector<double>& margins, const std::vector<bool>& positive);
Calibration fit_isotonic(const std::vector<double>& margins, const std::vector<bool>& positive);

// What every kind of classifier does around its training.
// Error when there are too few texts of either label for the folds, or the options make no sense.
void check_labels(const std::vector<LabelledText>& texts, const ClassifierOptions& options);
// The part of the cross-validation that each text is in; equal texts are in the same.
std::vector<size_t> fold_of(const std::vector<LabelledText>& texts, const ClassifierOptions& options);
// margins: each text's by a model that has not seen it.
struct Validated {
  Calibration calibration;
  Json report;
};
Validated validate(const std::vector<LabelledText>& texts, const std::vector<size_t>& fold,
                   const std::vector<double>& margins, const ClassifierOptions& options);

}  // namespace puyu
