// puyu data repositories, puyu data validate-classifier: code as whole repositories, and where a model may judge it.
#include <cstdio>
#include <map>

#include "cli/data_tools.h"
#include "data/classifier.h"
#include "data/compress.h"
#include "data/repositories.h"
#include "data/texts.h"

namespace puyu {
namespace {

struct RepositoriesVerbOptions : RepositoriesOptions {
  std::string out;
  bool json = false;
  template <class F>
  void fields(F&& f) {
    f("out", out, "folder for the corpus of repositories");
    f("json", json, "print JSON");
    RepositoriesOptions::fields(f);
  }
};

int run_repositories(const std::vector<std::string>& argv) {
  RepositoriesVerbOptions o;
  Fields f = list_fields(o);
  constexpr const char* kHelp =
      "Joins the source files of a corpus (a source is a repository, a document's url its path) to one Markdown "
      "document "
      "a\n"
      "repository, files in the order of their imports. Clean, filter and deduplicate the files first ('puyu data "
      "run').\n\n"
      "example: puyu data run --input=checkouts --languages=code --quality.code.rules=true --out=runs/files\n"
      "         puyu data repositories runs/files --out=runs/repositories\n"
      "         puyu data repositories runs/files --out=runs/long --order=depth-first --describe=true "
      "--min_bytes=32768\n";
  if (wants_help(argv, kDataRepositories, kHelp, f)) return 0;
  Args a = parse_args(argv, f, {{"o", "out"}});
  if (a.positional.size() != 2 || o.out.empty()) throw UsageError("expected CORPUS and --out DIR");
  make_directories(o.out);
  ZstdFile docs(o.out + "/docs-00000.jsonl.zst");
  const std::string corpus = a.positional[1];
  const RepositoriesResult r =
      join_repositories([&](const std::function<void(Document&&)>& fn) { for_each_input({corpus}, fn); }, o,
                        [&](const Document& d) { docs.write(to_json_line(d)); });
  if (r.repositories == 0)
    fail("[data] ", corpus, ": none of its repositories is left: ", r.too_short, " are too short, ", r.too_long,
         " too long, ", r.other_libraries, " import other libraries");
  docs.commit();
  const Json j = Json::Object{{"files", r.files},
                              {"repositories", r.repositories},
                              {"too_short", r.too_short},
                              {"too_long", r.too_long},
                              {"other_libraries", r.other_libraries}};
  std::printf("%s\n", j.dump(o.json ? 0 : 2).c_str());
  return 0;
}

struct ValidateOptions {
  std::string positive;
  double min_agreement = 0.8;
  bool json = false;
  template <class F>
  void fields(F&& f) {
    f("positive", positive, "the label whose probability is the score");
    f("min_agreement", min_agreement, "share of labels that the model must agree with at probability 0.5");
    f("json", json, "print JSON");
  }
};

int run_validate(const std::vector<std::string>& argv) {
  ValidateOptions o;
  Fields f = list_fields(o);
  constexpr const char* kHelp =
      "Holds a classifier against texts that people labelled and that it was not trained on, language by language, and "
      "names\n"
      "those in which it agrees with them often enough to be asked (quality.code.languages, "
      "quality.classifier.languages).\n"
      "\nexample: puyu data validate-classifier code.cls labelled.jsonl --positive=good\n";
  if (wants_help(argv, kDataValidateClassifier, kHelp, f)) return 0;
  Args a = parse_args(argv, f);
  if (a.positional.size() != 3 || o.positive.empty())
    throw UsageError("expected MODEL, LABELLED.jsonl and --positive LABEL");
  const auto model = load_classifier(a.positional[1]);
  struct Scores {
    std::vector<double> p;
    std::vector<bool> positive;
    double right = 0;
  };
  std::map<std::string, Scores> by_language;
  for (const LabelledText& t : read_labelled(a.positional[2], o.positive)) {
    Scores& s = by_language[t.language.empty() ? "unknown" : t.language];
    s.p.push_back(model->score(t.text)), s.positive.push_back(t.positive);
    s.right += (s.p.back() >= 0.5) == t.positive;
  }
  Json languages = Json::object(), agreeing = Json::array();
  for (const auto& [language, s] : by_language) {
    const double agreement = s.right / static_cast<double>(s.p.size());
    Json row = to_json(measure_quality(s.p, s.positive));
    row["agreement"] = agreement;
    languages[language] = std::move(row);
    if (agreement >= o.min_agreement) agreeing.push(language);
  }
  const Json j = Json::Object{{"languages", std::move(languages)}, {"agreeing", std::move(agreeing)}};
  std::printf("%s\n", j.dump(o.json ? 0 : 2).c_str());
  return 0;
}

}  // namespace

const Verb kDataRepositories = {"data repositories", "puyu data repositories CORPUS --out DIR",
                                "source files to one document a repository", run_repositories};
const Verb kDataValidateClassifier = {"data validate-classifier",
                                      "puyu data validate-classifier MODEL LABELLED.jsonl --positive LABEL",
                                      "where a classifier agrees with people", run_validate};

}  // namespace puyu
