// puyu data long-context, puyu data loss-test: what a model of ours says about texts.
#include <cstdio>

#include "base/config.h"
#include "base/file.h"
#include "cli/data_tools.h"
#include "data/long_context.h"
#include "data/loss_gap.h"
#include "data/loss_scorer.h"

namespace puyu {
namespace {

struct LongVerbOptions : LongContextOptions {
  std::string out, config;
  bool json = false;
  template <class F>
  void fields(F&& f) {
    f("out", out, "folder for the corpus of long documents");
    f("config", config, "TOML with the options below; those of the command line come after it");
    f("json", json, "print JSON");
    LongContextOptions::fields(f);
  }
};

int run_long_context(const std::vector<std::string>& argv) {
  LongVerbOptions o;
  Fields f = list_fields(o);
  constexpr const char* kHelp =
      "Chooses the documents of a corpus that long contexts can be learnt from: more than min_bytes, statistics within "
      "the\n"
      "bounds of their domain, and with a model, texts that are foretold better where what stands before is known.\n"
      "configs/data-long.toml holds an example with domains. Books need reader.split_bytes=0 in the run that makes the "
      "corpus.\n\n"
      "example: puyu data long-context runs/web --out runs/long --config configs/data-long.toml --model models/1.8b\n";
  if (wants_help(argv, kDataLongContext, kHelp, f)) return 0;
  LongVerbOptions first;  // for the name of the file, which comes before the other options
  parse_args(argv, list_fields(first), {{"o", "out"}, {"c", "config"}, {"m", "model"}});
  if (!first.config.empty()) {
    LongContextOptions& options = o;
    read_toml(list_fields(options), read_file(first.config), first.config);
  }
  Args a = parse_args(argv, f, {{"o", "out"}, {"c", "config"}, {"m", "model"}});
  if (a.positional.size() < 2 || o.out.empty()) throw UsageError("expected CORPUS... and --out DIR");
  const Funnel funnel = select_long({a.positional.begin() + 1, a.positional.end()}, o.out, o);
  std::printf("%s", o.json ? (to_json(funnel).dump() + "\n").c_str() : format_funnel(funnel).c_str());
  return 0;
}

struct LossTestOptions {
  std::string test, train, reference, tokenizer;
  int64_t limit = 1000000;
  bool json = false;
  template <class F>
  void fields(F&& f) {
    f("test", test, "JSONL of the benchmark's test set: question and answer, or text");
    f("train", train, "JSONL of its training set");
    f("reference", reference, "JSONL of samples of the same kind that cannot have been seen");
    f("tokenizer", tokenizer, "tokenizer file or folder; empty: the model's");
    f("limit", limit, "samples of each set, at even distances");
    f("json", json, "print JSON");
  }
};

int run_loss_test(const std::vector<std::string>& argv) {
  LossTestOptions o;
  Fields f = list_fields(o);
  constexpr const char* kHelp =
      "Whether a model has seen a benchmark: delta1 = loss(test) - loss(reference), below 0 where the test set "
      "leaked;\n"
      "delta2 = loss(test) - loss(train), above 0 where the training set was learnt by heart. Losses are nats a token, "
      "with\n"
      "standard errors over samples.\n\n"
      "example: puyu data loss-test models/1.8b --test=gsm8k/test.jsonl --train=gsm8k/train.jsonl "
      "--reference=mock.jsonl\n";
  if (wants_help(argv, kDataLossTest, kHelp, f)) return 0;
  Args a = parse_args(argv, f);
  if (a.positional.size() != 2 || o.test.empty() || o.train.empty() || o.reference.empty())
    throw UsageError("expected MODEL, --test, --train and --reference");
  LossScorer scorer(a.positional[1], o.tokenizer);
  LossTest t;
  t.test = mean_loss(scorer, read_samples(o.test, o.limit));
  t.train = mean_loss(scorer, read_samples(o.train, o.limit));
  t.reference = mean_loss(scorer, read_samples(o.reference, o.limit));
  const Json j = to_json(t);
  if (o.json) {
    std::printf("%s\n", j.dump().c_str());
    return 0;
  }
  for (const char* set : {"test", "train", "reference"})
    std::printf("%-10s %.4f +- %.4f nats a token, %lld samples, %lld tokens\n", set, j.at(set).at("loss").as_double(),
                j.at(set).at("error").as_double(), static_cast<long long>(j.at(set).at("samples").as_int()),
                static_cast<long long>(j.at(set).at("tokens").as_int()));
  for (const char* delta : {"delta1", "delta2"})
    std::printf("%-10s %+.4f +- %.4f\n", delta, j.at(delta).as_double(),
                j.at(std::string(delta) + "_error").as_double());
  return 0;
}

}  // namespace

const Verb kDataLongContext = {"data long-context", "puyu data long-context CORPUS... --out DIR",
                               "choose documents for long contexts", run_long_context};
const Verb kDataLossTest = {"data loss-test", "puyu data loss-test MODEL --test F --train F --reference F",
                            "whether a model has seen a benchmark", run_loss_test};

}  // namespace puyu
