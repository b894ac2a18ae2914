// The reward model: its data, its losses, its training.
#include <gtest/gtest.h>

#include "align/reward.h"
#include "align/testing.h"

namespace puyu {
namespace {

TEST(RewardModel, LearnsToPreferOneWord) {
  const Tokenizer t = tiny_tokenizer();
  Learner reward = make_learner(t, Head::kValue, 2);
  std::vector<PreferencePair> pairs;
  for (const Dialogue& d : colours()) pairs.push_back({{{"system", kJudgeCorrectness, ""}, d[0]}, "good", "bad"});
  const EncodedPairs data = encode_pairs(t, pairs);
  EXPECT_EQ(data.sequences[0].back(), t.special("<|reward|>"));
  RewardOptions o;
  o.steps = 40, o.lr = 5e-3, o.warmup_steps = 5;
  const RewardReport r = run_reward(reward, {}, data, data, o);
  EXPECT_EQ(r.accuracy, 1);
  EXPECT_GT(r.mean_chosen, r.mean_rejected + 0.5);
  EXPECT_LT(std::abs(r.mean_chosen), 5);
}

// The loss of the batch by its definition: pairs of values at the same place after the first token that differs, and of
// the last tokens.
double loss_by_definition(const std::vector<std::vector<float>>& value, size_t same, double token_weight) {
  double loss = 0;
  const double n = static_cast<double>(value.size() / 2);
  for (size_t i = 0; i < value.size(); i += 2) {
    const auto &c = value[i], &r = value[i + 1];
    const size_t most = std::min(c.size(), r.size()) - 1;
    for (size_t t = same; t < most; ++t)
      loss += token_weight / n / static_cast<double>(most - same) * reward_pair_loss(c[t], r[t], 2, 0.02).loss;
    loss += (1 - token_weight) / n * reward_pair_loss(c.back(), r.back(), 2, 0.02).loss;
  }
  return loss;
}

TEST(RewardModel, TokenWeightSpreadsTheLossFromTheFirstTokenThatDiffers) {
  const Tokenizer t = tiny_tokenizer();
  EncodedPairs data;
  data.sequences = {{1, 20, 30, 40, 50, 60}, {1, 20, 30, 41, 51, 61, 71}};
  data.prompt = {2};
  PairBatch b;
  append_pair(b, data, 0);
  append_pair(b, data, 0);
  EXPECT_EQ(std::vector<int32_t>(b.target.begin(), b.target.begin() + 13),
            (std::vector<int32_t>{-1, 30, 40, 50, -1, -1, -1, -1, -1, -1, -1, -1, -1}));
  Learner reward = make_learner(t, Head::kValue, 2);
  std::vector<float> v(26);
  reward.values(b.batch, v);
  const std::vector<std::vector<float>> value = {{v.begin(), v.begin() + 6}, {v.begin() + 6, v.begin() + 13}};
  for (double weight : {0.0, 0.7, 1.0}) {
    PairLossOptions o;
    o.token_weight = weight;
    EXPECT_NEAR(accumulate_pairs(reward, {}, b, o).loss, loss_by_definition(value, 3, weight), 1e-5) << weight;
    EXPECT_GT(reward.apply(0).grad_norm, 0);
  }
}

// All tensors but the head.
void copy_body(Weights& from, Weights& to) {
  std::vector<Tensor> body;
  from.master.tensors.each(from.config, from.head,
                           [&](const std::string&, Tensor& x, Spec, int64_t) { body.push_back(x); });
  size_t i = 0;
  to.master.tensors.each(to.config, to.head, [&](const std::string&, Tensor& x, Spec, int64_t) {
    if (i + 1 < body.size()) std::memcpy(x.data, body[i].data, static_cast<size_t>(x.nbytes()));
    ++i;
  });
}

TEST(RewardModel, LanguageLossKeepsChosenAnswersLikely) {
  const Tokenizer t = tiny_tokenizer();
  std::vector<PreferencePair> pairs;
  std::vector<Dialogue> chosen;
  for (const Dialogue& d : colours()) {
    pairs.push_back({{{"system", kJudgeCorrectness, ""}, d[0]}, "good", "bad"});
    chosen.push_back({{"system", kJudgeCorrectness, ""}, d[0], {"assistant", "good", ""}});
  }
  const EncodedPairs data = encode_pairs(t, pairs);
  PairBatch b;
  for (size_t i = 0; i < data.size(); ++i) append_pair(b, data, i);
  auto mean_logp = [&](Learner& language) {
    std::vector<float> logp(b.target.size());
    const LmSums sums = language.logprobs(b.batch, b.target, logp);
    return sums.logp / static_cast<double>(sums.tokens);
  };
  Learner language = make_learner(t, Head::kLanguage, 2);
  SftOptions sft;
  sft.steps = 60, sft.lr = 1e-2, sft.warmup_steps = 5, sft.batch_tokens = 256;
  const EncodedChats chats = encode_dialogues(t, chosen, 64);
  run_sft(language, {chats, {}}, sft);
  EXPECT_GT(mean_logp(language), -0.1);
  // The same by the body that the reward model's training leaves, under the head it started from.
  auto logp_after = [&](double lm_coef) {
    Learner reward = make_learner(t, Head::kValue, 2), reader = make_learner(t, Head::kLanguage, 2);
    copy_body(language.weights(), reward.weights());
    RewardOptions o;
    o.steps = 60, o.lr = 5e-3, o.warmup_steps = 5, o.loss.lm_coef = lm_coef;
    EXPECT_EQ(run_reward(reward, language.weights().output(), data, data, o).accuracy, 1);
    copy_body(reward.weights(), reader.weights());
    const Tensor head = language.weights().output();
    std::memcpy(reader.weights().output().data, head.data, static_cast<size_t>(head.nbytes()));
    return mean_logp(reader);
  };
  EXPECT_GT(logp_after(1), -0.1);
  EXPECT_LT(logp_after(0), -0.3);
}

// A model that answers every question with the same words.
RolloutFn always(const Tokenizer& t, const std::string& words) {
  return [&t, words](Weights&, const std::vector<std::vector<int32_t>>& prompts, int32_t stop, int64_t, uint64_t) {
    SampledAnswer a{t.encode(words), {}};
    a.tokens.push_back(stop);
    a.logp.resize(a.tokens.size(), -1);
    return std::vector<SampledAnswer>(prompts.size(), a);
  };
}

TEST(Preference, SampledPairsAreTheModelsOwnMistakesEachAsOftenAsAsked) {
  const Tokenizer t = tiny_tokenizer();
  Weights model = make_weights(tiny_config(t), Head::kLanguage, DType::kF32);
  PreferenceOptions o;
  o.arithmetic_100 = o.arithmetic_1000 = o.concise = 0;
  o.sampled = 50, o.sampled_repeats = 3;
  const RolloutFn wrong = always(t, "red 7");
  const AnswerSource source{model, t, wrong};
  std::map<std::string, int> seen;
  for (const PreferencePair& p : make_preferences(o, colours(), false, &source)) {
    ASSERT_EQ(p.prompt.size(), 2u);
    EXPECT_EQ(p.prompt[0].content, kJudgeCorrectness);
    EXPECT_EQ(p.rejected, "red 7");
    const std::vector<int> n = numbers_in(p.prompt[1].content);
    const int right = read_answer(p.chosen);
    EXPECT_TRUE(right == n[0] + n[1] || right == n[0] - n[1]) << p.chosen;
    EXPECT_FALSE(is_held_out(n[0], n[1]));
    ++seen[p.prompt[1].content];
  }
  EXPECT_GT(seen.size(), 40u);
  for (const auto& [question, times] : seen) EXPECT_EQ(times % 3, 0) << question;
  for (const PreferencePair& p : make_preferences(o, colours(), true, &source)) {
    const std::vector<int> n = numbers_in(p.prompt[1].content);
    EXPECT_TRUE(is_held_out(n[0], n[1]));
  }
}

}  // namespace
}  // namespace puyu
