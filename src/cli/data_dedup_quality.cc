// puyu data dedup-quality: recall and precision of the search for near duplicates, measured on planted ones.
#include <array>
#include <cstdio>

#include "base/file.h"
#include "cli/data_tools.h"
#include "data/dedup_quality.h"
#include "data/texts.h"
#include "eval/html_chart.h"
#include "eval/text_table.h"

namespace puyu {
namespace {

constexpr int kBins = 20;  // of similarity
constexpr int kMostTexts = 20000;

struct Options {
  std::string svg;
  bool json = false;
  PlantOptions plant;
  DedupOptions dedup;
  template <class F>
  void fields(F&& f) {
    f("svg", svg, "write the curves as a picture to this file");
    f("json", json, "print JSON");
    plant.fields(f);
    f("dedup", dedup, "");
  }
};

constexpr const char* kHelp =
    "Cuts the texts of PATHs (corpora of ours or anything that 'puyu data run' reads) into pieces, gives each an "
    "edited\n"
    "copy and searches the whole for near duplicates. Found pairs are held against the exact Jaccard similarity of\n"
    "their n-gram sets and against the theory of the bands. Each PATH is a curve of its own.\n\n"
    "  puyu data dedup-quality brown.jsonl modern-zh.jsonl --svg docs/benchmarks/minhash.svg\n";

struct Bin {
  double pairs = 0, found = 0, expected = 0, similarity = 0;
};

std::array<Bin, kBins> bins_of(const DedupQuality& q) {
  std::array<Bin, kBins> out{};
  for (const PlantedPair& p : q.pairs) {
    Bin& b = out[std::min<size_t>(static_cast<size_t>(p.similarity * kBins), kBins - 1)];
    ++b.pairs, b.found += p.found, b.expected += p.expected, b.similarity += p.similarity;
  }
  return out;
}

DedupQuality measure(const std::string& path, const Options& o) {
  std::vector<std::string> documents;
  for_each_input({path}, [&](Document&& d) { documents.push_back(std::move(d.content)); });
  std::vector<std::string> texts = cut_texts(documents, o.plant);
  if (texts.size() > kMostTexts) texts.resize(kMostTexts);
  if (texts.empty()) fail("[dedup] ", path, ": no text has ", o.plant.words, " words; lower --words");
  return measure_dedup(texts, o.dedup, o.plant);
}

LineChart chart_of(const std::vector<std::pair<std::string, DedupQuality>>& all, const DedupOptions& dedup) {
  const Banding b = banding_of(dedup);
  LineChart chart;
  chart.title =
      cat("Pairs found by MinHash: ", b.bands, " bands of ", b.rows, " rows, verified at ", fixed(dedup.threshold, 2));
  chart.x_label = "exact Jaccard similarity of the n-gram sets", chart.y_label = "share found";
  LineChart::Series theory{.name = "theory, verified"}, candidates{.name = "theory, candidates"};
  for (int i = 60; i <= 200; ++i) {
    const double s = i / 200.0;
    theory.x.push_back(s), theory.y.push_back(pair_probability(b, s, dedup.threshold));
    candidates.x.push_back(s), candidates.y.push_back(candidate_probability(b, s));
  }
  chart.series = {theory, candidates};
  for (const auto& [name, q] : all) {
    LineChart::Series dots{.name = name, .points = true};
    for (const Bin& bin : bins_of(q)) {
      if (bin.pairs < 20) continue;
      dots.x.push_back(bin.similarity / bin.pairs), dots.y.push_back(bin.found / bin.pairs);
    }
    chart.series.push_back(std::move(dots));
  }
  chart.markers = {{dedup.threshold, "threshold"}};
  return chart;
}

Json to_json(const DedupQuality& q) {
  Json bins = Json::array();
  for (const Bin& b : bins_of(q))
    if (b.pairs > 0)
      bins.push(Json::Object{
          {"similarity", b.similarity / b.pairs}, {"pairs", b.pairs}, {"found", b.found}, {"expected", b.expected}});
  return Json::Object{{"pairs", static_cast<int64_t>(q.pairs.size())},
                      {"recall", q.recall()},
                      {"expected_recall", q.expected_recall()},
                      {"precision", q.precision()},
                      {"reported", q.reported},
                      {"bins", std::move(bins)}};
}

TextTable table_of(const DedupQuality& q) {
  TextTable t{{"similarity", "pairs", "found", "theory"}, {}, {true, true, true, true}};
  for (const Bin& b : bins_of(q))
    if (b.pairs > 0)
      t.rows.push_back({fixed(b.similarity / b.pairs, 3), fixed(b.pairs, 0), fixed(b.found / b.pairs, 3),
                        fixed(b.expected / b.pairs, 3)});
  return t;
}

int run(const std::vector<std::string>& argv) {
  Options o;
  Fields f = list_fields(o);
  if (wants_help(argv, kDataDedupQuality, kHelp, f)) return 0;
  Args a = parse_args(argv, f);
  a.positional.erase(a.positional.begin());  // the verb itself
  if (a.positional.empty()) throw UsageError("expected PATHs, files or folders of text");
  std::vector<std::pair<std::string, DedupQuality>> all;
  Json j = Json::object();
  for (const std::string& path : a.positional) {
    std::string name = path.substr(path.find_last_of('/') + 1);
    all.emplace_back(name.substr(0, name.find('.')), measure(path, o));
    j[path] = to_json(all.back().second);
  }
  if (!o.svg.empty()) write_file(o.svg, render_svg_file(chart_of(all, o.dedup)));
  if (o.json) return std::printf("%s\n", j.dump().c_str()), 0;
  for (const auto& [name, q] : all)
    std::printf("%s: %zu pairs; recall %.4f (theory %.4f), precision %.4f of %lld reported\n%s\n", name.c_str(),
                q.pairs.size(), q.recall(), q.expected_recall(), q.precision(), static_cast<long long>(q.reported),
                to_markdown(table_of(q)).c_str());
  return 0;
}

}  // namespace

const Verb kDataDedupQuality = {"data dedup-quality", "puyu data dedup-quality PATH... [options]",
                                "recall and precision of the search for near duplicates", run};

}  // namespace puyu
