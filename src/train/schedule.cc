#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace puyu {

int64_t total_steps(const TrainOptions& o) {
  int64_t n = 0;
  for (const PhaseOptions& p : o.phases) n += p.steps;
  return n;
}

size_t phase_of(const TrainOptions& o, int64_t step) {
  size_t i = 0;
  for (int64_t end = o.phases[0].steps; step >= end && i + 1 < o.phases.size(); end += o.phases[i].steps) ++i;
  return i;
}

double learning_rate(const TrainOptions& o, int64_t step) {
  const double peak = o.lr * o.phases[phase_of(o, step)].lr_scale;
  if (step < o.warmup_steps) return peak * static_cast<double>(step + 1) / static_cast<double>(o.warmup_steps);
  const auto length = static_cast<double>(std::max<int64_t>(1, total_steps(o) - 1 - o.warmup_steps));
  const double p = std::min(1.0, static_cast<double>(step - o.warmup_steps) / length);
  return peak * (o.min_lr_ratio + (1 - o.min_lr_ratio) * 0.5 * (1 + std::cos(std::numbers::pi * p)));
}

int64_t batch_tokens_at(const TrainOptions& o, int64_t step) {
  const PhaseOptions& p = o.phases[phase_of(o, step)];
  const int64_t full = p.batch_tokens ? p.batch_tokens : o.batch_tokens;
  const BatchRamp& r = o.batch_ramp;
  return r.start ? std::min(full, r.start + step / r.every * r.increment) : full;
}

}  // namespace puyu
