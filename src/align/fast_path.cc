#include "align/fast_path.h"

namespace puyu {

double teach_reward(Learner& reward, Tensor language_head, const Tokenizer& t, const Answered& a,
                    const EncodedPairs& replay, const FastPathOptions& o, double lr_share, Rng& rng) {
  std::vector<PreferencePair> wrong;
  for (size_t i = 0; i < a.size(); ++i)
    if (!a.right[i])
      wrong.push_back({{{"system", kJudgeCorrectness, ""}, a.dialogues[i][0]},
                       arithmetic_answer(a.questions[i]),
                       answer_text(t, a.answers[i], t.special("<|im_end|>"))});
  rng.shuffle(wrong.begin(), wrong.end());
  const EncodedPairs fresh = encode_pairs(t, wrong);
  const double share = replay.size() == 0 ? 1 : 1 - o.replay;
  PairBatch b;
  for (size_t i = 0; i < fresh.size(); ++i)
    if (static_cast<double>(b.batch.tokens() + fresh.tokens(i)) <= share * static_cast<double>(o.batch_tokens))
      append_pair(b, fresh, i);
  while (replay.size() > 0) {
    const size_t i = rng.below(replay.size());
    if (b.batch.tokens() + replay.tokens(i) > o.batch_tokens) break;
    append_pair(b, replay, i);
  }
  if (b.batch.tokens() == 0) return 0;
  const RewardPoint p = accumulate_pairs(reward, language_head, b, o.loss);
  reward.apply(lr_share * o.lr);
  return p.accuracy;
}

}  // namespace puyu
