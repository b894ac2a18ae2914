#include "data/lsh.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "base/error.h"
#include "base/hash.h"

namespace puyu {
namespace {

double log_choose(int n, int k) { return std::lgamma(n + 1.0) - std::lgamma(k + 1.0) - std::lgamma(n - k + 1.0); }

// For each k the chance that k agreeing places, any k of 128 alike, hold no whole band. The choices without one are the
// coefficients of ((1 + x)^r - x^r)^b (1 + x)^(128 - b r): all positive, so nothing cancels.
std::vector<double> holds_no_band(Banding b) {
  std::vector<double> ways = {1};
  auto multiply = [&](const std::vector<double>& factor) {
    std::vector<double> out(ways.size() + factor.size() - 1);
    for (size_t i = 0; i < ways.size(); ++i)
      for (size_t j = 0; j < factor.size(); ++j) out[i + j] += ways[i] * factor[j];
    ways = std::move(out);
  };
  std::vector<double> band;
  for (int j = 0; j < b.rows; ++j) band.push_back(std::exp(log_choose(b.rows, j)));
  for (int i = 0; i < b.bands; ++i) multiply(band);
  for (int i = b.bands * b.rows; i < kPermutations; ++i) multiply({1, 1});
  ways.resize(kPermutations + 1);
  for (int k = 0; k <= kPermutations; ++k) ways[k] = std::min(1.0, ways[k] / std::exp(log_choose(kPermutations, k)));
  return ways;
}

}  // namespace

Banding choose_banding(double threshold) {
  if (!(threshold > 0 && threshold <= 1)) fail("[dedup] threshold must be above 0 and at most 1, got ", threshold);
  constexpr int kSteps = 1000;  // as datasketch integrates
  Banding best;
  double least = 0;
  std::vector<double> no_band(kSteps), band_differs(kSteps);  // at the middle of each step of similarity
  for (int rows = 1; rows <= kPermutations; ++rows) {
    for (int i = 0; i < kSteps; ++i) {
      no_band[i] = 1;
      band_differs[i] = 1 - std::pow((i + 0.5) / kSteps, rows);
    }
    for (int bands = 1; bands * rows <= kPermutations; ++bands) {
      double wrong = 0;
      for (int i = 0; i < kSteps; ++i) {
        no_band[i] *= band_differs[i];
        wrong += (i + 0.5) / kSteps < threshold ? 1 - no_band[i] : no_band[i];
      }
      if (best.bands && wrong >= least) continue;
      best = {bands, rows}, least = wrong;
    }
  }
  return best;
}

double knee(Banding b) { return std::pow(1.0 / b.bands, 1.0 / b.rows); }

double candidate_probability(Banding b, double s) { return 1 - std::pow(1 - std::pow(s, b.rows), b.bands); }

double pair_probability(Banding b, double s, double threshold) {
  if (s <= 0) return 0;
  if (s >= 1) return 1;
  const std::vector<double> none = holds_no_band(b);
  double sum = 0;
  for (int k = static_cast<int>(std::ceil(threshold * kPermutations)); k <= kPermutations; ++k)
    sum +=
        std::exp(log_choose(kPermutations, k) + k * std::log(s) + (kPermutations - k) * std::log1p(-s)) * (1 - none[k]);
  return sum;
}

std::string format_banding(Banding b, double threshold) {
  char text[128];
  std::snprintf(text, sizeof text,
                "%d bands x %d rows, knee %.3f; chance by similarity, as candidate / verified at %g:", b.bands, b.rows,
                knee(b), threshold);
  std::string out = text;
  for (int s = 3; s <= 10; ++s) {
    double at = s / 10.0;
    std::snprintf(text, sizeof text, " %.1f: %.3f / %.3f%s", at, candidate_probability(b, at),
                  pair_probability(b, at, threshold), s < 10 ? "," : "");
    out += text;
  }
  return out;
}

uint64_t band_hash(const Signature& s, Banding b, int band) {
  const uint32_t* rows = s.data() + band * b.rows;
  return hash64({reinterpret_cast<const char*>(rows), static_cast<size_t>(b.rows) * sizeof(uint32_t)});
}

bool has_shingles(const Signature& s) {
  return std::any_of(s.begin(), s.end(), [](uint32_t v) { return v != 0xffffffffu; });
}

}  // namespace puyu
