// What the training loops of this folder share: a clock, and warm-up followed by a cosine.
#pragma once
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace puyu {

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

struct CosineSchedule {
  double peak, final_share;
  int64_t warmup_steps;
  // progress: share of the run that is done, in [0, 1].
  double at(int64_t step, double progress) const {
    if (step < warmup_steps) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
    const double cosine = 0.5 * (1 + std::cos(std::numbers::pi * std::min(1.0, progress)));
    return peak * (final_share + (1 - final_share) * cosine);
  }
};

}  // namespace puyu
