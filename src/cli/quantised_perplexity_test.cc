// What quantised weights and caches cost on a model that has learnt something: trained here, in seconds, on this
// repository's own texts; the bounds are stated in docs/benchmarks/serving-cpu.md, which measures a larger one.
#include <gtest/gtest.h>

#include <cmath>

#include "base/file.h"
#include "engine/engine.h"
#include "text/bpe_train.h"
#include "train/learner.h"

namespace puyu {
namespace {

constexpr int64_t kLength = 256;

struct Texts {
  Tokenizer tokenizer;
  std::vector<std::vector<int32_t>> train, held_out;  // sequences of kLength
};

std::vector<std::string> read_all(std::initializer_list<const char*> names) {
  std::vector<std::string> out;
  for (const char* name : names) out.push_back(read_file(std::string(PUYU_SOURCE_DIR) + "/" + name));
  return out;
}

Texts read_texts() {
  // English, Chinese and code.
  std::vector<std::string> train =
      read_all({"README.md", "README.zh-CN.md", "CONTRIBUTING.md", "docs/math.md", "docs/tour.md", "docs/status.md",
                "docs/formats.md", "docs/formats.d/data.md", "docs/formats.d/serve.md", "docs/formats.d/train.md",
                "src/engine/engine.cc", "src/engine/scheduler.cc", "src/engine/sampler.cc", "src/model/block.cc",
                "src/model/hf_source.cc", "src/model/gguf_model.cc", "src/train/learner.cc"});
  const std::vector<std::string> held_out =
      read_all({"docs/corpus.md", "docs/formats.d/tokenizer.md", "src/model/lora.cc", "src/engine/prefix_cache.cc"});
  size_t next = 0;
  BpeTrainOptions o;
  o.vocab_size = 768, o.character_coverage = 0.98;
  Texts out{
      train_bpe(o, [&](std::string& text) { return next < train.size() && (text = train[next++], true); }), {}, {}};
  auto cut = [&](const std::vector<std::string>& texts, std::vector<std::vector<int32_t>>& to) {
    for (const std::string& text : texts) {
      const std::vector<int32_t> ids = out.tokenizer.encode_untrusted(text);
      for (size_t i = 0; i + kLength <= ids.size(); i += kLength)
        to.emplace_back(ids.begin() + static_cast<long>(i), ids.begin() + static_cast<long>(i) + kLength);
    }
  };
  cut(train, out.train), cut(held_out, out.held_out);
  return out;
}

Weights train(const Texts& texts) {
  ModelConfig c;
  c.vocab_size = texts.tokenizer.vocab_size(), c.hidden_size = 128, c.num_layers = 2, c.num_heads = 4;
  c.num_kv_heads = 2, c.intermediate_size = 384, c.rope_theta = 1e4, c.max_position = kLength;
  Weights w = make_weights(c, Head::kLanguage, DType::kF32);
  init_weights(w, 3);
  Learner learner(std::move(w), {}, Recompute::kNone);
  Rng rng(5);
  const int steps = 240, sequences = 4;
  for (int step = 0; step < steps; ++step) {
    Batch b;
    std::vector<int32_t> target;
    for (int i = 0; i < sequences; ++i) {
      const std::vector<int32_t>& s = texts.train[rng.below(texts.train.size())];
      b.add(s.data(), kLength - 1);
      target.insert(target.end(), s.begin() + 1, s.end());
    }
    const std::vector<float> coef(target.size(), -1.0f / static_cast<float>(target.size()));
    learner.accumulate_lm(b, target, coef);
    const double warm = std::min(1.0, (step + 1) / 20.0), cool = 1 - 0.9 * step / steps;
    learner.apply(3e-3 * warm * cool);
  }
  return std::move(learner.weights());
}

double perplexity(Weights& w, const std::vector<std::vector<int32_t>>& texts, const std::string& scheme, int kv_bits) {
  EngineOptions o;
  o.weights = scheme, o.kv_bits = kv_bits;
  Engine engine(w, o);
  double sum = 0, n = 0;
  engine.score(texts, [&](size_t, const Engine::Score& s) {
    for (float logp : s.logp) sum -= static_cast<double>(logp), ++n;
  });
  return std::exp(sum / n);
}

TEST(SlowQuantisedPerplexity, StaysWithinItsBounds) {
  const Texts texts = read_texts();
  ASSERT_GE(texts.held_out.size(), 8u);
  Weights w = train(texts);
  const double exact = perplexity(w, texts.held_out, "", 0);
  EXPECT_LT(exact, 120) << "the model learnt nothing; a vocabulary of 768 is guessed at 768";
  struct Case {
    const char* weights;
    int kv_bits;
    double bound;  // relative
  };
  for (const Case& c : {Case{"w8a8", 0, 0.003},
                        {"w4a16", 0, 0.01},
                        {"", 8, 0.001},
                        {"", 4, 0.01},
                        {"w8a8", 8, 0.003},
                        {"w4a16", 4, 0.015}}) {
    const double got = perplexity(w, texts.held_out, c.weights, c.kv_bits);
    std::printf("perplexity %.3f; weights '%s', cache of %d bits: %.3f (%+.3f %%)\n", exact, c.weights, c.kv_bits, got,
                100 * (got / exact - 1));
    EXPECT_NE(got, exact) << "nothing was quantised";
    EXPECT_LT(std::abs(got / exact - 1), c.bound) << c.weights << " " << c.kv_bits;
  }
}

}  // namespace
}  // namespace puyu
