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

// The loss of a pair, and of a step of pairs.
struct PairLossOptions {
  double focal_gamma = 2;
  double penalty = 0.02;
  double token_weight = 0;
  double lm_coef = 0;
  template <class F>
  void fields(F&& f) {
    f("focal_gamma", focal_gamma, "exponent of the focal factor; 0 = plain ranking loss");
    f("penalty", penalty, "weight of the log barrier that keeps scores in (-5, 5)");
    f("token_weight", token_weight,
      "share of the loss on every token from the first that differs; 0 = last token only");
    f("lm_coef", lm_coef, "weight of the language loss on chosen answers, through the language head of `model`");
  }
};

struct RewardOptions {
  int64_t steps = 300;
  int64_t batch_tokens = 4096;
  double lr = 5e-4;
  double final_lr = 0.1;
  int64_t warmup_steps = 20;
  int64_t seed = 1;
  PairLossOptions loss;
  OptimizerOptions optimizer;
  template <class F>
  void fields(F&& f) {
    f("steps", steps, "optimizer steps");
    f("batch_tokens", batch_tokens, "tokens of preference data in a step");
    f("lr", lr, "peak learning rate");
    f("final_lr", final_lr, "share of the peak at the end of the cosine");
    f("warmup_steps", warmup_steps, "steps of linear warm-up");
    f("seed", seed, "order of the pairs");
    f("loss", loss, "the loss of a pair");
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
  std::vector<size_t> prompt;  // tokens before pair i's answers
  size_t size() const { return sequences.size() / 2; }
  int64_t tokens(size_t i) const { return static_cast<int64_t>(sequences[2 * i].size() + sequences[2 * i + 1].size()); }
};
EncodedPairs encode_pairs(const Tokenizer& t, const std::vector<PreferencePair>& pairs);

// A micro-batch of whole pairs; target[t]: the next token of a chosen answer, -1 elsewhere.
struct PairBatch {
  Batch batch;
  std::vector<int32_t> target;
  void clear() { batch.clear(), target.clear(); }
};
void append_pair(PairBatch& to, const EncodedPairs& data, size_t i);

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
// Gradient of the mean loss over the batch's pairs; loss and accuracy of the point. language_head: as below.
RewardPoint accumulate_pairs(Learner& reward, Tensor language_head, const PairBatch& b, const PairLossOptions& o);

// language_head: [V, D] of the model that `reward` started from, for lm_coef; may be empty when that is 0.
RewardReport run_reward(Learner& reward, Tensor language_head, const EncodedPairs& train, const EncodedPairs& held_out,
                        const RewardOptions& o, const std::function<void(const RewardPoint&)>& after_step = {});

}  // namespace puyu
