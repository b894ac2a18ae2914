// What may differ between the sequences of one batch, guesses, RoPE bases and adapters, changes nobody else's bits.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/temp_dir_test_util.h"
#include "engine/engine_test_util.h"
#include "model/lora_test_util.h"

namespace puyu {
namespace {

TEST(Engine, GuessesChangeNothing) {
  Weights w = random_weights(tiny(), DType::kBF16);
  const auto prompts = prompts_of({5, 70, 1, 130, 64, 33});
  for (double temperature : {0.0, 1.0}) {
    SamplingOptions o = sampling(100, temperature);
    o.top_k = 20, o.repetition_penalty = 1.1, o.frequency_penalty = 0.3;
    Engine plain(w);
    const std::vector<int32_t> stop = {3};
    const auto want = plain.generate_tokens(prompts, o, stop);
    std::vector<std::vector<int32_t>> all = prompts;
    for (size_t i = 0; i < all.size(); ++i) all[i].insert(all[i].end(), want[i].tokens.begin(), want[i].tokens.end());
    EngineOptions roomy, tight, cut;
    tight.kv_tokens = 4 * kPage + 1, cut.max_batch = 3, cut.max_tokens_per_step = 7;
    for (const EngineOptions& options : {roomy, tight, cut}) {
      Engine engine(w, options);
      engine.set_drafter(std::make_unique<RandomDrafter>(all, 67));
      const auto got = engine.generate_tokens(prompts, o, stop);
      for (size_t i = 0; i < prompts.size(); ++i) expect_same(got[i], want[i], cat("prompt ", i));
      EXPECT_GT(engine.accepted_tokens(), 50);
      EXPECT_LT(engine.accepted_tokens(), engine.drafted_tokens());
      EXPECT_EQ(engine.scheduler().free_pages(), engine.scheduler().total_pages());
    }
  }
}

// A prompt's own log-probs are those of the scorer, with the prefix cache full, in chunks and after preemption.
TEST(Engine, PromptsHaveLogProbsToo) {
  Weights w = random_weights(tiny(), DType::kBF16);
  const auto prompts = prompts_of({5, 70, 1, 130, 64, 33});
  EngineOptions roomy, tight, cut;
  tight.kv_tokens = 4 * kPage + 1, cut.max_batch = 3, cut.max_tokens_per_step = 7;
  for (const EngineOptions& options : {roomy, tight, cut}) {
    Engine engine(w, options);
    const auto plain = engine.generate_tokens(prompts, sampling(60), {});
    std::vector<std::vector<Token>> given(prompts.size());
    std::vector<Rollout> got(prompts.size());
    std::vector<Request> requests;
    for (size_t i = 0; i < prompts.size(); ++i) {
      Request& r = requests.emplace_back();
      r.prompt = prompts[i], r.sampling = sampling(60), r.prompt_logprobs = 2;
      r.on_prompt_token = [&g = given[i]](const Token& t) { g.push_back(t); };
      r.on_token = [&o = got[i]](const Token& t) { return o.tokens.push_back(t.id), o.logp.push_back(t.logp), true; };
    }
    engine.run(std::move(requests));
    for (size_t i = 0; i < prompts.size(); ++i) {
      EXPECT_EQ(got[i].tokens, plain[i].tokens);
      EXPECT_EQ(got[i].logp, plain[i].logp);
      ASSERT_EQ(given[i].size(), prompts[i].size() - 1);
      if (given[i].empty()) continue;
      Engine::Score score;
      engine.score({prompts[i]}, [&](size_t, const Engine::Score& s) { score = s; });
      for (size_t t = 0; t < given[i].size(); ++t) {
        EXPECT_EQ(given[i][t].id, prompts[i][t + 1]);
        EXPECT_EQ(given[i][t].logp, score.logp[t]) << i << " " << t;
        ASSERT_EQ(given[i][t].top.size(), 2u);
        EXPECT_EQ(given[i][t].top[0].id == given[i][t].id, score.greedy[t] != 0);
      }
    }
  }
}

// A model with biases serves as it trains, with every kind of weights; the biases themselves are never quantised.
TEST(Engine, BiasesServeAsTheyTrain) {
  ModelConfig c = tiny();
  c.qkv_bias = c.wo_bias = true;
  Weights w = random_weights(c, DType::kBF16);
  const auto prompts = prompts_of({5, 70, 1});
  EngineOptions options;
  Engine engine(w, options);
  const auto got = engine.generate_tokens(prompts, sampling(40), {});
  for (size_t i = 0; i < prompts.size(); ++i) EXPECT_EQ(got[i].logp, training_logp(w, prompts[i], got[i].tokens)) << i;
  for (const char* scheme : {"w8a8", "w4a8", "w4a16"}) {
    options.weights = scheme;
    Engine small(w, options);
    const auto mean_distance = [&](Engine& e) {  // from the log-probs of the exact model
      double sum = 0, n = 0;
      for (size_t i = 0; i < prompts.size(); ++i) {
        std::vector<int32_t> all = prompts[i];
        all.insert(all.end(), got[i].tokens.begin(), got[i].tokens.end());
        e.score({all}, [&](size_t, const Engine::Score& s) {
          for (size_t t = 0; t < got[i].logp.size(); ++t, ++n)
            sum += std::fabs(s.logp[prompts[i].size() - 1 + t] - got[i].logp[t]);
        });
      }
      return sum / n;
    };
    const double with = mean_distance(small);
    EXPECT_LT(with, 0.5) << scheme;
    Weights without = random_weights(c, DType::kBF16);
    for (auto& layer : without.copy.tensors.layers)
      for (Tensor t : {layer.wqkv_bias, layer.wo_bias})
        for (int64_t i = 0; i < t.numel(); ++i) t.as<BF16>()[i] = to_bf16(0);
    Engine none(without, options);
    EXPECT_GT(mean_distance(none), 2 * with) << scheme;  // the bound above means something
  }
}

// Scores with a quantised cache are those of answers through it, whatever the chunks, and differ from the exact ones.
TEST(Engine, ScoresSeeAQuantisedCache) {
  ModelConfig c = tiny();
  c.max_position = 160;
  Weights w = random_weights(c, DType::kBF16);
  const auto prompts = prompts_of({5, 70, 1, 130});
  for (int bits : {8, 4}) {
    EngineOptions whole, cut;
    whole.kv_bits = cut.kv_bits = bits;
    cut.max_tokens_per_step = 16, cut.max_batch = 2, cut.kv_tokens = 4 * kPage;
    Engine exact(w), engine(w, whole), chunked(w, cut);
    const auto rollouts = engine.generate_tokens(prompts, sampling(30), {});
    std::vector<std::vector<int32_t>> all = prompts;  // the last one fills the context to its end
    for (size_t i = 0; i < all.size(); ++i)
      all[i].insert(all[i].end(), rollouts[i].tokens.begin(), rollouts[i].tokens.end());
    ASSERT_EQ(all[3].size(), 160u);
    std::vector<Engine::Score> got(all.size()), again(all.size()), free(all.size());
    engine.score(all, [&](size_t i, const Engine::Score& s) { got[i] = s; });
    chunked.score(all, [&](size_t i, const Engine::Score& s) { again[i] = s; });
    exact.score(all, [&](size_t i, const Engine::Score& s) { free[i] = s; });
    for (size_t i = 0; i < all.size(); ++i) {
      ASSERT_EQ(got[i].logp.size(), all[i].size() - 1);
      EXPECT_TRUE(std::equal(rollouts[i].logp.begin(), rollouts[i].logp.end(), got[i].logp.end() - 30)) << i;
      EXPECT_EQ(got[i].logp, again[i].logp);
      EXPECT_EQ(got[i].greedy, again[i].greedy);
      EXPECT_NE(got[i].logp, free[i].logp) << "nothing was quantised";
    }
    EXPECT_EQ(engine.scheduler().free_pages(), engine.scheduler().total_pages());
    all[3].push_back(1);
    EXPECT_THROW(engine.score(all, [](size_t, const Engine::Score&) {}), Error);
    EXPECT_EQ(engine.active(), 0);
  }
}

TEST(Engine, NgramsAndDraftModelsGuessRight) {
  Weights w = random_weights(tiny(), DType::kF32);
  const auto prompts = prompts_of({20, 40});
  const SamplingOptions o = sampling(200, 0);  // greedy random models fall into loops, which n-grams see
  Engine plain(w);
  const auto want = plain.generate_tokens(prompts, o, {});
  EngineOptions options;
  options.draft = "ngram";
  Engine ngram(w, options), drafted(w);
  drafted.set_drafter(make_model_drafter(random_weights(tiny(), DType::kF32)));  // its own twin: always right
  const auto a = ngram.generate_tokens(prompts, o, {}), b = drafted.generate_tokens(prompts, o, {});
  for (size_t i = 0; i < prompts.size(); ++i) expect_same(a[i], want[i], "ngram"), expect_same(b[i], want[i], "model");
  EXPECT_GT(ngram.accepted_tokens(), 30);
  EXPECT_EQ(drafted.accepted_tokens(), drafted.drafted_tokens());
  EXPECT_GT(drafted.accepted_tokens(), 300);
  options.draft = "magic";
  EXPECT_THROW(Engine(w, options), Error);
}

// One batch with two adapters and none: each sequence is as if alone, the plain one as if there were no adapters, and
// an adapted one as if its product were part of the weights.
TEST(Engine, AdaptersShareABatch) {
  test::TempDir one, two;
  const ModelConfig c = tiny();
  const AdapterFile file =
      write_adapter(one.path, c, {{"feed_forward.w2", {32, 48}}, {"attention.wqkv", {64, 32}}}, 4, 8, 1);
  write_adapter(two.path, c, {{"mlp.gate_proj", {48, 32}}, {"self_attn.o_proj", {32, 32}}}, 2, 2, 2);
  const auto prompts = prompts_of({70, 70, 70});
  auto run = [&](Engine& engine, const std::vector<int>& adapters) {
    std::vector<Rollout> out(adapters.size());
    std::vector<Request> requests;
    for (size_t i = 0; i < adapters.size(); ++i) {
      Request r;
      r.prompt = prompts[0], r.sampling = sampling(40);
      r.adapter = adapters[i];
      r.on_token = [&o = out[i]](const Token& t) { return o.tokens.push_back(t.id), o.logp.push_back(t.logp), true; };
      requests.push_back(std::move(r));
    }
    engine.run(std::move(requests));
    return out;
  };
  for (DType d : {DType::kF32, DType::kBF16}) {
    Weights w = random_weights(c, d);
    Engine engine(w), bare(w), only(w);
    EXPECT_EQ(engine.add_adapter(one.path), 0);
    EXPECT_EQ(engine.add_adapter(two.path), 1);
    EXPECT_EQ(only.add_adapter(two.path), 0);
    const auto together = run(engine, {0, -1, 1});
    expect_same(together[1], run(bare, {-1})[0], "no adapter");
    expect_same(together[2], run(only, {0})[0], "the second");
    for (int adapter : {0, 1, -1})
      expect_same(run(engine, {adapter})[0], together[adapter < 0 ? 1 : adapter == 0 ? 0 : 2], "prefixes in the cache");
    EXPECT_NE(together[0].logp, together[1].logp);
    EXPECT_THROW(run(bare, {0}), Error);
    if (d == DType::kBF16) continue;
    for (int64_t l = 0; l < c.num_layers; ++l) {  // W += alpha / r B A
      Block<Tensor>& block = w.master.tensors.layers[static_cast<size_t>(l)];
      for (auto [name, t] : {std::pair{"feed_forward.w2", block.w2}, {"attention.wqkv", block.wqkv}}) {
        const std::string at = cat("base_model.model.model.layers.", l, ".", name);
        const auto &a = file.tensors.at(at + ".lora_A.weight"), &b = file.tensors.at(at + ".lora_B.weight");
        const auto K = static_cast<size_t>(t.shape[1]);
        for (size_t i = 0; i < static_cast<size_t>(t.numel()); ++i)
          for (size_t r = 0; r < 4; ++r) t.as<float>()[i] += 2 * b[i / K * 4 + r] * a[r * K + i % K];
      }
    }
    const std::vector<float> want = training_logp(w, prompts[0], together[0].tokens);
    for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(together[0].logp[i], want[i], 2e-3) << i;
  }
}

TEST(Engine, LongPromptsGetABaseOfTheirOwn) {
  ModelConfig c = tiny();
  c.max_position = 64;
  Weights w = random_weights(c, DType::kF32);
  EngineOptions o;
  o.context = 400;
  EXPECT_THROW(Engine(w, o), Error);  // needs scaling
  o.rope_factor = 2;
  Engine engine(w, o);
  EXPECT_EQ(engine.context_length(), 400);
  const auto prompts = prompts_of({40, 200, 300});
  const auto together = engine.generate_tokens(prompts, sampling(30), {});
  for (size_t i = 0; i < prompts.size(); ++i) {
    // The training forward with the base that the prompt asks for.
    ModelConfig fixed = c;
    fixed.max_position = 512, w.config = fixed;
    ModelConfig dynamic = c;
    dynamic.rope_scaling = "dynamic", dynamic.rope_factor = 2;
    w.config.rope_theta = rope_base(dynamic, static_cast<int64_t>(prompts[i].size()));
    EXPECT_EQ(together[i].logp, training_logp(w, prompts[i], together[i].tokens)) << i;
    w.config = c;
  }
  // Prompts that begin alike share pages only if they have the same base.
  auto longer = prompts[1];
  longer.push_back(1);
  EXPECT_EQ(engine.scheduler().reused_tokens(), 0);
  const auto again = engine.generate_tokens({longer}, sampling(5), {});
  EXPECT_EQ(engine.scheduler().reused_tokens(), 0);
  Engine fresh(w, o);
  expect_same(fresh.generate_tokens({longer}, sampling(5), {})[0], again[0], "cache of another base");
}

}  // namespace
}  // namespace puyu
