// The encoder: what only the order of words tells, the same bytes for any number of threads, filling in, damaged files.
#include "data/encoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "base/temp_dir_test_util.h"
#include "data/encoder_parts.h"
#include "data/pipeline.h"

namespace puyu {
namespace {

// "alpha" and "omega" among other words; positive when alpha comes first. Words alone tell nothing.
std::vector<LabelledText> ordered_texts(int n, uint64_t seed, bool labels_mean_something = true) {
  Rng rng(seed);
  std::vector<LabelledText> out;
  for (int i = 0; i < n; ++i) {
    std::vector<std::string> words;
    for (int w = 0; w < 10; ++w) words.push_back(cat("word", rng.below(12)));
    const uint64_t a = rng.below(9), b = a + 1 + rng.below(9 - a);
    const bool positive = rng.below(2) == 0;
    words[a] = positive ? "alpha" : "omega", words[b] = positive ? "omega" : "alpha";
    LabelledText t;
    for (const std::string& w : words) t.text += w + " ";
    t.positive = labels_mean_something ? positive : rng.below(2) == 0, t.language = "en";
    out.push_back(std::move(t));
  }
  return out;
}

EncoderOptions tiny() {
  EncoderOptions e;
  e.hidden = 32, e.layers = 2, e.heads = 2, e.feed_forward = 64, e.vocabulary = 512, e.max_tokens = 16;
  e.batch_tokens = 320, e.epochs = 12, e.lr = 4e-3;
  return e;
}

ClassifierOptions three_folds() {
  ClassifierOptions o;
  o.positive = "yes", o.folds = 3;
  return o;
}

TEST(Encoder, PiecesByHand) {
  const auto a = encoder_pieces("Hello, hello 世界\n!"), b = encoder_pieces("hello");
  ASSERT_EQ(a.size(), 7u);  // hello , hello 世 界 LF !
  EXPECT_EQ(a[0], a[2]);
  EXPECT_EQ(a[0], b[0]);
  EXPECT_NE(a[3], a[4]);
  EXPECT_EQ(encoder_pieces(" \t　").size(), 0u);
  EncoderVocabulary v;
  v.hashes = {std::min(a[3], a[4]), std::max(a[3], a[4])};
  EXPECT_EQ(v.id(std::max(a[3], a[4])), kFirstOwnId + 1);
  EXPECT_GE(v.id(a[0]), 1);
  EXPECT_LE(v.id(a[0]), kRareIds);
}

TEST(Encoder, SeesTheOrderThatTheLinearOneDoesNot) {
  test::TempDir dir;
  const auto texts = ordered_texts(600, 1);
  ClassifierOptions o = three_folds();
  const int before = num_threads();
  std::string bytes;
  double auc = 0;
  write_file(dir / "u.jsonl", "{\"text\": \"word1 alpha word2 omega word3 word4 word5 word6 word7\"}\n");
  EncoderOptions e = tiny();
  e.unlabelled = {dir / "u.jsonl"}, e.pretrain_tokens = 1000;
  for (int threads : {1, 2, 3}) {
    set_num_threads(threads);
    const Json report = train_encoder(texts, o, e, dir / "e");
    auc = report.at("all").at("auc").as_double();
    if (bytes.empty()) bytes = read_file(dir / "e");
    EXPECT_EQ(read_file(dir / "e"), bytes) << threads;
    EXPECT_EQ(report.at("folds").size(), 3u);
  }
  set_num_threads(before);
  o.bits = 12, o.ngram = 1;
  const double linear = train_classifier(texts, o, dir / "l").at("all").at("auc").as_double();
  EXPECT_GT(auc, 0.95);
  EXPECT_LT(linear, 0.6);
  const auto model = load_classifier(dir / "e");
  std::vector<double> scores;
  std::vector<bool> truth;
  for (const LabelledText& t : ordered_texts(300, 7))
    scores.push_back(model->score(t.text)), truth.push_back(t.positive);
  EXPECT_GT(measure_quality(scores, truth).auc, 0.95);
  EXPECT_EQ(model->score("alpha word1 omega"), model->score("Alpha   word1 OMEGA"));
  const double empty = model->score("");
  EXPECT_TRUE(empty > 0 && empty < 1);
}

TEST(Encoder, LabelsWithoutMeaningAreNotLearnt) {
  test::TempDir dir;
  EncoderOptions e = tiny();
  e.epochs = 3;
  const Json report = train_encoder(ordered_texts(900, 2, false), three_folds(), e, dir / "e");
  EXPECT_NEAR(report.at("all").at("auc").as_double(), 0.5, 0.07) << "cross-validation must not see its own answers";
}

// Word k is always followed by word k + 1, so every masked word can be told from its neighbours on either side: by an
// encoder that sees both ways the loss falls far below that of frequencies, ln 20.
TEST(Encoder, FillsInWhatItsNeighboursTell) {
  test::TempDir dir;
  const int before = num_threads();
  set_num_threads(1);  // its products are too small to share
  Rng rng(3);
  std::string lines;
  for (int i = 0; i < 300; ++i) {
    lines += "{\"text\": \"";
    const uint64_t first = rng.below(20);
    for (uint64_t w = 0; w < 16; ++w) lines += cat("w", (first + w) % 20, " ");
    lines += "\"}\n";
  }
  write_file(dir / "u.jsonl", lines);
  EncoderOptions e = tiny();
  e.epochs = 1, e.unlabelled = {dir / "u.jsonl"}, e.pretrain_tokens = 300000;
  const Json report = train_encoder(ordered_texts(60, 4), three_folds(), e, dir / "e");
  EXPECT_LT(report.at("filling_in_loss").as_double(), 0.7);
  e.pretrain_tokens = 0;
  EXPECT_THROW(train_encoder(ordered_texts(60, 4), three_folds(), e, dir / "e"), Error);
  set_num_threads(before);
}

// What a token sees does not depend on what else is in the batch, and it sees what comes after it.
TEST(Encoder, BatchesDoNotMixAndBothSidesAreSeen) {
  const EncoderOptions e = tiny();
  EncoderNet net(encoder_config(e), e);
  init_weights(net.weights, 5);
  const std::vector<int32_t> a = {3, 5, 7, 11, 13}, b = {3, 5, 7, 11, 17}, c = {400, 300};
  Batch one = encoder_batch(), all = encoder_batch();
  one.add(a.data(), 5);
  all.add(c.data(), 2), all.add(a.data(), 5), all.add(b.data(), 5);
  EXPECT_EQ(net.margins(one)[0], net.margins(all)[1]);
  // The first token's state must know of the last one: causal attention would give it the same state in a and b.
  auto first_state = [&](const std::vector<int32_t>& ids, bool causal) {
    Batch batch;
    batch.causal = causal;
    batch.add(ids.data(), 5);
    ScratchScope scope(net.activations);
    Tensor h = model_forward(net.ctx, net.activations, net.weights, batch.ids.data(), 5, net.sequences(batch), nullptr);
    return std::vector<float>(h.as<float>(), h.as<float>() + e.hidden);
  };
  EXPECT_EQ(first_state(a, true), first_state(b, true));
  EXPECT_NE(first_state(a, false), first_state(b, false));
}

TEST(Encoder, AsAStageOfAPipeline) {
  test::TempDir dir;
  train_encoder(ordered_texts(900, 1), three_folds(), tiny(), dir / "e");
  write_file(dir / "in.jsonl",
             "{\"url\": \"yes\", \"language\": \"en\", \"text\": \"word1 alpha word2 word3 omega word4\"}\n"
             "{\"url\": \"no\", \"language\": \"en\", \"text\": \"word1 omega word2 word3 alpha word4\"}\n");
  PipelineConfig config;
  config.input = {dir / "in.jsonl"};
  config.languages = {"en"}, config.en = FilterRules{};
  config.quality.classifier = {{"order", dir / "e", {}, 2, 0.5}};
  Funnel f = run_pipeline(config, dir / "out", 2);
  EXPECT_EQ(f.stage("quality").dropped["order.drop_below"].documents, 1);
  std::map<std::string, double> left;
  for_each_document(dir / "out", [&](Document&& d) { left[d.url] = d.scores.at("order"); });
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left.at("yes"), load_classifier(dir / "e")->score("word1 alpha word2 word3 omega word4"));
}

TEST(Encoder, DamagedFilesAreErrors) {
  test::TempDir dir;
  EncoderOptions e = tiny();
  e.epochs = 1;
  train_encoder(ordered_texts(60, 1), three_folds(), e, dir / "e");
  const std::string bytes = read_file(dir / "e");
  Rng rng(9);
  for (int i = 0; i < 60; ++i) {
    std::string bad = bytes;
    if (i % 2)
      bad.resize(rng.below(bad.size()));
    else
      bad[rng.below(bad.size())] ^= static_cast<char>(1 + rng.below(255));
    write_file(dir / "bad", bad);
    EXPECT_THROW(load_classifier(dir / "bad"), Error) << i;
  }
  e.heads = 5;
  EXPECT_THROW(train_encoder(ordered_texts(60, 1), three_folds(), e, dir / "e"), Error);
}

}  // namespace
}  // namespace puyu
