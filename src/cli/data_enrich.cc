// puyu data enrich, puyu data compare: what a corpus should hold more of.
#include <cstdio>

#include "cli/data_tools.h"
#include "data/compress.h"
#include "data/enrich.h"
#include "data/texts.h"

namespace puyu {
namespace {

DocumentSource source_of(const std::vector<std::string>& paths) {
  return [paths](const std::function<void(Document&&)>& fn) { for_each_input(paths, fn); };
}

struct EnrichVerbOptions : EnrichOptions {
  std::vector<std::string> seeds;
  std::string out;
  template <class F>
  void fields(F&& f) {
    f("seeds", seeds, "seed documents: corpus folders, files or folders");
    f("out", out, "folder for the documents that are found, and matches.jsonl");
    EnrichOptions::fields(f);
  }
};

int run_enrich(const std::vector<std::string>& argv) {
  EnrichVerbOptions o;
  Fields f = list_fields(o);
  constexpr const char* kHelp =
      "Finds in a large corpus the documents most similar to seeds (BM25). The output is a corpus folder, its "
      "documents with\n"
      "the score bm25; matches.jsonl tells which seed found what. The corpus is read three times, never held in "
      "memory.\n\n"
      "example: puyu data enrich runs/web --seeds=physics.jsonl --out runs/physics\n";
  if (wants_help(argv, kDataEnrich, kHelp, f)) return 0;
  Args a = parse_args(argv, f, {{"o", "out"}});
  if (a.positional.size() < 2 || o.seeds.empty() || o.out.empty())
    throw UsageError("expected CORPUS..., --seeds and --out");
  make_directories(o.out);
  ZstdFile docs(o.out + "/docs-00000.jsonl.zst");
  EnrichResult r = enrich(source_of(o.seeds), source_of({a.positional.begin() + 1, a.positional.end()}), o,
                          [&](const Document& d) { docs.write(to_json_line(d)); });
  docs.commit();
  AtomicFile matches(o.out + "/matches.jsonl");
  for (const EnrichMatch& m : r.matches)
    matches.write(Json(Json::Object{{"seed", m.seed}, {"document", m.document}, {"score", m.score}}).dump() + "\n");
  matches.commit();
  std::printf("%lld of %lld documents for %lld seeds\n", static_cast<long long>(r.chosen),
              static_cast<long long>(r.documents), static_cast<long long>(r.seeds));
  return 0;
}

struct CompareOptions {
  std::vector<std::string> reference;
  int rows = 15;
  bool json = false;
  template <class F>
  void fields(F&& f) {
    f("reference", reference, "what the corpus should be like: corpus folders, files or folders");
    f("rows", rows, "rows of each table");
    f("json", json, "print JSON, every row");
  }
};

int run_compare(const std::vector<std::string>& argv) {
  CompareOptions o;
  Fields f = list_fields(o);
  constexpr const char* kHelp =
      "What a corpus lacks beside a reference, by language, length, source and web site: its share, the reference's "
      "share,\n"
      "and the bytes of that kind that would bring it there. What it lacks most stands first.\n";
  if (wants_help(argv, kDataCompare, kHelp, f)) return 0;
  Args a = parse_args(argv, f);
  if (a.positional.size() < 2 || o.reference.empty()) throw UsageError("expected CORPUS... and --reference");
  Json j = compare_corpora(source_of({a.positional.begin() + 1, a.positional.end()}), source_of(o.reference));
  if (o.json) {
    std::printf("%s\n", j.dump().c_str());
    return 0;
  }
  for (const auto& [dimension, rows] : j.as_object()) {
    if (!rows.is_array()) continue;
    std::printf("%-32s %9s %12s %16s\n", dimension.c_str(), "share", "reference", "lacks (bytes)");
    int shown = 0;
    for (const Json& r : rows.as_array())
      if (shown++ < o.rows)
        std::printf("  %-30s %8.2f%% %11.2f%% %16.0f\n", r.at("key").as_string().c_str(),
                    100 * r.at("share").as_double(), 100 * r.at("reference_share").as_double(),
                    r.at("lacks_bytes").as_double());
    if (shown > o.rows) std::printf("  and %d more (--rows)\n", shown - o.rows);
  }
  return 0;
}

}  // namespace

const Verb kDataEnrich = {"data enrich", "puyu data enrich CORPUS... --seeds LIST --out DIR",
                          "find documents similar to seeds (BM25)", run_enrich};
const Verb kDataCompare = {"data compare", "puyu data compare CORPUS... --reference LIST",
                           "what a corpus lacks beside another", run_compare};

}  // namespace puyu
