// The arithmetic of a PPO update, free of sampling and models' roles: advantages, the clipped ratio, and the gradients
// of actor and critic on a packed experience.
#pragma once
#include <span>
#include <vector>

#include "train/learner.h"

namespace puyu {

// A_t = sum_k (gamma lambda)^k delta_{t+k},  delta_t = r_t + gamma V_{t+1} - V_t,  V after the last token = 0.
// returns[t] = A_t + V_t. (Schulman et al. 2016, eq. 16)
void compute_gae(std::span<const float> reward, std::span<const float> value, double gamma, double lambda,
                 std::span<float> advantage, std::span<float> returns);

// d/dlogp of the clipped objective min(r A, clip(r, 1 - c, 1 + c) A), r = exp(logp - old): r A, or 0 where clipped.
float ppo_coefficient(float logp, float old_logp, float advantage, double clip_ratio);

// Mean and standard deviation of all scores so far.
struct RunningStats {
  double n = 0, mean = 0, m2 = 0;
  void add(double x);
  double deviation() const;
};

// A rollout with everything that its update needs; sequence i of the batch is question i's prompt and answer.
struct Experience {
  Batch batch;
  std::vector<int32_t> target;                      // the answer's tokens; -1 elsewhere
  std::vector<float> old_logp, advantage, returns;  // [T], meaningful where target >= 0
};
// Gradient of weight * the PPO loss on the experience, a mean over answer tokens. Returns the share of clipped tokens.
double accumulate_ppo(Learner& actor, const Experience& e, double clip_ratio, double weight = 1);
// Gradient of the mean of (V - return)^2 / 2 over answer tokens; returns that mean.
double accumulate_critic(Learner& critic, const Experience& e);

}  // namespace puyu
