// puyu data train-classifier, train-ngram, perplexity, arpa: models that judge texts.
#include <algorithm>
#include <cstdio>
#include <map>

#include "base/parallel.h"
#include "cli/data_tools.h"
#include "data/classifier.h"
#include "data/ngram_model.h"
#include "data/texts.h"

namespace puyu {
namespace {

std::vector<std::string> inputs_of(const Args& a, const char* expected) {
  if (a.positional.size() < 2) throw UsageError(expected);
  return {a.positional.begin() + 1, a.positional.end()};
}

struct ClassifierVerbOptions : ClassifierOptions {
  std::string out;
  int workers = num_threads();
  bool json = false;
  template <class F>
  void fields(F&& f) {
    f("out", out, "the model to write");
    f("workers", workers, "threads; the model does not depend on them");
    f("json", json, "print JSON");
    ClassifierOptions::fields(f);
  }
};

int run_train_classifier(const std::vector<std::string>& argv) {
  ClassifierVerbOptions o;
  Fields f = list_fields(o);
  constexpr const char* kHelp =
      "LABELLED is JSONL: \"content\" or \"text\", \"label\", perhaps \"language\". Prints how well the classes are "
      "told apart on\n"
      "texts that the model had not seen (cross-validation), over all and by language; then trains on everything.\n\n"
      "example: puyu data train-classifier toxic.jsonl --positive=toxic --out toxic.cls\n";
  if (wants_help(argv, kDataTrainClassifier, kHelp, f)) return 0;
  Args a = parse_args(argv, f, {{"o", "out"}});
  std::vector<std::string> files = inputs_of(a, "expected LABELLED.jsonl");
  if (files.size() != 1 || o.out.empty() || o.positive.empty() || o.workers < 1)
    throw UsageError("expected LABELLED.jsonl, --positive LABEL and --out FILE");
  set_num_threads(o.workers);
  Json report = train_classifier(read_labelled(files[0], o.positive), o, o.out);
  if (o.json) {
    std::printf("%s\n", report.dump().c_str());
    return 0;
  }
  std::printf("%-8s %9s %9s %6s %6s %10s %7s %6s %12s\n", "", "positive", "others", "AUC", "AP", "precision", "recall",
              "F1", "calibration");
  for (const auto& [group, q] : report.as_object())
    if (q.is_object())
      std::printf("%-8s %9lld %9lld %6.3f %6.3f %10.3f %7.3f %6.3f %12.3f\n", group.c_str(),
                  static_cast<long long>(q.at("positives").as_int()),
                  static_cast<long long>(q.at("negatives").as_int()), q.at("auc").as_double(),
                  q.at("average_precision").as_double(), q.at("precision").as_double(), q.at("recall").as_double(),
                  q.at("f1").as_double(), q.at("calibration_error").as_double());
  return 0;
}

struct NgramVerbOptions : NgramOptions {
  std::string out, language;
  template <class F>
  void fields(F&& f) {
    f("out", out, "the model to write");
    f("language", language, "documents of this language only; empty: all");
    NgramOptions::fields(f);
  }
};

int run_train_ngram(const std::vector<std::string>& argv) {
  NgramVerbOptions o;
  Fields f = list_fields(o);
  constexpr const char* kHelp =
      "Trains an n-gram model (modified Kneser-Ney) on corpus folders or on anything that 'puyu data run' reads.\n\n"
      "example: puyu data train-ngram runs/wiki --out wiki.ngram --order=5\n";
  if (wants_help(argv, kDataTrainNgram, kHelp, f)) return 0;
  Args a = parse_args(argv, f, {{"o", "out"}});
  std::vector<std::string> inputs = inputs_of(a, "expected INPUT...");
  if (o.out.empty()) throw UsageError("expected --out FILE");
  int64_t failures = 0;
  NgramCounts c = train_ngram(
      [&](const std::function<void(std::string_view)>& fn) {
        failures = for_each_input(inputs, [&](Document&& d) {
          if (o.language.empty() || d.language == o.language) fn(d.content);
        });
      },
      o, o.out);
  std::printf("%lld words in %lld sentences", static_cast<long long>(c.words), static_cast<long long>(c.sentences));
  for (size_t n = 0; n < c.grams.size(); ++n)
    std::printf("; %zu-grams: %lld, discounts %.3f %.3f %.3f", n + 1, static_cast<long long>(c.grams[n]),
                c.discounts[n][0], c.discounts[n][1], c.discounts[n][2]);
  std::printf("\n");
  if (failures) std::printf("%lld inputs could not be read\n", static_cast<long long>(failures));
  return 0;
}

struct PerplexityOptions {
  std::string model;
  bool json = false;
  template <class F>
  void fields(F&& f) {
    f("model", model, "an n-gram model");
    f("json", json, "print JSON");
  }
};

int run_perplexity(const std::vector<std::string>& argv) {
  PerplexityOptions o;
  Fields f = list_fields(o);
  constexpr const char* kHelp =
      "The perplexity of a corpus under an n-gram model, and its quantiles by language over documents: CCNet cuts at "
      "the\n"
      "30th and the 60th percentile (quality.perplexity.head_below and tail_above).\n";
  if (wants_help(argv, kDataPerplexity, kHelp, f)) return 0;
  Args a = parse_args(argv, f, {{"m", "model"}});
  std::vector<std::string> inputs = inputs_of(a, "expected INPUT...");
  if (o.model.empty()) throw UsageError("expected --model FILE");
  NgramModel model(o.model);
  std::map<std::string, std::vector<double>> by_language;
  TextScore all;
  for_each_input(inputs, [&](Document&& d) {
    TextScore s = model.score(d.content);
    if (s.words == 0) return;
    all.log10 += s.log10, all.words += s.words, all.unknown += s.unknown, all.sentences += s.sentences;
    by_language[d.language.empty() ? "unknown" : d.language].push_back(s.perplexity());
  });
  Json j = Json::Object{
      {"perplexity", all.perplexity()}, {"words", all.words}, {"sentences", all.sentences}, {"unknown", all.unknown}};
  for (auto& [language, values] : by_language) {
    std::sort(values.begin(), values.end());
    Json q = Json::Object{{"documents", values.size()}};
    for (size_t percent : {10, 30, 50, 60, 90})
      q[cat("p", percent)] = values[std::min(values.size() - 1, values.size() * percent / 100)];
    j["languages"][language] = std::move(q);
  }
  std::printf("%s\n", j.dump(o.json ? 0 : 2).c_str());
  return 0;
}

struct ArpaOptions {
  std::string out;
  template <class F>
  void fields(F&& f) {
    f("out", out, "the file to write");
  }
};

int run_arpa(const std::vector<std::string>& argv) {
  ArpaOptions o;
  Fields f = list_fields(o);
  constexpr const char* kHelp =
      "A model to ARPA text when --out ends in .arpa; ARPA text (.gz and .zst too) to a model otherwise.\n";
  if (wants_help(argv, kDataArpa, kHelp, f)) return 0;
  Args a = parse_args(argv, f, {{"o", "out"}});
  std::vector<std::string> in = inputs_of(a, "expected FILE");
  if (in.size() != 1 || o.out.empty()) throw UsageError("expected FILE and --out FILE");
  if (o.out.ends_with(".arpa"))
    export_arpa(NgramModel(in[0]), o.out);
  else
    import_arpa(in[0], o.out);
  return 0;
}

}  // namespace

const Verb kDataTrainClassifier = {"data train-classifier",
                                   "puyu data train-classifier LABELLED.jsonl --positive LABEL --out FILE",
                                   "train and measure a classifier of texts", run_train_classifier};
const Verb kDataTrainNgram = {"data train-ngram", "puyu data train-ngram INPUT... --out FILE", "train an n-gram model",
                              run_train_ngram};
const Verb kDataPerplexity = {"data perplexity", "puyu data perplexity INPUT... --model FILE",
                              "perplexities of a corpus under an n-gram model", run_perplexity};
const Verb kDataArpa = {"data arpa", "puyu data arpa FILE --out FILE2", "n-gram models to ARPA text and back",
                        run_arpa};

}  // namespace puyu
