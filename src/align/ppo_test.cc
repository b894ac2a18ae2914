// PPO: its update by hand, and whole runs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "align/ppo.h"
#include "align/testing.h"
#include "base/error.h"

namespace puyu {
namespace {

// An experience of two answers with the actor's own log-probs.
Experience make_experience(Learner& actor, float advantage) {
  Experience e;
  const std::vector<int32_t> ids{1, 20, 30, 40, 50, 60};
  for (int i = 0; i < 2; ++i) {
    e.batch.add(ids.data(), 6);
    for (int32_t target : {-1, -1, 40, 50, 60, -1}) e.target.push_back(target);
  }
  e.old_logp.resize(12), e.advantage.assign(12, advantage), e.returns.assign(12, 0);
  actor.logprobs(e.batch, e.target, e.old_logp);
  return e;
}

TEST(Ppo, ZeroAdvantageChangesNothing) {
  const Tokenizer t = tiny_tokenizer();
  Learner actor = make_learner(t, Head::kLanguage, 3), copy = make_learner(t, Head::kLanguage, 3);
  EXPECT_EQ(accumulate_ppo(actor, make_experience(actor, 0), 0.2), 0);
  EXPECT_EQ(actor.apply(1e-2).grad_norm, 0);
  EXPECT_TRUE(same_weights(actor.weights(), copy.weights()));
}

TEST(Ppo, PositiveAdvantageMakesTheAnswerLikelier) {
  const Tokenizer t = tiny_tokenizer();
  Learner actor = make_learner(t, Head::kLanguage, 3);
  const Experience e = make_experience(actor, 1);
  accumulate_ppo(actor, e, 0.2);
  actor.apply(1e-3);
  std::vector<float> logp(e.target.size());
  actor.logprobs(e.batch, e.target, logp);
  EXPECT_GT(logp[2] + logp[3] + logp[4], e.old_logp[2] + e.old_logp[3] + e.old_logp[4]);
}

// Draws every token from the actor's own distribution by a forward pass a token.
std::vector<SampledAnswer> sample(Learner& actor, const std::vector<std::vector<int32_t>>& prompts, int64_t max_tokens,
                                  uint64_t seed) {
  Rng rng(seed);
  std::vector<SampledAnswer> out;
  for (const auto& prompt : prompts) {
    std::vector<int32_t> ids = prompt;
    SampledAnswer a;
    for (int64_t i = 0; i < max_tokens; ++i) {
      const auto id = static_cast<int32_t>(rng.below(50));
      ids.push_back(id);
      Batch b;
      b.add(ids.data(), static_cast<int64_t>(ids.size()));
      std::vector<int32_t> target(ids.size(), -1);
      target[ids.size() - 2] = id;
      std::vector<float> logp(ids.size());
      actor.logprobs(b, target, logp);
      a.tokens.push_back(id);
      a.logp.push_back(logp[ids.size() - 2]);
    }
    out.push_back(a);
  }
  return out;
}

TEST(Ppo, RunsEveryStationAndReportsIt) {
  const Tokenizer t = tiny_tokenizer();
  Learner actor = make_learner(t, Head::kLanguage, 4), reference = make_learner(t, Head::kLanguage, 4, false);
  Learner critic = make_learner(t, Head::kValue, 5), reward = make_learner(t, Head::kValue, 5, false);
  PpoOptions o;
  o.steps = 3, o.critic_warmup_steps = 1, o.prompts = 4, o.max_answer_tokens = 3, o.pretrain_coef = 0;
  int calls = 0;
  const PpoReport r = run_ppo(
      {actor, critic, reference, reward}, t, {{}, {}},
      [&](Weights&, const std::vector<std::vector<int32_t>>& prompts, int32_t, int64_t max_tokens, uint64_t seed) {
        ++calls;
        return sample(actor, prompts, max_tokens, seed);
      },
      o);
  EXPECT_EQ(calls, 3);
  ASSERT_EQ(r.curve.size(), 3u);
  EXPECT_EQ(r.curve[0].actor_grad_norm, 0);  // the critic warms up
  EXPECT_NEAR(r.curve[0].kl, 0, 1e-6);       // actor = reference
  EXPECT_GT(r.curve[1].actor_grad_norm, 0);
  EXPECT_NE(r.curve[2].kl, 0);
  EXPECT_EQ(r.curve[0].answer_tokens, 3);
  EXPECT_THROW(run_ppo({actor, critic, reference, reward}, t, {{}, {}}, {}, PpoOptions{}), Error);
}

Answered two_questions() {
  Answered a;
  a.group = {0, 0, 2, 2, 2};
  a.right = {true, false, false, true, false};
  a.answers.resize(5);
  return a;
}

TEST(Ppo, ScoresAreCentredOnTheirQuestion) {
  RunningStats stats;
  const std::vector<float> r = normalise_scores({3, 1, -1, 0, 4}, two_questions(), true, stats);
  const double deviation = std::sqrt((1 + 1 + 4 + 1 + 9) / 4.0) + 1e-4;  // of {1, -1, -2, -1, 3}, whose mean is 0
  const double centred[] = {1, -1, -2, -1, 3};
  for (size_t i = 0; i < 5; ++i) EXPECT_NEAR(r[i], centred[i] / deviation, 1e-5);
  RunningStats running;
  const std::vector<float> one = normalise_scores({3, 1, -1, 0, 4}, two_questions(), false, running);
  EXPECT_NEAR(one[0] + one[1] + one[2] + one[3] + one[4], 0, 1e-5);
  EXPECT_NEAR(running.mean, 1.4, 1e-6);
}

TEST(Ppo, RankingCountsRightOverWrong) {
  const Answered a = two_questions();
  EXPECT_EQ(share_ranked(a, {3, 1, -1, 0, 4}, true), 2.0 / 3);   // 3 > 1, 0 > -1, but 0 < 4
  EXPECT_EQ(share_ranked(a, {3, 1, -1, 0, 4}, false), 3.0 / 6);  // 3 > 1, 3 > -1, 0 > -1
  Answered right = a;
  right.right.assign(5, true);
  EXPECT_EQ(share_ranked(right, {3, 1, -1, 0, 4}, false), 0);
}

TEST(Ppo, QuestionsAnsweredTheSameEachTimeAreLeftOut) {
  const Tokenizer t = tiny_tokenizer();
  Weights model = make_weights(tiny_config(t), Head::kLanguage, DType::kF32);
  const std::vector<int32_t> same = t.encode("red 7"), other = t.encode("blue 8");
  // Answers of the first question differ, those of the others agree.
  auto rollout = [&](Weights&, const std::vector<std::vector<int32_t>>& prompts, int32_t, int64_t, uint64_t) {
    std::vector<SampledAnswer> out(prompts.size(), {same, std::vector<float>(same.size(), -1)});
    EXPECT_EQ(prompts.size(), 12u);
    EXPECT_EQ(prompts[0], prompts[3]);
    EXPECT_NE(prompts[3], prompts[4]);
    out[2] = {other, std::vector<float>(other.size(), -1)};
    return out;
  };
  Rng rng(1);
  const Answered a = sample_answers(model, t, rollout, {3, 4, 8, 0.5}, rng);
  EXPECT_EQ(a.size(), 4u);
  EXPECT_EQ(a.group, (std::vector<size_t>{0, 0, 0, 0}));
  EXPECT_EQ(a.answers[2].tokens, other);
  const Experience e = pack_experience(a);
  EXPECT_EQ(e.batch.cu.size(), 5u);
  EXPECT_EQ(static_cast<size_t>(std::count_if(e.target.begin(), e.target.end(), [](int32_t x) { return x >= 0; })),
            3 * same.size() + other.size());
}

TEST(Ppo, FastPathTeachesTheRewardModelWhatTheActorGotWrong) {
  const Tokenizer t = tiny_tokenizer();
  Learner reward = make_learner(t, Head::kValue, 5);
  Weights model = make_weights(tiny_config(t), Head::kLanguage, DType::kF32);
  const std::vector<int32_t> same = t.encode("red"), other = t.encode("blue");
  auto rollout = [&](Weights&, const std::vector<std::vector<int32_t>>& prompts, int32_t, int64_t, uint64_t) {
    std::vector<SampledAnswer> out(prompts.size(), {same, std::vector<float>(same.size(), -1)});
    for (size_t i = 0; i < out.size(); i += 2) out[i].tokens = other;
    return out;
  };
  FastPathOptions o;
  o.lr = 3e-3;
  double first = 0, last = 0;
  Rng rng(1);
  for (int step = 0; step < 30; ++step) {
    const Answered a = sample_answers(model, t, rollout, {8, 2, 8, 0.5}, rng);
    last = teach_reward(reward, {}, t, a, {}, o, 1, rng);
    if (step == 0) first = last;
  }
  EXPECT_LT(first, 1);
  EXPECT_EQ(last, 1);
  Answered right;
  EXPECT_EQ(teach_reward(reward, {}, t, right, {}, o, 1, rng), 0);  // nothing to learn from
}

}  // namespace
}  // namespace puyu
