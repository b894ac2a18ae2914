// The reward model: the SFT model with a value head; an answer's score is the value at a <|reward|> token after it.
//
// Loss of a pair with scores r_c (chosen) and r_r (rejected), P = sigmoid(r_c - r_r) (InternLM2 report, eq. 1-3):
//   L = -(1 - 2 max(0, P - 1/2))^gamma log P  +  penalty * mean over both scores of -(log(5 + r) + log(5 - r))
// The focal factor turns to hard pairs; the barrier keeps scores inside (-5, 5), so that all rounds share one scale.
#pragma once
#include <functional>

#include "align/preference.h"
#include "align/sft.h"

namespace puyu {

struct RewardOptions {
  int64_t steps = 300;
  int64_t batch_tokens = 4096;
  double lr = 5e-4;
  double final_lr = 0.1;
  int64_t warmup_steps = 20;
  double focal_gamma = 2;
  double penalty = 0.02;
  int64_t seed = 1;
  OptimizerOptions optimizer;
  template <class F>
  void fields(F&& f) {
    f("steps", steps, "optimizer steps");
    f("batch_tokens", batch_tokens, "tokens of preference data in a step");
    f("lr", lr, "peak learning rate");
    f("final_lr", final_lr, "share of the peak at the end of the cosine");
    f("warmup_steps", warmup_steps, "steps of linear warm-up");
    f("focal_gamma", focal_gamma, "exponent of the focal factor; 0 = plain ranking loss");
    f("penalty", penalty, "weight of the log barrier that keeps scores in (-5, 5)");
    f("seed", seed, "order of the pairs");
    f("optimizer", optimizer, "AdamW");
  }
};

struct PairLoss {
  double loss, d_chosen, d_rejected;  // and its derivatives by the two scores
};
PairLoss reward_pair_loss(double chosen, double rejected, double gamma, double penalty);

// A prompt and its answer as the reward model reads it; the score is the value of the last token.
std::vector<int32_t> encode_scored(const Tokenizer& t, const Dialogue& prompt, const std::string& answer);

// Chosen and rejected sequences alternate: 2 i and 2 i + 1.
struct EncodedPairs {
  std::vector<std::vector<int32_t>> sequences;
  size_t size() const { return sequences.size() / 2; }
};
EncodedPairs encode_pairs(const Tokenizer& t, const std::vector<PreferencePair>& pairs);

struct RewardPoint {
  int64_t step = 0;
  double seconds = 0, loss = 0, accuracy = 0, grad_norm = 0;
};
struct RewardReport {
  std::vector<RewardPoint> curve;
  int64_t steps = 0, skipped_steps = 0;
  double seconds = 0, final_loss = 0;
  double accuracy = 0, mean_chosen = 0, mean_rejected = 0;  // on held-out pairs
  int64_t held_out_pairs = 0;
  bool interrupted = false;
};

// Scores of sequences, in batches.
std::vector<float> score_sequences(Learner& reward, const std::vector<std::vector<int32_t>>& sequences,
                                   int64_t batch_tokens);
RewardReport run_reward(Learner& reward, const EncodedPairs& train, const EncodedPairs& held_out,
                        const RewardOptions& o, const std::function<void(const RewardPoint&)>& after_step = {});

}  // namespace puyu
