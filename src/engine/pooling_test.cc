// Embeddings and values: the training forward's hidden states, the same bits whatever shares the steps.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/temp_dir_test_util.h"
#include "engine/engine_test_util.h"
#include "model/lora_test_util.h"

namespace puyu {
namespace {

using Wants = Request::Wants;

Weights value_weights(const ModelConfig& c, DType compute) {
  Arena scratch("scratch", 1 << 28);
  Ctx ctx{Device::kCpu, &scratch};
  Weights w = make_weights(c, Head::kValue, compute);
  init_weights(w, 5);
  w.refresh_copy(ctx);
  return w;
}

// Hidden states after the last norm as training computes them, in f32.
std::vector<float> training_hidden(Weights& w, const std::vector<int32_t>& ids) {
  Arena act("activations", 1 << 28), scratch("scratch", 1 << 28);
  Ctx ctx{Device::kCpu, &scratch};
  Batch b;
  b.add(ids.data(), static_cast<int64_t>(ids.size()));
  Tensor table = make_rope_table(act, w.config, w.config.max_position);
  Tensor h = model_forward(ctx, act, w, b.ids.data(), b.tokens(), b.sequences(table), nullptr);
  Tensor f = act.alloc(DType::kF32, {h.numel()});
  cast(ctx, f, h);
  return {f.as<float>(), f.as<float>() + f.numel()};
}
std::vector<float> mean(const std::vector<float>& hidden, size_t tokens) {
  const size_t D = hidden.size() / tokens;
  std::vector<float> out;
  for (size_t d = 0; d < D; ++d) {
    double sum = 0;
    for (size_t t = 0; t < tokens; ++t) sum += static_cast<double>(hidden[t * D + d]);
    out.push_back(static_cast<float>(sum / static_cast<double>(tokens)));
  }
  return out;
}

Request ask(const std::vector<int32_t>& prompt, Wants wants, std::vector<float>& to, int* ended = nullptr) {
  Request r;
  r.prompt = prompt, r.wants = wants;
  r.on_values = [&to](std::span<const float> v) { to.assign(v.begin(), v.end()); };
  r.on_finish = [ended](FinishReason reason) {
    EXPECT_EQ(reason, FinishReason::kStop);
    if (ended) ++*ended;
  };
  return r;
}

TEST(Pooling, EmbeddingsAreTheTrainingForwardAlone) {
  const auto prompts = prompts_of({1, 5, 64, 65, 130, 300, 512});
  for (DType d : {DType::kF32, DType::kBF16}) {
    Weights w = random_weights(tiny(), d);
    EngineOptions roomy, chunked, tight;
    chunked.max_batch = 3, chunked.max_tokens_per_step = 7;
    tight.kv_tokens = 9 * kPage, tight.max_tokens_per_step = 200, tight.draft = "ngram";
    int64_t preempted = 0;
    for (const EngineOptions& o : {roomy, chunked, tight}) {
      Engine engine(w, o);
      std::vector<std::vector<float>> got(prompts.size());
      int ended = 0;
      for (size_t i = prompts.size(); i-- > 0;) engine.submit(ask(prompts[i], Wants::kEmbedding, got[i], &ended));
      engine.step();
      std::vector<Rollout> answers(3);  // generation beside them, which begins alike and goes first
      for (size_t i = 0; i < answers.size(); ++i) {
        Request r{prompts[i + 2], sampling(60), {}, 0, {}, {}};
        r.claim.priority = -1;
        r.on_token = [&a = answers[i]](const Token& t) {
          return a.tokens.push_back(t.id), a.logp.push_back(t.logp), true;
        };
        engine.submit(std::move(r));
      }
      while (engine.step()) continue;
      EXPECT_EQ(ended, static_cast<int>(prompts.size()));
      for (size_t i = 0; i < prompts.size(); ++i)
        EXPECT_EQ(got[i], mean(training_hidden(w, prompts[i]), prompts[i].size())) << dtype_name(d) << ", prompt " << i;
      for (size_t i = 0; i < answers.size(); ++i)
        EXPECT_EQ(answers[i].logp, training_logp(w, prompts[i + 2], answers[i].tokens));
      EXPECT_EQ(engine.scheduler().free_pages(), engine.scheduler().total_pages());
      preempted += engine.scheduler().preemptions();
    }
    EXPECT_GT(preempted, 0);
  }
}

TEST(Pooling, ValuesAreTheTrainingForwards) {
  auto prompts = prompts_of({1, 70, 130, 130, 500});
  std::copy_n(prompts[2].begin(), 129, prompts[3].begin());  // begins alike: found in the cache
  for (DType d : {DType::kF32, DType::kBF16}) {
    Weights w = value_weights(tiny(), d);
    Arena scratch("scratch", 1 << 28);
    Ctx ctx{Device::kCpu, &scratch};
    for (const EngineOptions& o : {EngineOptions{}, EngineOptions{2, 9, 0}}) {
      Engine engine(w, o);
      for (int round = 0; round < 2; ++round) {
        std::vector<std::vector<float>> got(prompts.size());
        std::vector<Request> all;
        for (size_t i = 0; i < prompts.size(); ++i) all.push_back(ask(prompts[i], Wants::kValue, got[i]));
        engine.run(std::move(all));
        for (size_t i = 0; i < prompts.size(); ++i) {
          Arena act("activations", 1 << 28);
          Batch b;
          b.add(prompts[i].data(), static_cast<int64_t>(prompts[i].size()));
          Tensor h = model_forward(ctx, act, w, b.ids.data(), b.tokens(),
                                   b.sequences(make_rope_table(act, w.config, 512)), nullptr);
          std::vector<float> value(prompts[i].size());
          linear(ctx, make_view(value.data(), b.tokens(), 1), h, w.output());
          ASSERT_EQ(got[i].size(), 1u);
          EXPECT_EQ(got[i][0], value.back()) << dtype_name(d) << ", prompt " << i;
        }
      }
      EXPECT_GT(engine.scheduler().reused_tokens(), 500);
    }
  }
}

TEST(Pooling, AsksForWhatTheHeadDoes) {
  Weights language = random_weights(tiny(), DType::kF32), value = value_weights(tiny(), DType::kF32);
  Engine speaks(language), judges(value);
  std::vector<float> out;
  EXPECT_THROW(speaks.submit(ask({1, 2}, Wants::kValue, out)), Error);
  EXPECT_THROW(judges.submit({{1, 2}, sampling(3), {}, 0, {}, {}}), Error);
  EXPECT_THROW(judges.score({{1, 2}}, [](size_t, const Engine::Score&) {}), Error);
  EXPECT_THROW(speaks.submit(ask({}, Wants::kEmbedding, out)), Error);
  EXPECT_THROW(speaks.submit(ask(std::vector<int32_t>(513, 1), Wants::kEmbedding, out)), Error);
  judges.run({});
  std::vector<Request> one;
  one.push_back(ask({1, 2}, Wants::kEmbedding, out));
  judges.run(std::move(one));
  EXPECT_EQ(out, mean(training_hidden(value, {1, 2}), 2));
}

// Classes, clients and the order of arrival change who waits, and nobody's bits.
TEST(Engine, TurnsChangeNothing) {
  Weights w = random_weights(tiny(), DType::kBF16);
  const auto prompts = prompts_of({5, 70, 1, 130, 64, 33, 200, 9});
  Engine plain(w);
  const auto want = plain.generate_tokens(prompts, sampling(80), {});
  int64_t preempted = 0;
  for (uint64_t seed = 0; seed < 6; ++seed) {
    Rng rng(seed);
    EngineOptions o{3, 64, 6 * kPage};
    o.ageing_tokens = static_cast<int64_t>(rng.below(3)) * 500;
    Engine engine(w, o);
    std::vector<size_t> order(prompts.size());
    std::iota(order.begin(), order.end(), size_t{0});
    rng.shuffle(order.begin(), order.end());
    std::vector<Rollout> got(prompts.size());
    size_t at = 0;
    for (bool busy = true; busy || at < order.size();) {
      if (at < order.size() && rng.below(4) == 0) {
        const size_t i = order[at++];
        Request r{prompts[i], sampling(80), {}, 0, {}, {}};
        r.claim = {static_cast<int>(rng.below(5)) - 2, rng.below(3)};
        r.on_token = [&g = got[i]](const Token& t) { return g.tokens.push_back(t.id), g.logp.push_back(t.logp), true; };
        r.on_finish = [&g = got[i]](FinishReason reason) { g.reason = reason; };
        engine.submit(std::move(r));
      }
      busy = engine.step();
    }
    for (size_t i = 0; i < prompts.size(); ++i) expect_same(got[i], want[i], cat("seed ", seed, ", prompt ", i));
    EXPECT_EQ(engine.scheduler().free_pages(), engine.scheduler().total_pages());
    preempted += engine.scheduler().preemptions();
  }
  EXPECT_GT(preempted, 5);
}

TEST(Engine, ScoresThroughAnAdapterAsItGenerates) {
  Weights w = random_weights(tiny(), DType::kF32);
  test::TempDir dir;
  write_adapter(dir.path, w.config, {{"feed_forward.w1", {48, 32}}}, 4, 8, 3);
  Engine engine(w);
  const int adapter = engine.add_adapter(dir.path);
  Rollout got;
  Request r{prompts_of({20})[0], sampling(30), {}, 0, {}, {}};
  std::vector<int32_t> all = r.prompt;
  r.adapter = adapter;
  r.on_token = [&](const Token& t) { return got.tokens.push_back(t.id), got.logp.push_back(t.logp), true; };
  std::vector<Request> one;
  one.push_back(std::move(r));
  engine.run(std::move(one));
  all.insert(all.end(), got.tokens.begin(), got.tokens.end());
  Engine::Score with, without;
  engine.score({all}, [&](size_t, const Engine::Score& s) { with = s; }, adapter);
  engine.score({all}, [&](size_t, const Engine::Score& s) { without = s; });
  EXPECT_TRUE(std::equal(got.logp.begin(), got.logp.end(), with.logp.end() - 30));
  EXPECT_NE(with.logp, without.logp);
  EXPECT_THROW(engine.score({all}, [](size_t, const Engine::Score&) {}, 1), Error);
  EXPECT_THROW(engine.score({std::vector<int32_t>(513, 1)}, [](size_t, const Engine::Score&) {}), TooLong);
}

}  // namespace
}  // namespace puyu
