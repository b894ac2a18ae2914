// PPO as InternLM2's (report, section 4.3): actor, critic, frozen reference and frozen reward model. A step: sample
// answers, score them, one update of critic and actor on the whole batch, and optionally an SFT batch on top.
//
// Per-token reward: -kl_coef (log pi - log pi_ref); the score stands at the last token, clipped to [-5, 5] and divided
// by the running standard deviation after a mean is taken off: the running one, or with several answers to a question
// that question's (as GRPO: Shao et al. 2024, section 4.1). Advantages by GAE. Actor loss: clipped ratio.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "align/fast_path.h"
#include "align/rollout.h"
#include "align/sft.h"

namespace puyu {

struct PpoOptions {
  int64_t steps = 60;
  int64_t prompts = 64;
  int64_t samples = 1;
  int64_t max_answer_tokens = 48;
  double share_100 = 0.4;
  double actor_lr = 1e-4;
  double critic_lr = 5e-4;
  double final_lr = 0.05;
  int64_t warmup_steps = 10;
  int64_t critic_warmup_steps = 10;
  double kl_coef = 0.01;
  double gamma = 1;
  double lambda = 0.99;
  double clip_ratio = 0.2;
  double reward_clip = 5;
  double policy_coef = 1;
  double pretrain_coef = 0.5;
  int64_t pretrain_tokens = 2048;
  int64_t batch_tokens = 8192;
  int64_t seed = 1;
  FastPathOptions fast_path;
  OptimizerOptions optimizer;
  template <class F>
  void fields(F&& f) {
    f("steps", steps, "PPO iterations");
    f("prompts", prompts, "arithmetic questions in an iteration, of training pairs");
    f("samples", samples,
      "answers to each question; above 1, scores are centred on their question's mean and questions whose answers all "
      "agree teach nothing and are left out of the update");
    f("max_answer_tokens", max_answer_tokens, "longest answer");
    f("share_100", share_100, "share of questions up to 100; the rest is up to 1000");
    f("actor_lr", actor_lr, "learning rate of the actor");
    f("critic_lr", critic_lr, "learning rate of the critic");
    f("final_lr", final_lr, "share of all learning rates at the end of the cosine");
    f("warmup_steps", warmup_steps, "updates of linear warm-up, of each model's own");
    f("critic_warmup_steps", critic_warmup_steps, "iterations at the start in which only the critic learns");
    f("kl_coef", kl_coef, "weight of the per-token KL to the reference");
    f("gamma", gamma, "discount");
    f("lambda", lambda, "GAE's lambda");
    f("clip_ratio", clip_ratio, "the ratio to the sampling policy counts only inside 1 +- this");
    f("reward_clip", reward_clip, "scores are clipped to +- this");
    f("policy_coef", policy_coef,
      "weight of the PPO loss in the actor's update; 0 = a control run on the SFT loss alone");
    f("pretrain_coef", pretrain_coef, "weight of the SFT loss in the actor's update; 0 = none");
    f("pretrain_tokens", pretrain_tokens, "tokens of SFT data in an iteration");
    f("batch_tokens", batch_tokens, "most tokens in one forward and backward");
    f("seed", seed, "questions and sampling");
    f("fast_path", fast_path, "the reward model learns on while PPO runs");
    f("optimizer", optimizer, "AdamW, of actor and critic");
  }
};

struct PpoModels {
  Learner &actor, &critic, &reference, &reward;
};
struct PpoData {
  const EncodedChats& sft;     // for the SFT loss; may be empty with pretrain_coef 0
  const EncodedPairs& replay;  // for the fast path; may be empty
};

struct PpoPoint {
  int64_t step = 0;
  double seconds = 0, rollout_seconds = 0;
  double score = 0, accuracy = 0;  // of the sampled answers: mean score, share that is right
  double ranked = 0;               // share of (right, wrong) answers of which the right one scores higher; 0 = no pairs
  double kl = 0, entropy = 0, answer_tokens = 0;
  double actor_grad_norm = 0, critic_loss = 0, clipped = 0, sft_loss = 0;
  int64_t trained = 0;      // answers in the update
  double reward_right = 0;  // fast path: share of its pairs in the right order
};
struct PpoReport {
  std::vector<PpoPoint> curve;
  int64_t steps = 0, skipped_steps = 0;
  double seconds = 0;
  bool interrupted = false;
};

// The rewards see the answer under `kJudgeCorrectness`.
PpoReport run_ppo(PpoModels models, const Tokenizer& tokenizer, const PpoData& data, const RolloutFn& rollout,
                  const PpoOptions& o, const std::function<void(const PpoPoint&)>& after_step = {});

}  // namespace puyu
