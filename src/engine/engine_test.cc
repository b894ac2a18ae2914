// The engine's promises: a request's tokens and log-probs are the training forward's, bit for bit, whatever shares the
// batch, however prompts are cut, whoever is preempted.
#include "engine/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "engine/engine_test_util.h"

namespace puyu {
namespace {

TEST(Engine, RolloutsAreTheTrainingForward) {
  for (DType d : {DType::kF32, DType::kBF16}) {
    Weights w = random_weights(tiny(), d);
    Engine engine(w);
    const auto prompts = prompts_of({5, 70, 1, 130});
    const auto rollouts = engine.generate_tokens(prompts, sampling(90), {});
    for (size_t i = 0; i < prompts.size(); ++i) {
      EXPECT_EQ(rollouts[i].tokens.size(), 90u);
      EXPECT_EQ(rollouts[i].reason, FinishReason::kLength);
      EXPECT_EQ(rollouts[i].logp, training_logp(w, prompts[i], rollouts[i].tokens)) << dtype_name(d) << " prompt " << i;
      std::vector<int32_t> all = prompts[i];
      all.insert(all.end(), rollouts[i].tokens.begin(), rollouts[i].tokens.end());
      Engine::Score score;  // and so is the scorer
      engine.score({all, all}, [&](size_t, const Engine::Score& s) { score = s; });
      EXPECT_TRUE(std::equal(rollouts[i].logp.begin(), rollouts[i].logp.end(), score.logp.end() - 90));
    }
  }
}

TEST(Engine, BatchChunksAndPreemptionChangeNothing) {
  for (double temperature : {0.0, 1.0}) {
    Weights w = random_weights(tiny(), DType::kBF16);
    const auto prompts = prompts_of({5, 70, 1, 130, 64, 33});
    SamplingOptions o = sampling(100, temperature);
    o.top_k = 20, o.repetition_penalty = 1.1;
    Engine roomy(w);
    const auto want = roomy.generate_tokens(prompts, o, {});
    EXPECT_EQ(roomy.scheduler().preemptions(), 0);
    Engine chunked(w, {3, 7, 0}), crowded(w, {6, 64, 4 * kPage + 1});
    const auto cut = chunked.generate_tokens(prompts, o, {}), tight = crowded.generate_tokens(prompts, o, {});
    EXPECT_GT(crowded.scheduler().preemptions(), 0);
    for (size_t i = 0; i < prompts.size(); ++i) {
      expect_same(cut[i], want[i], "chunks of 7");
      expect_same(tight[i], want[i], "preempted");
      expect_same(roomy.generate_tokens({prompts[i]}, o, {})[0], want[i], "alone");
    }
    EXPECT_EQ(crowded.scheduler().free_pages(), 5);
  }
}

TEST(Engine, PrefixCacheChangesNothing) {
  auto prompts = prompts_of({200, 200, 130, 129, 70});
  std::copy_n(prompts[0].begin(), 190, prompts[1].begin());  // two pages and a part of the third
  std::copy_n(prompts[0].begin(), 128, prompts[2].begin());
  std::copy_n(prompts[0].begin(), 129, prompts[3].begin());
  for (int bits : {0, 8, 4}) {
    Weights w = random_weights(tiny(), DType::kBF16);
    EngineOptions on, off;
    on.kv_bits = off.kv_bits = bits, off.prefix_cache = false;
    Engine with(w, on), without(w, off);
    for (size_t round = 0; round < 2; ++round)
      for (size_t i = 0; i < prompts.size(); ++i)
        expect_same(with.generate_tokens({prompts[i]}, sampling(70), {})[0],
                    without.generate_tokens({prompts[i]}, sampling(70), {})[0], cat(bits, " bits, prompt ", i));
    // The second time all full pages, for fewer than 8 tokens of a page are not worth a copy.
    EXPECT_EQ(with.scheduler().reused_tokens(), 190 + 128 + 128 + 192 + 192 + 128 + 128 + 64);
    EXPECT_EQ(without.scheduler().reused_tokens(), 0);
    with.refresh();
    const int64_t before = with.scheduler().reused_tokens();
    with.generate_tokens({prompts[0]}, sampling(3), {});
    EXPECT_EQ(with.scheduler().reused_tokens(), before) << "new weights, old keys";
  }
}

TEST(Engine, EqualPromptsDrawDifferentAnswers) {
  Weights w = random_weights(tiny(), DType::kF32);
  Engine engine(w);
  auto prompts = prompts_of({9});
  prompts.push_back(prompts[0]);
  const auto a = engine.generate_tokens(prompts, sampling(20), {}),
             b = engine.generate_tokens(prompts, sampling(20), {});
  EXPECT_NE(a[0].tokens, a[1].tokens);
  EXPECT_EQ(a[0].tokens, b[0].tokens);
  EXPECT_EQ(a[1].tokens, b[1].tokens);
}

TEST(Engine, StopsAtStopIdsLengthAndContext) {
  Weights w = random_weights(tiny(), DType::kF32);
  Engine engine(w);
  const auto prompts = prompts_of({9, 505});
  const auto free = engine.generate_tokens(prompts, sampling(40), {});
  EXPECT_EQ(free[1].tokens.size(), 7u);  // max_position 512
  EXPECT_EQ(free[1].reason, FinishReason::kLength);
  const int32_t stop = free[0].tokens[10];
  const auto first = std::find(free[0].tokens.begin(), free[0].tokens.end(), stop) - free[0].tokens.begin();
  const auto cut = engine.generate_tokens({prompts[0]}, sampling(40), std::vector<int32_t>{stop})[0];
  EXPECT_EQ(cut.reason, FinishReason::kStop);
  EXPECT_EQ(cut.tokens, std::vector<int32_t>(free[0].tokens.begin(), free[0].tokens.begin() + first + 1));
}

TEST(Engine, AbortFreesAtOnceEvenFromACallback) {
  Weights w = random_weights(tiny(), DType::kF32);
  Engine engine(w);
  const int64_t pages = engine.scheduler().free_pages();
  const auto prompts = prompts_of({100, 100});
  std::vector<FinishReason> reasons;
  int64_t other = 0, tokens = 0;
  auto on_finish = [&](FinishReason r) { reasons.push_back(r); };
  engine.submit({prompts[0],
                 sampling(50),
                 {},
                 0,
                 [&](const Token&) {
                   if (++tokens == 3) engine.abort(other);
                   return tokens < 5;
                 },
                 on_finish});
  other = engine.submit({prompts[1], sampling(50), {}, 0, {}, on_finish});
  while (engine.step()) continue;
  EXPECT_EQ(reasons, (std::vector<FinishReason>{FinishReason::kAborted, FinishReason::kStop}));
  EXPECT_EQ(engine.scheduler().free_pages(), pages);
  engine.abort(12345);  // unknown: ignored
}

TEST(Engine, RefusesBadRequests) {
  Weights w = random_weights(tiny(), DType::kF32);
  Engine engine(w, {4, 64, 3 * kPage});
  EXPECT_THROW(engine.submit({{}, sampling(5), {}, 0, {}, {}}), Error);
  EXPECT_THROW(engine.submit({{67}, sampling(5), {}, 0, {}, {}}), Error);
  EXPECT_THROW(engine.submit({{-1}, sampling(5), {}, 0, {}, {}}), Error);
  EXPECT_THROW(engine.submit({prompts_of({192})[0], sampling(5), {}, 0, {}, {}}), Error);
  EXPECT_THROW(engine.generate_tokens({{1, 2}, {99}}, sampling(5), {}), Error);
  EXPECT_EQ(engine.active(), 0);  // the good one of the two did not stay behind
}

void expect_quantised_weights_keep_every_promise(const char* scheme, double mean_nats) {
  ModelConfig c = tiny();
  c.hidden_size = 128, c.intermediate_size = 320, c.num_heads = 4;
  Weights w = random_weights(c, DType::kF32);
  EngineOptions small;
  small.weights = scheme;
  EngineOptions chunked = small;
  chunked.max_tokens_per_step = 16, chunked.max_batch = 2, chunked.kv_tokens = 3 * kPage;
  const auto prompts = prompts_of({5, 70, 33, 1});
  Engine exact(w), a(w, small), b(w, chunked);
  const auto ra = a.generate_tokens(prompts, sampling(20), {}), rb = b.generate_tokens(prompts, sampling(20), {});
  double sum = 0, n = 0;
  for (size_t i = 0; i < prompts.size(); ++i) {
    expect_same(ra[i], rb[i], "prompt " + std::to_string(i));
    std::vector<int32_t> all = prompts[i];
    all.insert(all.end(), ra[i].tokens.begin(), ra[i].tokens.end());
    a.score({all}, [&](size_t, const Engine::Score& s) {  // scoring goes through the same int8 weights
      const size_t count = ra[i].logp.size();
      EXPECT_EQ(0, std::memcmp(s.logp.data() + s.logp.size() - count, ra[i].logp.data(), count * sizeof(float)));
      exact.score({all}, [&](size_t, const Engine::Score& e) {
        for (size_t t = 0; t < count; ++t, ++n) sum += std::abs(e.logp[e.logp.size() - count + t] - ra[i].logp[t]);
      });
    });
  }
  EXPECT_GT(sum, 0) << "nothing was quantised";
  EXPECT_LT(sum / n, mean_nats);
  small.weights = "w9";
  EXPECT_THROW(Engine(w, small), Error);
}
TEST(Engine, Int8WeightsKeepEveryPromise) { expect_quantised_weights_keep_every_promise("w8a8", 0.1); }
TEST(Engine, Int4WeightsKeepEveryPromise) { expect_quantised_weights_keep_every_promise("w4a16", 1.5); }
TEST(Engine, Int4WeightsWithInt8ActivationsKeepEveryPromise) {
  expect_quantised_weights_keep_every_promise("w4a8", 1.5);
}

TEST(Engine, QuantisedCacheKeepsEveryPromise) {
  Weights w = random_weights(tiny(), DType::kF32);
  const auto prompts = prompts_of({5, 140, 33, 1});
  Engine exact(w);
  for (int bits : {8, 4}) {
    EngineOptions whole, chunked;
    whole.kv_bits = chunked.kv_bits = bits;
    chunked.max_tokens_per_step = 16, chunked.max_batch = 2, chunked.kv_tokens = 4 * kPage;
    Engine a(w, whole), b(w, chunked);
    const auto ra = a.generate_tokens(prompts, sampling(20), {}), rb = b.generate_tokens(prompts, sampling(20), {});
    double sum = 0, n = 0;
    for (size_t i = 0; i < prompts.size(); ++i) {
      expect_same(ra[i], rb[i], cat(bits, " bits, prompt ", i));
      std::vector<int32_t> all = prompts[i];
      all.insert(all.end(), ra[i].tokens.begin(), ra[i].tokens.end());
      exact.score({all}, [&](size_t, const Engine::Score& s) {
        for (size_t t = 0; t < ra[i].logp.size(); ++t, ++n)
          sum += std::abs(s.logp[prompts[i].size() - 1 + t] - ra[i].logp[t]);
      });
    }
    EXPECT_GT(sum / n, 0) << "nothing was quantised";
    EXPECT_LT(sum / n, bits == 8 ? 0.02 : 0.3) << "nats";
  }
  EngineOptions bad;
  bad.kv_bits = 3;
  EXPECT_THROW(Engine(w, bad), Error);
}

TEST(Engine, RefreshSeesNewWeights) {
  Weights w = random_weights(tiny(), DType::kF32), other = random_weights(tiny(), DType::kF32, 8);
  Engine engine(w);
  Engine want(other);
  const auto prompts = prompts_of({9});
  std::vector<Tensor> from;
  other.master.tensors.each(w.config, w.head, [&](const std::string&, Tensor& t, Spec, int64_t) { from.push_back(t); });
  size_t i = 0;
  w.master.tensors.each(w.config, w.head, [&](const std::string&, Tensor& t, Spec, int64_t) {
    std::memcpy(t.data, from[i++].data, static_cast<size_t>(t.nbytes()));
  });
  engine.refresh();
  expect_same(engine.generate_tokens(prompts, sampling(30), {})[0], want.generate_tokens(prompts, sampling(30), {})[0],
              "after refresh");
}

TEST(Engine, TopLogProbsAreThoseOfTheScorer) {
  Weights w = random_weights(tiny(), DType::kF32);
  Engine engine(w);
  const auto prompt = prompts_of({9})[0];
  SamplingOptions o = sampling(12);
  o.top_logprobs = 3, o.presence_penalty = 1;
  std::vector<Token> got;
  std::vector<Request> r;
  r.push_back({prompt, o, {}, 0, [&](const Token& t) { return got.push_back(t), true; }, {}});
  engine.run(std::move(r));
  ASSERT_EQ(got.size(), 12u);
  std::vector<int32_t> all = prompt;
  for (const Token& t : got) {
    ASSERT_EQ(t.top.size(), 3u);
    EXPECT_GE(t.top[0].logp, t.top[1].logp);
    for (const TokenLogp& alternative : t.top) {
      all.push_back(alternative.id);
      engine.score({all}, [&](size_t, const Engine::Score& s) { EXPECT_EQ(s.logp.back(), alternative.logp); });
      all.pop_back();
    }
    all.push_back(t.id);
  }
}

TEST(Engine, MasksBadIdsAndTheLoopStopperSteerTheAnswer) {
  struct OddThenEnd : TokenMask {  // odd ids only, five of them
    void allow(std::span<float> logits) override {
      for (size_t i = 0; i < logits.size(); i += 2) logits[i] = -std::numeric_limits<float>::infinity();
    }
    void accept(int32_t) override { ++n; }
    bool finished() const override { return n == 5; }
    int n = 0;
  };
  Weights w = random_weights(tiny(), DType::kF32);
  Engine engine(w);
  const auto prompt = prompts_of({9})[0];
  std::vector<int32_t> got;
  std::vector<FinishReason> reasons;
  auto answer = [&](SamplingOptions o, std::vector<std::vector<int32_t>> bad, std::shared_ptr<TokenMask> mask) {
    got.clear();
    std::vector<Request> r;
    r.push_back({prompt,
                 o,
                 {},
                 0,
                 [&](const Token& t) { return got.push_back(t.id), true; },
                 [&](FinishReason f) { reasons.push_back(f); },
                 bad,
                 mask});
    engine.run(std::move(r));
    return got;
  };
  for (int32_t id : answer(sampling(40), {}, std::make_shared<OddThenEnd>())) EXPECT_EQ(id % 2, 1);
  EXPECT_EQ(got.size(), 5u);
  SamplingOptions o = sampling(20, 0);
  const auto plain = answer(o, {}, {});
  const auto without = answer(o, {{plain[4], plain[5]}}, {});
  EXPECT_EQ(without[4], plain[4]);
  EXPECT_NE(without[5], plain[5]);
  o.logit_bias = {{7, 500}}, o.repetition_ngram_size = 3, o.repetition_ngram_threshold = 4;
  EXPECT_EQ(answer(o, {}, {}), std::vector<int32_t>(6, 7));
  EXPECT_EQ(reasons.back(), FinishReason::kLoop);
}

TEST(Engine, MinTokensAndIgnoreEosHoldTheEndOff) {
  Weights w = random_weights(tiny(), DType::kF32);
  Engine engine(w);
  SamplingOptions o = sampling(20, 0);
  o.logit_bias = {{7, 500}};
  const std::vector<int32_t> stop{7};
  EXPECT_EQ(engine.generate_tokens(prompts_of({9}), o, stop)[0].tokens.size(), 1u);
  o.min_tokens = 6;
  const Rollout held = engine.generate_tokens(prompts_of({9}), o, stop)[0];
  EXPECT_EQ(std::find(held.tokens.begin(), held.tokens.end(), 7) - held.tokens.begin(), 6);
  o.ignore_eos = true, o.min_tokens = 0;
  EXPECT_EQ(engine.generate_tokens(prompts_of({9}), o, stop)[0].tokens, std::vector<int32_t>(20, 7));
}

// Not an assertion, a number to look at: batched decode of a model of 3.5 M parameters.
TEST(Engine, SpeedOfBatchedDecode) {
  ModelConfig c;
  c.vocab_size = 4096, c.hidden_size = 192, c.num_layers = 4, c.num_heads = 6, c.num_kv_heads = 2;
  c.intermediate_size = 512, c.max_position = 512;
  for (DType d : {DType::kF32, DType::kBF16}) {
    Weights w = random_weights(c, d);
    Engine engine(w, {128, 512, 0});
    const auto prompts = prompts_of({20}, c.vocab_size);
    const auto start = std::chrono::steady_clock::now();
    engine.generate_tokens(std::vector<std::vector<int32_t>>(128, prompts[0]), sampling(32), {});
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::printf("%.1f M parameters, %s, 128 sequences: %.0f tokens/s\n", static_cast<double>(c.num_params()) / 1e6,
                dtype_name(d), 128 * 32 / seconds);
  }
}

}  // namespace
}  // namespace puyu
