// The classifier: measures by hand, calibration, the same bytes for any number of threads, and texts it can tell apart.
#include "data/classifier.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/config.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "base/temp_dir_test_util.h"
#include "base/utf8.h"
#include "data/classifier_parts.h"
#include "data/decontaminate.h"
#include "data/pipeline.h"

namespace puyu {
namespace {

// Two kinds of text that share most words; `noise` of the labels are wrong.
std::vector<LabelledText> made_texts(int n, double noise, uint64_t seed = 1) {
  Rng rng(seed);
  std::vector<LabelledText> out;
  for (int i = 0; i < n; ++i) {
    bool bad = rng.below(3) == 0;
    LabelledText t;
    for (int w = 0; w < 40; ++w) {
      bool telling = rng.below(12) == 0;
      t.text += telling ? cat(bad ? "buy" : "note", rng.below(30), " ") : cat("word", rng.below(300), " ");
    }
    t.positive = rng.uniform() < noise ? !bad : bad;
    t.language = i % 2 ? "en" : "zh";
    out.push_back(std::move(t));
  }
  return out;
}

TEST(Classifier, MeasuresByHand) {
  // Scores .9+ .8- .7+ .4- .2-: pairs in order: 3 + 2 of 6; F1 best at .7: 2 * 2 / (2 + 3).
  ClassifierQuality q = measure_quality({0.9, 0.8, 0.7, 0.4, 0.2}, {true, false, true, false, false});
  EXPECT_DOUBLE_EQ(q.auc, 5.0 / 6);
  EXPECT_DOUBLE_EQ(q.average_precision, 0.5 * 1 + 0.5 * 2 / 3);
  EXPECT_DOUBLE_EQ(q.precision, 2.0 / 3);
  EXPECT_DOUBLE_EQ(q.recall, 1);
  EXPECT_DOUBLE_EQ(q.best_f1, 0.8);
  EXPECT_DOUBLE_EQ(q.best_threshold, 0.7);
  EXPECT_DOUBLE_EQ(measure_quality({0.5, 0.5}, {true, false}).auc, 0.5) << "ties count half";
}

TEST(Classifier, CalibrationFindsTheProbabilitiesThatMadeTheLabels) {
  Rng rng(2);
  std::vector<double> margins;
  std::vector<bool> positive;
  auto truth = [](double m) { return 1 / (1 + std::exp(-(2 * m - 1))); };
  for (int i = 0; i < 40000; ++i) {
    margins.push_back(rng.normal());
    positive.push_back(rng.uniform() < truth(margins.back()));
  }
  Calibration platt = fit_platt(margins, positive), isotonic = fit_isotonic(margins, positive);
  EXPECT_NEAR(platt.points[0].first, 2, 0.1);
  EXPECT_NEAR(platt.points[0].second, -1, 0.1);
  double last = 0;
  for (double m = -2; m <= 2; m += 0.1) {
    EXPECT_NEAR(platt.apply(m), truth(m), 0.02);
    EXPECT_NEAR(isotonic.apply(m), truth(m), 0.08) << m;
    EXPECT_GE(isotonic.apply(m), last);
    last = isotonic.apply(m);
  }
}

TEST(Classifier, TellsTextsApartAndIsTheSameForAnyNumberOfThreads) {
  test::TempDir dir;
  ClassifierOptions o;
  o.positive = "bad", o.bits = 14;
  auto texts = made_texts(3000, 0.05);
  int before = num_threads();
  std::string first;
  for (int threads : {1, 2, 5}) {
    set_num_threads(threads);
    Json report = train_classifier(texts, o, dir.path + "/c");
    std::string bytes = read_file(dir.path + "/c");
    if (first.empty()) first = bytes;
    EXPECT_EQ(bytes, first) << threads;
    // 5 % wrong labels and 0.03 texts without a telling word bound the AUC near 0.94.
    EXPECT_GT(report.at("all").at("auc").as_double(), 0.88);
    EXPECT_LT(report.at("all").at("auc").as_double(), 0.97) << "labels that are wrong cannot be guessed";
    EXPECT_LT(report.at("all").at("calibration_error").as_double(), 0.08) << "5 % wrong labels are no sigmoid";
    EXPECT_EQ(report.at("folds").size(), 5u);
    EXPECT_EQ(report.at("en").at("positives").as_int() + report.at("zh").at("positives").as_int(),
              report.at("all").at("positives").as_int());
  }
  set_num_threads(before);
  Classifier c(dir.path + "/c");
  std::vector<double> scores;
  std::vector<bool> truth;
  for (const LabelledText& t : made_texts(1000, 0, 9)) scores.push_back(c.score(t.text)), truth.push_back(t.positive);
  EXPECT_GT(measure_quality(scores, truth).auc, 0.95);
  o.calibration = "isotonic";
  Json report = train_classifier(texts, o, dir.path + "/i");
  EXPECT_LT(report.at("all").at("calibration_error").as_double(), 0.03);
  EXPECT_LT(Classifier(dir.path + "/i").score("note1 note2 note3"), 0.3);
  EXPECT_EQ(c.info().at("options").at("positive").as_string(), "bad");
}

TEST(Classifier, LabelsWithoutMeaningAreNotLearnt) {
  test::TempDir dir;
  ClassifierOptions o;
  o.positive = "bad", o.bits = 14;
  Json report = train_classifier(made_texts(2000, 0.5), o, dir.path + "/c");
  EXPECT_NEAR(report.at("all").at("auc").as_double(), 0.5, 0.06) << "cross-validation must not see its own answers";
}

TEST(Classifier, BadInputIsAnError) {
  test::TempDir dir;
  auto labelled = [&](const std::string& text) {
    write_file(dir.path + "/l.jsonl", text);
    return read_labelled(dir.path + "/l.jsonl", "bad");
  };
  EXPECT_EQ(
      labelled("{\"text\": \"a\", \"label\": \"bad\", \"language\": \"en\"}\n{\"content\": \"b\", \"label\": 0}\n")
          .size(),
      2u);
  EXPECT_THROW(labelled("{\"text\": \"a\", \"label\": \"good\"}\n"), Error);
  EXPECT_THROW(labelled("{\"text\": \"a\"}\n"), Error);
  EXPECT_THROW(labelled("nonsense\n"), Error);
  ClassifierOptions o;
  o.positive = "bad";
  EXPECT_THROW(train_classifier({{"a", "", true}, {"b", "", false}}, o, dir.path + "/c"), Error);
  o.bits = 8;
  train_classifier(made_texts(50, 0), o, dir.path + "/c");
  std::string bytes = read_file(dir.path + "/c");
  write_file(dir.path + "/c", bytes.substr(0, bytes.size() - 4));
  EXPECT_THROW(Classifier(dir.path + "/c"), Error);
}

TEST(BenchmarkWindows, FindsWhatIsSharedAndNothingElse) {
  test::TempDir dir;
  std::string question =
      "Natalia sold clips to forty eight of her friends in April, and then she sold half as many clips in May.";
  std::string chinese;
  for (uint32_t i = 0; i < 60; ++i) append_utf8(chinese, 0x4e00 + i * 7), chinese += i % 10 == 9 ? "，" : "";
  BenchmarkCounts c =
      build_benchmarks({{"gsm8k", question}, {"ceval", chinese}, {"tiny", "too short a text"}}, dir.path + "/b");
  EXPECT_EQ(c.too_short, 1);
  BenchmarkWindows b(dir.path + "/b");
  auto found = [&](const std::string& text) { return std::string(b.find(text).benchmark); };
  EXPECT_EQ(found("Someone wrote: " + question + " Indeed."), "gsm8k");
  EXPECT_EQ(found("NATALIA sold clips to forty-eight\nof her friends in April and then she sold"), "gsm8k");
  EXPECT_EQ(b.find("Natalia sold clips to forty eight of her friends in April, and then").windows, 1);
  EXPECT_EQ(found("Natalia sold clips to forty eight of her friends in April, and"), "") << "12 words";
  EXPECT_EQ(found("Natalia sold clips to forty nine of her friends in April, and then she sold some"), "");
  EXPECT_EQ(found("前文" + chinese + "后文"), "ceval");
  EXPECT_EQ(found(chinese.substr(0, 43 * 3)), "") << "40 characters";
  std::string bytes = read_file(dir.path + "/b");
  bytes[70] ^= 1;
  write_file(dir.path + "/b", bytes);
  EXPECT_THROW(BenchmarkWindows(dir.path + "/b"), Error);
}

TEST(QualityStages, TheExampleConfigurationIsRead) {
  PipelineConfig config;
  std::string path = std::string(PUYU_SOURCE_DIR) + "/configs/data-judges.toml";
  read_toml(list_fields(config), read_file(path), path);
  EXPECT_EQ(config.quality.classifier.size(), 2u);
  EXPECT_EQ(config.quality.perplexity.at(0).drop, std::vector<std::string>{"tail"});
}

TEST(QualityStages, DropByScorePerplexityAndBenchmark) {
  test::TempDir dir;
  auto texts = made_texts(600, 0);
  ClassifierOptions o;
  o.positive = "bad", o.bits = 14;
  train_classifier(texts, o, dir.path + "/c");
  train_ngram(
      [&](const std::function<void(std::string_view)>& fn) {
        for (auto& t : texts) fn(t.text);
      },
      {}, dir.path + "/n");
  build_benchmarks({{"gsm8k", "one two three four five six seven eight nine ten eleven twelve thirteen"}},
                   dir.path + "/b");
  std::string lines;
  auto add = [&](const char* url, const std::string& text) {
    lines += Json(Json::Object{{"url", url}, {"language", "en"}, {"content", text}}).dump() + "\n";
  };
  add("bad", "word1 buy2 word3 buy4 buy5 word7 buy8 buy9 buy1");
  add("good", "word1 note2 word3 note4 note5 word7 word8");
  add("strange", "something that the model has never seen at all in any text, note1 note2 note3 note4");
  add("test",
      "note1 note3 note5 note7 word1 word3 one two three four five six seven eight nine ten eleven twelve thirteen "
      "note9 note11");
  write_file(dir.path + "/in.jsonl", lines);
  PipelineConfig config;
  config.input = {dir.path + "/in.jsonl"};
  config.languages = {"en"}, config.en = FilterRules{};
  NgramModel model(dir.path + "/n");
  double good = model.score("word1 note2 word3 note4 note5 word7 word8").perplexity();
  config.quality.classifier = {{"advertisement", dir.path + "/c", {"en"}, 0.8, -1}};
  config.quality.perplexity = {{"en", dir.path + "/n", good * 1.01, good * 1.02, {}}};
  config.decontaminate.benchmarks = dir.path + "/b";
  Funnel f = run_pipeline(config, dir.path + "/out", 2);
  EXPECT_EQ(f.stage("quality").dropped["advertisement.drop_above"].documents, 1);
  EXPECT_EQ(f.stage("decontaminate").dropped["in.gsm8k"].documents, 1);
  std::map<std::string, std::map<std::string, double>> left;
  for_each_document(dir.path + "/out", [&](Document&& d) { left[d.url] = d.scores; });
  ASSERT_EQ(left.size(), 2u);
  EXPECT_EQ(left["good"]["bucket"], 0);
  EXPECT_EQ(left["strange"]["bucket"], 2);
  EXPECT_NEAR(left["good"]["perplexity"], good, 1e-4 * good);
  EXPECT_LT(left["good"]["advertisement"], 0.5);
  config.quality.perplexity[0].drop = {"tail"};
  config.decontaminate.action = "report";
  f = run_pipeline(config, dir.path + "/out", 1);
  EXPECT_EQ(f.stage("quality").dropped["perplexity.tail"].documents, 2);
  config.quality.perplexity[0].drop = {};
  f = run_pipeline(config, dir.path + "/out", 1);
  EXPECT_EQ(f.stage("decontaminate").changed["in.gsm8k"], 1);
  EXPECT_EQ(f.stage("decontaminate").kept.documents, 3);
  config.decontaminate.action = "forget";
  EXPECT_THROW(run_pipeline(config, dir.path + "/out", 1), Error);
}

}  // namespace
}  // namespace puyu
