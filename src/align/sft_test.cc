// Fine-tuning, and text mixed into it.
#include <gtest/gtest.h>

#include <cmath>

#include "align/evaluate.h"
#include "align/sft.h"
#include "align/testing.h"
#include "base/error.h"
#include "base/temp_dir_test_util.h"
#include "data/shard.h"

namespace puyu {
namespace {

TEST(Sft, LearnsATinyTask) {
  const Tokenizer t = tiny_tokenizer();
  Learner learner = make_learner(t, Head::kLanguage, 1);
  const EncodedChats data = encode_dialogues(t, colours(), 64);
  SftOptions o;
  o.steps = 60, o.lr = 1e-2, o.warmup_steps = 5, o.batch_tokens = 256;
  const Accuracy before = exact_match(learner.ctx(), learner.weights(), t, colours(), 4);
  const SftReport r = run_sft(learner, {data, data}, o);
  EXPECT_EQ(before.right, 0);
  EXPECT_EQ(exact_match(learner.ctx(), learner.weights(), t, colours(), 4).right, 3);
  EXPECT_LT(r.final_loss, 0.2);
  EXPECT_EQ(r.steps, 60);
  EXPECT_GT(r.curve.front().loss, r.curve.back().loss);
}

std::string text_shard(const test::TempDir& dir, const Tokenizer& t, uint64_t fingerprint) {
  const std::string path = dir / "text_mix.tok";
  ShardWriter w(path, 2, fingerprint);
  for (const Dialogue& d : identity_dialogues()) {
    std::vector<int32_t> ids = t.encode(d[1].content);
    w.add(ids.data(), static_cast<int64_t>(ids.size()));
  }
  w.commit();
  return path;
}

TEST(TextMix, KeepsTheTextLikelyWhileTheTaskIsLearned) {
  test::TempDir dir;
  const Tokenizer t = tiny_tokenizer();
  const EncodedChats data = encode_dialogues(t, colours(), 64);
  TextMixOptions text;
  text.shards = {text_shard(dir, t, t.fingerprint())}, text.tokens = 64, text.seq_len = 32, text.coef = 1;
  SftOptions o;
  o.steps = 60, o.lr = 1e-2, o.warmup_steps = 5, o.batch_tokens = 256;
  Learner learner = make_learner(t, Head::kLanguage, 1);
  TextMix mix(text, t, 1);
  const SftReport r = run_sft(learner, {data, data, &mix}, o);
  EXPECT_LT(r.curve.back().text_loss, 0.7 * r.curve.front().text_loss);
  EXPECT_EQ(exact_match(learner.ctx(), learner.weights(), t, colours(), 4).right, 3);
  ASSERT_EQ(r.valid.size(), 2u);  // before and after
  EXPECT_LT(r.valid[1].loss, 0.2 * r.valid[0].loss);
  EXPECT_EQ(r.valid[1].step, 60);
}

TEST(TextMix, GradientIsTheCoefficientTimesTheMeanLoss) {
  test::TempDir dir;
  const Tokenizer t = tiny_tokenizer();
  TextMixOptions text;
  text.shards = {text_shard(dir, t, t.fingerprint())}, text.tokens = 64, text.seq_len = 32;
  std::vector<double> norm;
  for (double coef : {0.25, 1.0}) {
    text.coef = coef;
    Learner learner = make_learner(t, Head::kLanguage, 1);
    TextMix mix(text, t, 1);
    EXPECT_NEAR(mix.accumulate(learner), std::log(512.0), 0.5);  // an untrained model guesses
    norm.push_back(learner.apply(0).grad_norm);
  }
  EXPECT_GT(norm[0], 0);
  EXPECT_NEAR(norm[1] / norm[0], 4, 1e-4);
}

TEST(TextMix, RefusesTextOfAnotherTokenizerAndImpossibleSizes) {
  test::TempDir dir;
  const Tokenizer t = tiny_tokenizer();
  TextMixOptions text;
  text.shards = {text_shard(dir, t, t.fingerprint() + 1)};
  EXPECT_THROW(TextMix(text, t, 1), Error);
  text.shards = {text_shard(dir, t, t.fingerprint())}, text.tokens = 16, text.seq_len = 32;
  EXPECT_THROW(TextMix(text, t, 1), Error);
  Learner learner = make_learner(t, Head::kLanguage, 1);
  EXPECT_EQ(TextMix({}, t, 1).accumulate(learner), 0);
  EXPECT_EQ(learner.apply(1).grad_norm, 0);
}

}  // namespace
}  // namespace puyu
