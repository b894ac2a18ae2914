// Long documents: statistics by hand, thresholds by domain, perplexities against the model's own numbers; the loss
// test.
#include "data/long_context.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/config.h"
#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/temp_dir_test_util.h"
#include "data/loss_gap.h"
#include "data/loss_scorer.h"
#include "data/pipeline.h"
#include "model/weights.h"
#include "text/bpe_train.h"

namespace puyu {
namespace {

std::string prose(uint64_t seed, int sentences) {
  Rng rng(seed);
  const char* words[] = {"the", "river", "town", "it", "because", "they", "water", "stone", "however", "built"};
  std::string out;
  for (int s = 0; s < sentences; ++s) {
    for (int w = 0; w < 8; ++w) out += cat(w ? " " : "", words[rng.below(10)]);
    out += s % 5 == 4 ? ".\n" : ". ";
  }
  return out;
}

// A model of random weights and a tokenizer of a few hundred pieces, in one folder.
void make_model(const std::string& dir) {
  bool given = false;
  BpeTrainOptions options;
  options.vocab_size = 512;
  const Tokenizer t = train_bpe(options, [&](std::string& text) {
    if (given) return false;
    given = true;
    text = prose(1, 400);
    Rng rng(2);
    for (int i = 0; i < 20000; ++i) text += static_cast<char>(rng.below(6) ? 'a' + rng.below(26) : ' ');
    return true;
  });
  ModelConfig c;
  c.vocab_size = 576, c.hidden_size = 32, c.num_layers = 2, c.num_heads = 2, c.num_kv_heads = 1;
  c.intermediate_size = 48, c.max_position = 512;
  Weights w = make_weights(c, Head::kLanguage, DType::kF32);
  init_weights(w, 3);
  for (Tensor& part : w.master.parts)  // larger than at the start of training, so that the context matters
    for (int64_t i = 0; i < part.numel(); ++i) part.as<float>()[i] *= 8;
  make_directories(dir);
  save_model(dir, w, DType::kF32);
  t.save(dir + "/tokenizer.puyu");
}

TEST(LongContext, StatisticsByHand) {
  const LongStats s = measure_long("I saw it, and he went. However, we stay.\n\nab|cd e\n");
  EXPECT_DOUBLE_EQ(s.mean_line, (40 + 7) / 2.0);
  EXPECT_DOUBLE_EQ(s.line_deviation, 16.5 / 23.5);
  EXPECT_DOUBLE_EQ(s.newlines, 3 / 50.0);
  EXPECT_DOUBLE_EQ(s.commas, 2 / 50.0);
  EXPECT_DOUBLE_EQ(s.spaces, 9 / 50.0);
  EXPECT_DOUBLE_EQ(s.bars, 1 / 50.0);
  EXPECT_DOUBLE_EQ(s.distinct, 1);
  EXPECT_DOUBLE_EQ(s.pronouns, 4 / 12.0);    // I it he we
  EXPECT_DOUBLE_EQ(s.connectives, 1 / 2.0);  // However
  const LongStats zh = measure_long("我来了，因此他走了。但是我、你都在！");
  EXPECT_DOUBLE_EQ(zh.commas, 2 / 18.0);
  EXPECT_DOUBLE_EQ(zh.connectives, 2 / 2.0);
  EXPECT_DOUBLE_EQ(zh.pronouns, 4 / 14.0);
}

TEST(LongContext, EachRuleByHand) {
  LongStats s;
  s.mean_line = 50, s.distinct = 0.5;
  EXPECT_EQ(judge_long(s, -1, {}).rule, "");
  LongRules r;
  r.min_mean_line = 51;
  EXPECT_EQ(judge_long(s, -1, r).rule, "min_mean_line");
  r = {}, r.max_mean_line = 49;
  EXPECT_EQ(judge_long(s, -1, r).rule, "max_mean_line");
  r = {}, r.min_distinct = 0.6;
  EXPECT_EQ(judge_long(s, -1, r).rule, "min_distinct");
  r = {}, r.max_tokens_per_char = 0.5;
  EXPECT_EQ(judge_long(s, -1, r).rule, "") << "not known";
  EXPECT_EQ(judge_long(s, 0.6, r).rule, "max_tokens_per_char");
  r = {}, r.min_tokens_per_char = 0.1;
  EXPECT_EQ(judge_long(s, -1, r).rule, "") << "not known";
  EXPECT_EQ(judge_long(s, 0.05, r).rule, "min_tokens_per_char");
  s.bars = 0.02;
  EXPECT_EQ(judge_long(s, -1, {}).rule, "max_bars");
}

TEST(LongContext, ThresholdsOfTheDomain) {
  LongContextOptions o;
  load_config(
      o,
      "min_bytes = 100\n[rules]\nmin_distinct = 0.5\n[[domain]]\nsources = [\"books\"]\n"
      "[domain.rules]\nchaotic_below = -1\n[[domain]]\nlanguages = [\"code\"]\n[domain.rules]\nmax_spaces = 0.6\n",
      "test");
  Document d;
  d.source = "web", d.language = "en";
  EXPECT_EQ(rules_for(o, d).min_distinct, 0.5);
  d.language = "python";
  EXPECT_EQ(rules_for(o, d).max_spaces, 0.6);
  d.source = "books";
  EXPECT_EQ(rules_for(o, d).chaotic_below, -1);
  EXPECT_EQ(long_class(-2, rules_for(o, d)), LongClass::kChaotic);
  EXPECT_EQ(long_class(-1, rules_for(o, d)), LongClass::kAggregated);
  EXPECT_EQ(long_class(1.5, rules_for(o, d)), LongClass::kHolistic);
}

TEST(LongContext, TheExampleConfigurationIsRead) {
  const std::string path = std::string(PUYU_SOURCE_DIR) + "/configs/data-long.toml";
  LongContextOptions o;
  load_config(o, read_file(path), path);
  EXPECT_GE(o.domain.size(), 2u);
}

// The probabilities of every next token sum to one, and a longer list of the same text has the same numbers.
TEST(LossScorer, GivesProbabilities) {
  test::TempDir dir;
  make_model(dir / "m");
  LossScorer scorer(dir / "m", "");
  std::vector<int32_t> ids = scorer.tokenizer().encode("the river however it built the town");
  const std::vector<float> all = scorer.logp(ids, 1);
  ASSERT_EQ(all.size(), ids.size() - 1);
  const std::vector<float> end = scorer.logp(ids, 3);
  for (size_t i = 0; i < end.size(); ++i) EXPECT_EQ(end[i], all[i + 2]);
  double sum = 0;
  for (int32_t v = 0; v < 576; ++v) {
    ids.back() = v;
    sum += std::exp(double{scorer.logp(ids, ids.size() - 1)[0]});
  }
  EXPECT_NEAR(sum, 1, 1e-4);
  EXPECT_THROW(LossScorer(dir / "absent", ""), Error);
}

TEST(LongContext, PerplexityGainIsThatOfTheWindows) {
  test::TempDir dir;
  make_model(dir / "m");
  LossScorer scorer(dir / "m", "");
  LongContextOptions o;
  o.window = 256, o.short_context = 96, o.scored = 64, o.max_windows = 2;
  const std::string text = prose(4, 200);
  const std::vector<int32_t> ids = scorer.tokenizer().encode(text);
  ASSERT_GE(ids.size(), 3u * 256);
  double with = 0, without = 0;
  const size_t whole = ids.size() / 256;
  for (size_t begin : {size_t{0}, whole / 2 * 256}) {  // windows 0 and whole / 2, spread evenly
    const std::span<const int32_t> w(ids.data() + begin, 256);
    const std::vector<float> long_one = scorer.logp(w, 1), short_one = scorer.logp(w.last(96), 1);
    for (size_t i = 0; i < 64; ++i) {
      with -= double{long_one[long_one.size() - 64 + i]};
      without -= double{short_one[short_one.size() - 64 + i]};
    }
  }
  const PerplexityGain g = perplexity_gain(scorer, text, o);
  EXPECT_EQ(g.windows, 2);
  EXPECT_EQ(g.tokens, static_cast<int64_t>(ids.size()));
  EXPECT_NEAR(g.with_context, std::exp(with / 128), 1e-3 * g.with_context);
  EXPECT_NEAR(g.without_context, std::exp(without / 128), 1e-3 * g.without_context);
  EXPECT_NE(g.gain(), 0);
  EXPECT_EQ(perplexity_gain(scorer, "short", o).windows, 0);
  o.window = 1024, o.short_context = 512;
  EXPECT_THROW(perplexity_gain(scorer, prose(4, 900), o), Error) << "the model's context is 512";
}

TEST(LongContext, SelectsAndTellsWhy) {
  test::TempDir dir;
  make_model(dir / "m");
  std::string lines, table;
  for (int i = 0; i < 400; ++i) table += cat("| ", i, " | ", i * 7, " |\n");
  auto add = [&](const char* url, const std::string& text) {
    lines += Json(Json::Object{{"url", url}, {"language", "en"}, {"content", text}}).dump() + "\n";
  };
  add("prose", prose(4, 200)), add("short", prose(5, 3)), add("table", table), add("few", prose(6, 60));
  write_file(dir / "in.jsonl", lines);
  LongContextOptions o;
  o.min_bytes = 1000, o.window = 256, o.short_context = 96, o.scored = 64, o.model = dir / "m";
  o.rules.chaotic_below = -1e9, o.rules.holistic_above = 1e9, o.rules.min_distinct = 0;  // it has ten words
  Funnel f = select_long({dir / "in.jsonl"}, dir / "out", o);
  EXPECT_EQ(f.stage("long_size").dropped["min_bytes"].documents, 1);
  EXPECT_EQ(f.stage("long_statistics").dropped["min_mean_line"].documents +
                f.stage("long_statistics").dropped["max_newlines"].documents +
                f.stage("long_statistics").dropped["max_bars"].documents,
            1);
  std::map<std::string, std::map<std::string, double>> left;
  for_each_document(dir / "out", [&](Document&& d) { left[d.url] = d.scores; });
  ASSERT_TRUE(left.contains("prose"));
  EXPECT_EQ(left["prose"].at("long_class"), 1);
  LossScorer scorer(dir / "m", "");
  EXPECT_EQ(left["prose"].at("ppl_gain"), perplexity_gain(scorer, prose(4, 200), o).gain());
  const double gain = left["prose"].at("ppl_gain");
  o.rules.chaotic_below = gain + 1, o.rules.holistic_above = gain + 2;
  f = select_long({dir / "in.jsonl"}, dir / "out", o);
  EXPECT_GE(f.stage("long_perplexity").dropped["chaotic"].documents, 1);
  o.model = "";
  f = select_long({dir / "in.jsonl"}, dir / "out", o);
  EXPECT_EQ(f.stages.size(), 2u);
  o.scored = 200;
  EXPECT_THROW(select_long({dir / "in.jsonl"}, dir / "out", o), Error);
}

TEST(LossTest, MeansAndErrorsByHand) {
  test::TempDir dir;
  make_model(dir / "m");
  LossScorer scorer(dir / "m", "");
  const std::vector<std::string> texts = {prose(1, 2), prose(2, 5), prose(3, 3)};
  double loss[3], n[3], all = 0, tokens = 0;
  for (size_t i = 0; i < 3; ++i) {
    std::vector<int32_t> ids = scorer.tokenizer().prefix();
    const std::vector<int32_t> own = scorer.tokenizer().encode(texts[i]);
    const size_t from = std::max<size_t>(1, ids.size());
    ids.insert(ids.end(), own.begin(), own.end());
    loss[i] = 0;
    for (const float l : scorer.logp(ids, from)) loss[i] -= double{l};
    n[i] = static_cast<double>(ids.size() - from), all += loss[i], tokens += n[i];
  }
  const SetLoss s = mean_loss(scorer, texts);
  EXPECT_DOUBLE_EQ(s.mean, all / tokens);
  double squares = 0;
  for (size_t i = 0; i < 3; ++i) squares += std::pow(loss[i] - s.mean * n[i], 2);
  EXPECT_DOUBLE_EQ(s.error, std::sqrt(squares * 3 / 2) / tokens);
  EXPECT_EQ(s.samples, 3);
  EXPECT_EQ(mean_loss(scorer, {prose(1, 500)}).cut, 1);
  LossTest t;
  t.test.mean = 1.5, t.train.mean = 1.0, t.reference.mean = 1.6, t.test.error = 0.3, t.train.error = 0.4;
  EXPECT_NEAR(to_json(t).at("delta1").as_double(), -0.1, 1e-12);
  EXPECT_DOUBLE_EQ(to_json(t).at("delta2").as_double(), 0.5);
  EXPECT_DOUBLE_EQ(to_json(t).at("delta2_error").as_double(), 0.5);
}

TEST(LossTest, SamplesOfAFile) {
  test::TempDir dir;
  write_file(dir / "s", "{\"question\": \"a\", \"answer\": \"b\"}\n{\"text\": \"c\"}\n\n{\"text\": \"d\"}\n");
  EXPECT_EQ(read_samples(dir / "s", 10), (std::vector<std::string>{"a\nb", "c", "d"}));
  EXPECT_EQ(read_samples(dir / "s", 2), (std::vector<std::string>{"a\nb", "c"}));
  write_file(dir / "s", "{\"other\": 1}\n");
  EXPECT_THROW(read_samples(dir / "s", 10), Error);
}

}  // namespace
}  // namespace puyu
