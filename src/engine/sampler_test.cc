#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "base/error.h"

namespace puyu {
namespace {

SamplingOptions plain() {
  SamplingOptions o;
  o.temperature = 1, o.top_p = 1;
  return o;
}
int32_t pick(std::vector<float> logits, const SamplingOptions& o, uint64_t counter = 0,
             std::vector<int32_t> used = {}) {
  Rng rng(static_cast<uint64_t>(o.seed), 5);
  rng.counter = counter;
  return sample(logits, used, o, rng);
}
std::vector<float> logits_of(const std::vector<double>& p) {
  std::vector<float> out;
  for (double x : p) out.push_back(static_cast<float>(std::log(x) + 3));
  return out;
}
std::vector<double> frequencies(const std::vector<float>& logits, const SamplingOptions& o, int n = 40000) {
  std::vector<double> f(logits.size());
  for (int i = 0; i < n; ++i) f[static_cast<size_t>(pick(logits, o, static_cast<uint64_t>(i)))] += 1.0 / n;
  return f;
}
void expect_near(const std::vector<double>& got, const std::vector<double>& want) {
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_NEAR(got[i], want[i], 0.012) << "token " << i;
    EXPECT_EQ(got[i] == 0, want[i] == 0) << "token " << i;
  }
}

TEST(Sampler, GreedyTakesTheFirstBest) {
  SamplingOptions o = plain();
  o.temperature = 0;
  EXPECT_EQ(pick({1, 5, 2, 5}, o), 1);
  o.temperature = 1e-9;
  EXPECT_EQ(pick({-1e30f, -5, -6}, o), 1);
}

TEST(Sampler, FrequenciesAreTheDistribution) {
  const std::vector<double> p{0.5, 0.25, 0.15, 0.07, 0.03};
  SamplingOptions o = plain();
  expect_near(frequencies(logits_of(p), o), p);
  o.temperature = 0.5;  // squares
  double sum = 0;
  std::vector<double> squared;
  for (double x : p) sum += x * x;
  for (double x : p) squared.push_back(x * x / sum);
  expect_near(frequencies(logits_of(p), o), squared);
}

TEST(Sampler, FiltersCutWhereTheySay) {
  const std::vector<float> logits = logits_of({0.03, 0.25, 0.5, 0.07, 0.15});
  SamplingOptions o = plain();
  o.top_k = 2;
  expect_near(frequencies(logits, o), {0, 1.0 / 3, 2.0 / 3, 0, 0});
  o = plain(), o.top_p = 0.7;  // 0.5 + 0.25 reaches it
  expect_near(frequencies(logits, o), {0, 1.0 / 3, 2.0 / 3, 0, 0});
  o.top_p = 0.8;
  expect_near(frequencies(logits, o), {0, 0.25 / 0.9, 0.5 / 0.9, 0, 0.15 / 0.9});
  o = plain(), o.min_p = 0.2;  // at least 0.1
  expect_near(frequencies(logits, o), {0, 0.25 / 0.9, 0.5 / 0.9, 0, 0.15 / 0.9});
  o = plain(), o.top_k = 1;
  EXPECT_EQ(pick(logits, o, 9), 2);
  o = plain(), o.top_p = 1e-9;
  EXPECT_EQ(pick(logits, o, 9), 2);
}

TEST(Sampler, TopPOfALongFlatTailIsExact) {  // the filter before the sort must not lose anything
  std::vector<double> p(500, 0.5 / 499);
  p[77] = 0.5;
  SamplingOptions o = plain();
  o.top_p = 0.75;
  const std::vector<float> logits = logits_of(p);
  std::set<int32_t> seen;
  for (uint64_t i = 0; i < 8000; ++i) seen.insert(pick(logits, o, i));
  EXPECT_NEAR(static_cast<double>(seen.size()), 250.0, 3.0);
}

TEST(Sampler, RepetitionPenaltyWorksOnBothSigns) {
  SamplingOptions o = plain();
  o.temperature = 0, o.repetition_penalty = 2;
  EXPECT_EQ(pick({3, 2, 1}, o, 0, {0, 0}), 1);     // 3 / 2 < 2, once however often it was used
  EXPECT_EQ(pick({-2, -3, -9}, o, 0, {0, 2}), 1);  // -2 * 2 < -3
}

TEST(Sampler, TheSameSeedAndPositionGiveTheSameToken) {
  const std::vector<float> logits = logits_of({0.2, 0.2, 0.2, 0.2, 0.2});
  SamplingOptions a = plain(), b = plain();
  b.seed = 1;
  int same = 0;
  for (uint64_t i = 0; i < 1000; ++i) {
    EXPECT_EQ(pick(logits, a, i), pick(logits, a, i));
    same += pick(logits, a, i) == pick(logits, b, i);
  }
  EXPECT_NEAR(same, 200, 60);
}

TEST(Sampler, RefusesWhatCannotBe) {
  SamplingOptions o = plain();
  o.top_p = 0;
  EXPECT_THROW(validate(o), Error);
  o = plain(), o.temperature = std::nan("");
  EXPECT_THROW(validate(o), Error);
  o = plain(), o.max_tokens = 0;
  EXPECT_THROW(validate(o), Error);
  o = plain(), o.logit_bias = {{-1, 0.5}};
  EXPECT_THROW(validate(o), Error);
  o = plain(), o.presence_penalty = std::nan("");
  EXPECT_THROW(validate(o), Error);
  o = plain(), o.top_logprobs = -2;
  EXPECT_THROW(validate(o), Error);
  o = plain(), o.bad_words = {""};
  EXPECT_THROW(validate(o), Error);
  o = plain(), o.stop = {""};
  EXPECT_THROW(validate(o), Error);
}

TEST(Sampler, BiasAndPenaltiesFollowTheFormula) {
  SamplingOptions o = plain();
  o.logit_bias = {{0, -3}, {2, 0.5}}, o.presence_penalty = 0.25, o.frequency_penalty = 0.5;
  std::vector<float> x{1, 2, 3, 4};
  adjust(x, std::vector<int32_t>{3, 1, 3}, o, {}, {});
  EXPECT_EQ(x, (std::vector<float>{-2, 1.25, 3.5, 2.75}));
}

TEST(Sampler, MinTokensAndBadSequencesForbid) {
  SamplingOptions o = plain();
  o.min_tokens = 2;
  const std::vector<int32_t> stops{3};
  const std::vector<std::vector<int32_t>> bad{{1, 2}, {0}};
  auto forbidden = [&](std::vector<int32_t> answer) {
    std::vector<float> x(4, 1.0f);
    adjust(x, answer, o, stops, bad);
    std::set<int> out;
    for (int i = 0; i < 4; ++i)
      if (std::isinf(x[static_cast<size_t>(i)])) out.insert(i);
    return out;
  };
  EXPECT_EQ(forbidden({}), (std::set<int>{0, 3}));
  EXPECT_EQ(forbidden({1}), (std::set<int>{0, 2, 3}));
  EXPECT_EQ(forbidden({1, 1}), (std::set<int>{0, 2}));
  EXPECT_EQ(forbidden({1, 2, 3}), (std::set<int>{0}));
  const float never = -std::numeric_limits<float>::infinity();
  o.temperature = 1;
  EXPECT_EQ(pick({never, 2, never}, o), 1);
  EXPECT_EQ(pick({never, never}, o), -1);
}

TEST(Sampler, KnowsWhichOptionsWriteToTheLogits) {
  const std::vector<int32_t> answer{1, 1}, stops{3};
  auto writes = [&](const SamplingOptions& o) {
    std::vector<float> x{1, 2, 3, 4};
    const std::vector<float> before = x;
    adjust(x, answer, o, stops, {});
    Rng rng(1, 1);
    sample(x, answer, o, rng);
    return x != before;
  };
  auto expect_writes = [&](bool want, auto set) {
    SamplingOptions o;
    set(o);
    EXPECT_EQ(writes(o), want);
    EXPECT_EQ(changes_logits(o), want);
  };
  expect_writes(false, [](auto& o) { o.temperature = 0; });
  expect_writes(false, [](auto& o) { o.top_k = 2, o.min_p = 0.1, o.top_p = 0.5; });
  expect_writes(true, [](auto& o) { o.logit_bias = {{0, 1}}; });
  expect_writes(true, [](auto& o) { o.presence_penalty = 1; });
  expect_writes(true, [](auto& o) { o.frequency_penalty = -1; });
  expect_writes(true, [](auto& o) { o.min_tokens = 3; });
  expect_writes(true, [](auto& o) { o.repetition_penalty = 1.1; });
}

TEST(Sampler, LoopStopperCountsTheLastNgram) {
  SamplingOptions o = plain();
  EXPECT_FALSE(loops(std::vector<int32_t>(100, 1), o));  // off
  o.repetition_ngram_size = 2, o.repetition_ngram_threshold = 3;
  EXPECT_FALSE(loops(std::vector<int32_t>{1, 2, 1, 2}, o));
  EXPECT_TRUE(loops(std::vector<int32_t>{1, 2, 1, 2, 5, 1, 2}, o));
  EXPECT_FALSE(loops(std::vector<int32_t>{1, 2, 1, 2, 1, 2, 3}, o));
}

TEST(Sampler, MostLikelyAreSorted) {
  const float never = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(most_likely(std::vector<float>{1, 5, never, 5, 2}, 3), (std::vector<int32_t>{1, 3, 4}));
  EXPECT_EQ(most_likely(std::vector<float>{1, never}, 9), (std::vector<int32_t>{0}));
}

}  // namespace
}  // namespace puyu
