// Fine-tuning, reward modelling and PPO on models small enough to train in seconds.
#include <gtest/gtest.h>

#include <cstring>

#include "align/evaluate.h"
#include "align/ppo.h"
#include "base/error.h"
#include "text/bpe_train.h"

namespace puyu {
namespace {

Tokenizer tiny_tokenizer() {
  BpeTrainOptions o;
  o.vocab_size = 512;
  o.min_count = 1;
  std::vector<std::string> texts = {"user\nassistant\nsystem\nWhat is red green blue?\n", kJudgeCorrectness};
  for (const Dialogue& d : identity_dialogues()) texts.push_back(d[0].content + d[1].content);
  size_t at = 0;
  return train_bpe(o, [&](std::string& text) { return at < texts.size() && (text = texts[at++], true); });
}

ModelConfig tiny_config(const Tokenizer& t) {
  ModelConfig c;
  c.vocab_size = t.vocab_size(), c.hidden_size = 32, c.num_layers = 2, c.num_heads = 4, c.num_kv_heads = 2;
  c.intermediate_size = 64, c.rope_theta = 1e4, c.max_position = 256;
  return c;
}

Learner make_learner(const Tokenizer& t, Head head, uint64_t seed, bool trainable = true) {
  Weights w = make_weights(tiny_config(t), head, DType::kF32);
  init_weights(w, seed);
  OptimizerOptions o;
  o.weight_decay = 0;
  return Learner(std::move(w), o, Recompute::kNone, trainable);
}

std::vector<Dialogue> colours() {
  return {question_answer("What is red?", "a"), question_answer("What is green?", "b"),
          question_answer("What is blue?", "c")};
}

bool same_weights(Weights& a, Weights& b) {
  const Arena &x = *a.master.arena, &y = *b.master.arena;
  bool same = x.used() == y.used();
  std::vector<Tensor> tensors;
  a.master.tensors.each(a.config, a.head, [&](const std::string&, Tensor& t, Spec, int64_t) { tensors.push_back(t); });
  size_t i = 0;
  b.master.tensors.each(b.config, b.head, [&](const std::string&, Tensor& t, Spec, int64_t) {
    same = same && std::memcmp(t.data, tensors[i++].data, static_cast<size_t>(t.nbytes())) == 0;
  });
  return same;
}

TEST(Sft, LearnsATinyTask) {
  const Tokenizer t = tiny_tokenizer();
  Learner learner = make_learner(t, Head::kLanguage, 1);
  const EncodedChats data = encode_dialogues(t, colours(), 64);
  SftOptions o;
  o.steps = 60, o.lr = 1e-2, o.warmup_steps = 5, o.batch_tokens = 256;
  const Accuracy before = exact_match(learner.ctx(), learner.weights(), t, colours(), 4);
  const SftReport r = run_sft(learner, data, o);
  EXPECT_EQ(before.right, 0);
  EXPECT_EQ(exact_match(learner.ctx(), learner.weights(), t, colours(), 4).right, 3);
  EXPECT_LT(r.final_loss, 0.2);
  EXPECT_EQ(r.steps, 60);
  EXPECT_GT(r.curve.front().loss, r.curve.back().loss);
}

TEST(RewardModel, LearnsToPreferOneWord) {
  const Tokenizer t = tiny_tokenizer();
  Learner reward = make_learner(t, Head::kValue, 2);
  std::vector<PreferencePair> pairs;
  for (const Dialogue& d : colours()) pairs.push_back({{{"system", kJudgeCorrectness, ""}, d[0]}, "good", "bad"});
  const EncodedPairs data = encode_pairs(t, pairs);
  EXPECT_EQ(data.sequences[0].back(), t.special("<|reward|>"));
  RewardOptions o;
  o.steps = 40, o.lr = 5e-3, o.warmup_steps = 5;
  const RewardReport r = run_reward(reward, data, data, o);
  EXPECT_EQ(r.accuracy, 1);
  EXPECT_GT(r.mean_chosen, r.mean_rejected + 0.5);
  EXPECT_LT(std::abs(r.mean_chosen), 5);
}

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
      {actor, critic, reference, reward}, t, {},
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
  EXPECT_THROW(run_ppo({actor, critic, reference, reward}, t, {}, {}, PpoOptions{}), Error);
}

}  // namespace
}  // namespace puyu
