// All that may differ between requests, at random and at once: prompts that share beginnings, chunks, small caches,
// guesses, grammars, adapters, penalties, prompt log-probs, requests that come late or are aborted. Whatever happens,
// an answer is that of the request alone, and its log-probs are the training forward's, bit for bit.
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/temp_dir_test_util.h"
#include "engine/engine_test_util.h"
#include "grammar/gbnf.h"
#include "grammar/mask.h"
#include "grammar/regex.h"
#include "model/lora_test_util.h"

namespace puyu {
namespace {

constexpr int64_t kVocab = 67;

std::vector<std::string> vocabulary() {  // id 0 is the end
  std::vector<std::string> v{""};
  for (int64_t i = 1; i < kVocab; ++i) v.push_back(i % 7 ? std::string(1, static_cast<char>('0' + i)) : cat(i, ","));
  return v;
}

ModelConfig shape(Rng& rng) {
  ModelConfig c;
  c.vocab_size = kVocab, c.max_position = 512, c.rope_theta = rng.below(2) ? 1e4 : 1e6;
  c.num_kv_heads = 1 + static_cast<int64_t>(rng.below(3));
  c.num_heads = c.num_kv_heads * (1 + static_cast<int64_t>(rng.below(3)));
  c.head_dim = rng.below(2) ? 8 : 16;
  c.hidden_size = 32 + 16 * static_cast<int64_t>(rng.below(3)), c.intermediate_size = rng.below(2) ? 48 : 80;
  c.num_layers = 1 + static_cast<int64_t>(rng.below(3));
  c.tie_embeddings = rng.below(3) == 0;
  return c;
}

struct Plan {  // of one request
  std::vector<int32_t> prompt;
  SamplingOptions sampling;
  uint64_t sample = 0;
  int grammar = -1, adapter = -1, prompt_logprobs = -1;
  uint64_t arrives = 0;    // before this step
  int64_t aborts_at = -1;  // with so many tokens
};
struct Got {
  Rollout answer;
  std::vector<float> prompt_logp;
};

class Lab {
 public:
  explicit Lab(uint64_t seed)
      : rng(seed),
        config(shape(rng)),
        weights(random_weights(config, rng.below(2) ? DType::kF32 : DType::kBF16, seed)) {
    const auto trie = std::make_shared<const grammar::TokenTrie>(vocabulary());
    for (grammar::Grammar& g : grammars())
      guides.push_back(std::make_shared<grammar::Guide>(std::move(g), trie, std::vector<int32_t>{0}));
    const int64_t D = config.hidden_size, F = config.intermediate_size;
    write_adapter(one.path, config, {{"feed_forward.w2", {D, F}}, {"attention.wqkv", {config.heads().row(), D}}}, 4, 8,
                  seed);
    write_adapter(two.path, config, {{"mlp.gate_proj", {F, D}}}, 2, 2, seed + 1);
  }
  static std::vector<grammar::Grammar> grammars() {
    std::vector<grammar::Grammar> out;
    out.push_back(grammar::regex_grammar("([0-9]{1,3},)+[A-Z]{2,40}"));
    out.push_back(grammar::parse_gbnf("root ::= pair+\npair ::= \"<\" root? \">\" | [a-f]"));
    return out;
  }
  void add_adapters(Engine& e) { e.add_adapter(one.path), e.add_adapter(two.path); }

  Plan plan(const std::vector<std::vector<int32_t>>& known) {
    Plan p;
    const size_t shared = known.empty() ? 0 : rng.below(known[0].size() + 1);
    if (!known.empty()) p.prompt.assign(known[0].begin(), known[0].begin() + static_cast<long>(shared));
    for (uint64_t n = 1 + rng.below(rng.below(2) ? 12 : 90); n > 0; --n)
      p.prompt.push_back(static_cast<int32_t>(rng.below(kVocab)));
    p.sampling = sampling(1 + static_cast<int>(rng.below(60)), rng.below(3) ? 1 : 0);
    p.sampling.seed = static_cast<int64_t>(rng.below(100));
    if (rng.below(2)) p.sampling.top_k = 12, p.sampling.repetition_penalty = 1.1, p.sampling.presence_penalty = 0.5;
    p.sample = rng.below(4);
    if (rng.below(2)) p.grammar = static_cast<int>(rng.below(guides.size()));
    if (rng.below(2)) p.adapter = static_cast<int>(rng.below(2));
    if (rng.below(4) == 0) p.prompt_logprobs = static_cast<int>(rng.below(3));
    p.arrives = rng.below(20);
    if (rng.below(6) == 0) p.aborts_at = static_cast<int64_t>(rng.below(20));
    return p;
  }
  Request request(const Plan& p, Got& got) {
    Request r;
    r.prompt = p.prompt, r.sampling = p.sampling, r.sample = p.sample;
    r.stop_ids = {0};
    r.adapter = p.adapter, r.prompt_logprobs = p.prompt_logprobs;
    if (p.grammar >= 0) r.mask = guides[static_cast<size_t>(p.grammar)]->mask();
    r.on_token = [&got](const Token& t) {
      return got.answer.tokens.push_back(t.id), got.answer.logp.push_back(t.logp), true;
    };
    r.on_prompt_token = [&got](const Token& t) { got.prompt_logp.push_back(t.logp); };
    r.on_finish = [&got](FinishReason reason) { got.answer.reason = reason; };
    return r;
  }
  EngineOptions options() {
    EngineOptions o;
    o.max_batch = 2 + static_cast<int64_t>(rng.below(6));
    o.max_tokens_per_step =
        std::max<int64_t>(o.max_batch, rng.below(2) ? 7 + static_cast<int64_t>(rng.below(40)) : 512);
    o.kv_tokens = rng.below(2) ? 0 : 4 * kPage;
    o.prefix_cache = rng.below(4) > 0;
    return o;
  }
  // Everything between the plans' steps.
  std::vector<Got> run(Engine& engine, const std::vector<Plan>& plans) {
    std::vector<Got> got(plans.size());
    std::vector<int64_t> ids(plans.size(), -1);
    bool more = true;
    for (uint64_t step = 0; more || step < 40; ++step) {
      for (size_t i = 0; i < plans.size(); ++i) {
        if (plans[i].arrives == step) ids[i] = engine.submit(request(plans[i], got[i]));
        const auto n = static_cast<int64_t>(got[i].answer.tokens.size());
        if (ids[i] >= 0 && plans[i].aborts_at >= 0 && n >= plans[i].aborts_at) engine.abort(ids[i]);
      }
      more = engine.step();
    }
    return got;
  }

  Rng rng;
  ModelConfig config;
  Weights weights;
  std::vector<std::shared_ptr<grammar::Guide>> guides;
  test::TempDir one, two;
};

void expect_prefix(const std::vector<float>& part, const std::vector<float>& whole, const std::string& what) {
  ASSERT_LE(part.size(), whole.size()) << what;
  if (part.empty()) return;
  EXPECT_EQ(0, std::memcmp(part.data(), whole.data(), part.size() * sizeof(float))) << what;
}

// Whether the grammar allows the answer, followed without an engine.
void expect_allowed(grammar::Guide& guide, const std::vector<int32_t>& answer, const std::string& what) {
  auto mask = guide.mask();
  for (int32_t id : answer) {
    std::vector<float> logits(kVocab, 1.0f);
    mask->allow(logits);
    ASSERT_TRUE(std::isfinite(logits[static_cast<size_t>(id)])) << what;
    if (id != 0) mask->accept(id);
  }
}

struct Seen {
  int64_t reused = 0, preempted = 0, guessed = 0, right = 0, aborted = 0;
};

void check_trial(uint64_t seed, Seen& seen) {
  Lab lab(seed);
  std::vector<Plan> plans;
  std::vector<std::vector<int32_t>> prompts;
  for (int i = 0; i < 10; ++i) plans.push_back(lab.plan(prompts)), prompts.push_back(plans.back().prompt);
  EngineOptions simple;  // one request at a time, nothing shared, nothing guessed
  simple.max_batch = 1, simple.prefix_cache = false;
  Engine alone(lab.weights, simple), crowd(lab.weights, lab.options());
  lab.add_adapters(alone), lab.add_adapters(crowd);
  std::vector<Got> want(plans.size());
  std::vector<std::vector<int32_t>> all;
  for (size_t i = 0; i < plans.size(); ++i) {
    std::vector<Request> one;
    one.push_back(lab.request(plans[i], want[i]));
    alone.run(std::move(one));
    all.push_back(plans[i].prompt);
    all.back().insert(all.back().end(), want[i].answer.tokens.begin(), want[i].answer.tokens.end());
  }
  if (lab.rng.below(3)) crowd.set_drafter(std::make_unique<RandomDrafter>(all, kVocab));
  const std::vector<Got> got = lab.run(crowd, plans);
  for (size_t i = 0; i < plans.size(); ++i) {
    const Plan& p = plans[i];
    const std::string what = cat("seed ", seed, " request ", i, " adapter ", p.adapter, " grammar ", p.grammar);
    const bool aborted = got[i].answer.reason == FinishReason::kAborted;
    seen.aborted += aborted;
    if (!aborted) expect_same(got[i].answer, want[i].answer, what);
    expect_prefix(got[i].answer.logp, want[i].answer.logp, what);
    expect_prefix(got[i].prompt_logp, want[i].prompt_logp, what);
    if (p.grammar >= 0) expect_allowed(*lab.guides[static_cast<size_t>(p.grammar)], got[i].answer.tokens, what);
    const Rollout& answer = want[i].answer;
    if (p.adapter >= 0 || answer.tokens.empty()) continue;
    EXPECT_EQ(answer.logp, training_logp(lab.weights, p.prompt, answer.tokens)) << what;
    if (p.prompt_logprobs < 0 || p.prompt.size() < 2) continue;
    const std::vector<int32_t> first(p.prompt.begin(), p.prompt.begin() + 1),
        rest(p.prompt.begin() + 1, p.prompt.end());
    EXPECT_EQ(want[i].prompt_logp, training_logp(lab.weights, first, rest)) << what;
  }
  EXPECT_EQ(crowd.active(), 0);
  seen.reused += crowd.scheduler().reused_tokens(), seen.preempted += crowd.scheduler().preemptions();
  seen.guessed += crowd.drafted_tokens(), seen.right += crowd.accepted_tokens();
  EXPECT_EQ(crowd.scheduler().free_pages(), crowd.scheduler().total_pages()) << "seed " << seed;
}

void check_trials(uint64_t first, uint64_t last) {
  Seen seen;
  for (uint64_t seed = first; seed < last; ++seed) check_trial(seed, seen);
  EXPECT_GT(seen.reused, 500);
  EXPECT_GT(seen.preempted, 0);
  EXPECT_GT(seen.right, 100);
  EXPECT_GT(seen.guessed, seen.right);
  EXPECT_GT(seen.aborted, 2);
}

TEST(Invariants, AnswersAreThoseOfTheRequestAloneAndOfTraining) { check_trials(1, 41); }
TEST(SlowInvariants, AnswersAreThoseOfTheRequestAloneAndOfTraining) { check_trials(1000, 1400); }

}  // namespace
}  // namespace puyu
