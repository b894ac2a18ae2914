// What training and use of a classifier share.
#pragma once
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

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

}  // namespace puyu
