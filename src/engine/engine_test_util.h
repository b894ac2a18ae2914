// For tests of the engine: a small model of random weights, prompts, and what the training forward says of an answer.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "engine/engine.h"

namespace puyu {

inline ModelConfig tiny() {
  ModelConfig c;
  c.vocab_size = 67, c.hidden_size = 32, c.num_layers = 2, c.num_heads = 4, c.num_kv_heads = 2;
  c.intermediate_size = 48, c.rope_theta = 1e4, c.max_position = 512;
  return c;
}
inline Weights random_weights(const ModelConfig& c, DType compute, uint64_t seed = 7) {
  Arena scratch("scratch", 1 << 28);
  Ctx ctx{Device::kCpu, &scratch};
  Weights w = make_weights(c, Head::kLanguage, compute);
  Rng rng(seed);
  w.master.tensors.each(c, w.head, [&](const std::string&, Tensor& t, Spec, int64_t) {
    for (int64_t i = 0; i < t.numel(); ++i) t.as<float>()[i] = static_cast<float>(rng.normal() * 0.2 + (t.rank == 1));
  });
  w.refresh_copy(ctx);
  return w;
}
inline std::vector<std::vector<int32_t>> prompts_of(std::initializer_list<int64_t> lengths, int64_t vocab = 67) {
  Rng rng(3);
  std::vector<std::vector<int32_t>> out;
  for (int64_t n : lengths)
    for (out.emplace_back(); static_cast<int64_t>(out.back().size()) < n;)
      out.back().push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocab))));
  return out;
}
inline SamplingOptions sampling(int max_tokens, double temperature = 1) {
  SamplingOptions o;
  o.max_tokens = max_tokens, o.temperature = temperature, o.top_p = 1, o.seed = 11;
  return o;
}
inline void expect_same(const Rollout& a, const Rollout& b, const std::string& what) {
  EXPECT_EQ(a.tokens, b.tokens) << what;
  ASSERT_EQ(a.logp.size(), b.logp.size()) << what;
  EXPECT_EQ(0, std::memcmp(a.logp.data(), b.logp.data(), a.logp.size() * sizeof(float))) << what;
  EXPECT_EQ(a.reason, b.reason) << what;
}
// Guesses whatever it likes: the right token at times, nonsense at others.
class RandomDrafter : public Drafter {
 public:
  RandomDrafter(std::vector<std::vector<int32_t>> answers, int64_t vocab)
      : answers_(std::move(answers)), vocab_(vocab) {}
  std::vector<std::vector<int32_t>> propose(const std::vector<std::span<const int32_t>>& sequences, int n) override {
    std::vector<std::vector<int32_t>> out;
    for (const auto& s : sequences) {
      std::vector<int32_t>& g = out.emplace_back();
      for (const auto& a : answers_)  // prompt and answer
        if (a.size() > s.size() && std::equal(s.begin(), s.end(), a.begin()))
          g.assign(a.begin() + static_cast<long>(s.size()), a.end());
      if (g.size() > static_cast<size_t>(n)) g.resize(static_cast<size_t>(n));
      for (int32_t& token : g)
        if (rng_.below(4) == 0) token = static_cast<int32_t>(rng_.below(static_cast<uint64_t>(vocab_)));
      if (rng_.below(5) == 0) g.clear();
    }
    return out;
  }

 private:
  std::vector<std::vector<int32_t>> answers_;
  int64_t vocab_;
  Rng rng_{99};
};
// Log-probs of the answer as training computes them.
inline std::vector<float> training_logp(Weights& w, const std::vector<int32_t>& prompt,
                                        const std::vector<int32_t>& answer) {
  Arena act("activations", 1 << 28), scratch("scratch", 1 << 28);
  Ctx ctx{Device::kCpu, &scratch};
  std::vector<int32_t> ids = prompt, target(prompt.size() - 1, -1);
  ids.insert(ids.end(), answer.begin(), answer.end() - 1);
  target.insert(target.end(), answer.begin(), answer.end());
  Batch b;
  b.add(ids.data(), static_cast<int64_t>(ids.size()));
  Tensor table = make_rope_table(act, w.config, w.config.max_position);
  Tensor h = model_forward(ctx, act, w, b.ids.data(), b.tokens(), b.sequences(table), nullptr);
  Tensor logp = act.alloc(DType::kF32, {b.tokens()});
  fused_cross_entropy(ctx, {logp, {}, {}}, {}, {}, h, w.output(), target.data(), nullptr);
  return {logp.as<float>() + prompt.size() - 1, logp.as<float>() + b.tokens()};
}

}  // namespace puyu
