// COOL RLHF's fast path (report, section 4.3): the reward model learns on while PPO runs, from the wrong answers of
// each step under the right ones, so that the actor cannot live on what the reward model has not yet seen. Pairs of the
// reward model's own training come along, so that it forgets nothing.
#pragma once
#include "align/ppo_answers.h"
#include "align/reward.h"

namespace puyu {

struct FastPathOptions {
  double lr = 0;
  int64_t batch_tokens = 4096;
  double replay = 0.5;
  PairLossOptions loss;
  OptimizerOptions optimizer;
  template <class F>
  void fields(F&& f) {
    f("lr", lr, "learning rate of the reward model during PPO; 0 = it stays as it is");
    f("batch_tokens", batch_tokens, "most tokens of pairs in a step");
    f("replay", replay, "share of them that comes from the pairs that the reward model was trained on");
    f("loss", loss, "the loss of a pair");
    f("optimizer", optimizer, "AdamW");
  }
};

// One step; returns the share of its pairs that the reward model had in the right order, 0 when there were none.
// `language_head` as in run_reward; `replay` may be empty; the
// learning rate is lr_share * o.lr.
double teach_reward(Learner& reward, Tensor language_head, const Tokenizer& t, const Answered& a,
                    const EncodedPairs& replay, const FastPathOptions& o, double lr_share, Rng& rng);

}  // namespace puyu
