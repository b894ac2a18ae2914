#include "align/ppo_update.h"

#include <algorithm>
#include <cmath>

namespace puyu {
namespace {

int64_t answer_tokens(const Experience& e) {
  return std::count_if(e.target.begin(), e.target.end(), [](int32_t id) { return id >= 0; });
}

}  // namespace

void RunningStats::add(double x) {
  n += 1;
  const double d = x - mean;
  mean += d / n;
  m2 += d * (x - mean);
}
double RunningStats::deviation() const { return n > 1 ? std::sqrt(m2 / (n - 1)) + 1e-4 : 1; }

void compute_gae(std::span<const float> reward, std::span<const float> value, double gamma, double lambda,
                 std::span<float> advantage, std::span<float> returns) {
  double sum = 0;
  for (size_t t = reward.size(); t-- > 0;) {
    const double next = t + 1 < value.size() ? static_cast<double>(value[t + 1]) : 0;
    const double delta = static_cast<double>(reward[t]) + gamma * next - static_cast<double>(value[t]);
    sum = delta + gamma * lambda * sum;
    advantage[t] = static_cast<float>(sum);
    returns[t] = static_cast<float>(sum + static_cast<double>(value[t]));
  }
}

float ppo_coefficient(float logp, float old_logp, float advantage, double clip_ratio) {
  const double ratio = std::exp(static_cast<double>(logp - old_logp));
  if ((advantage > 0 && ratio > 1 + clip_ratio) || (advantage < 0 && ratio < 1 - clip_ratio)) return 0;
  return static_cast<float>(ratio * static_cast<double>(advantage));
}

double accumulate_ppo(Learner& actor, const Experience& e, double clip_ratio, double weight) {
  const auto tokens = static_cast<double>(answer_tokens(e));
  double clipped = 0;
  actor.accumulate_lm(e.batch, e.target, [&](std::span<const float> logp, std::span<float> coef) {
    for (size_t t = 0; t < logp.size(); ++t) {
      coef[t] = 0;
      if (e.target[t] < 0) continue;
      const float c = ppo_coefficient(logp[t], e.old_logp[t], e.advantage[t], clip_ratio);
      clipped += c == 0 && e.advantage[t] != 0;
      coef[t] = static_cast<float>(-weight * static_cast<double>(c) / tokens);
    }
  });
  return clipped / tokens;
}

double accumulate_critic(Learner& critic, const Experience& e) {
  const auto tokens = static_cast<double>(answer_tokens(e));
  double loss = 0;
  critic.accumulate_values(e.batch, [&](std::span<const float> value, std::span<float> coef) {
    for (size_t t = 0; t < value.size(); ++t) {
      coef[t] = 0;
      if (e.target[t] < 0) continue;
      const double d = static_cast<double>(value[t] - e.returns[t]);
      coef[t] = static_cast<float>(d / tokens);
      loss += 0.5 * d * d / tokens;
    }
  });
  return loss;
}

}  // namespace puyu
