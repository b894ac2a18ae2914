// puyu plan data (also puyu data plan): time, memory and disk of cleaning a corpus.
#include <cstdio>
#include <cstdlib>

#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "cli/plan.h"
#include "cli/verbs.h"
#include "data/corpus_plan.h"
#include "eval/text_table.h"

namespace puyu {
namespace {

struct Options {
  std::string bytes, kind = "web", calibrate, tokenizer, rates, save_rates;
  double documents = 0, mean_bytes = 0;
  int64_t sample_bytes = 64 << 20;
  bool json = false;
  DataCluster cluster;
  DataRates measured;
  template <class F>
  void fields(F&& f) {
    f("bytes", bytes, "size of the corpus, uncompressed: 100TB, 3.5GB or a number");
    f("documents", documents, "its documents");
    f("mean_bytes", mean_bytes, "their mean length in bytes of input; two of the three are enough");
    f("kind", kind, "default rates of: web (pages in .warc.gz) or text");
    f("calibrate", calibrate, "measure the rates on a sample of this folder instead");
    f("tokenizer", tokenizer, "with --calibrate: the tokenizer to measure");
    f("sample_bytes", sample_bytes, "with --calibrate: read about so much of the folder");
    f("rates", rates, "a TOML file of rates, as --save_rates writes it");
    f("save_rates", save_rates, "write the rates to this file");
    f("json", json, "print JSON");
    cluster.fields(f);
    f("rate", measured, "one rate by hand");
  }
};

constexpr const char* kHelp =
    R"(Estimates what cleaning a corpus takes, stage by stage: time and what bounds it, memory of a machine, disk.

  puyu plan data --bytes=100TB --mean_bytes=60000 --nodes=100 --cores=64 --memory_gb=256 --disk_mbs=2000
  puyu plan data --bytes=2TB --documents=4e8 --kind=text --calibrate=sample/ --tokenizer=tokenizer.model
  puyu plan data --bytes=10GB --mean_bytes=5000 --kind=text --rate.kept_rules=0.5

Rates are of one core: those built in (--kind, with their origin), measured (--calibrate) or of a file (--rates).
)";

// "100TB", "3.5 GB", "1e12".
double parse_bytes(const std::string& s) {
  if (s.empty()) return 0;
  char* end = nullptr;
  double v = std::strtod(s.c_str(), &end);
  std::string unit = end;
  if (!unit.empty() && unit[0] == ' ') unit.erase(0, 1);
  if (unit == "B") unit.clear();
  const std::string known = "kMGTP";
  if (!unit.empty()) {
    const size_t power = known.find(unit[0] == 'K' ? 'k' : unit[0]);
    if (end == s.c_str() || power == std::string::npos || (unit.size() > 1 && unit.substr(1) != "B"))
      throw UsageError(cat("--bytes: expected a number with kB, MB, GB, TB or PB, got '", s, "'"));
    for (size_t i = 0; i <= power; ++i) v *= 1000;
  }
  if (end == s.c_str()) throw UsageError(cat("--bytes: expected a number, got '", s, "'"));
  return v;
}

DataRates rates_of(const Options& o) {
  DataRates r = default_rates(o.kind);
  if (!o.rates.empty()) read_toml(list_fields(r), read_file(o.rates), o.rates);
  if (o.sample_bytes < 1) throw UsageError(cat("--sample_bytes: expected at least 1, got ", o.sample_bytes));
  if (!o.calibrate.empty()) r = measure_rates(o.calibrate, o.tokenizer, o.sample_bytes, r);
  return r;
}

std::string bytes_text(double n) { return n > 0 ? format_count(n, "B") : "–"; }

std::string to_text(const CorpusPlan& p, const DataCluster& c, const DataRates& r) {
  TextTable t{{"stage", "in", "out", "time", "bound by", "memory a machine", "read", "written"},
              {},
              {false, true, true, true, false, true, true, true}};
  for (const StagePlan& s : p.stages)
    t.rows.push_back({s.name, bytes_text(s.input), bytes_text(s.output), format_duration(s.seconds), s.bound,
                      bytes_text(s.memory), bytes_text(s.disk_read), bytes_text(s.disk_written)});
  std::string out = cat(bytes_text(p.corpus.bytes), " in ", format_count(p.corpus.documents, "documents"), " on ",
                        c.nodes, " x ", c.cores, " cores\nrates: ", r.origin, "\n\n", puyu::to_text(t), "\n");
  out += cat("time    ", format_duration(p.seconds), ", ", format_count(p.core_hours, "core hours"), "\ntext    ",
             bytes_text(p.text), ", ", format_count(p.tokens, "tokens"), "\ndisk    ", bytes_text(p.disk),
             " at the fullest moment, the input included\nmemory  ", bytes_text(p.memory), " of ",
             bytes_text(c.memory_gb * 1e9), " a machine\n");
  if (p.passes > 1)
    out += cat("note    the signatures do not fit in memory at once: ", p.passes,
               " passes, which puyu data run does not make yet (it needs ",
               bytes_text(p.memory * static_cast<double>(p.passes)), ")\n");
  if (p.memory > c.memory_gb * 1e9) out += "DOES NOT FIT: fewer cores a machine, or more memory\n";
  if (c.nodes > 1) out += "note    puyu data run works on one machine; give each a part of the input\n";
  return out;
}

Json to_json(const CorpusPlan& p, DataRates r) {
  Json j = Json::object();
  j["bytes"] = p.corpus.bytes, j["documents"] = p.corpus.documents, j["seconds"] = p.seconds, j["tokens"] = p.tokens;
  j["text_bytes"] = p.text, j["disk_bytes"] = p.disk, j["memory_bytes"] = p.memory, j["passes"] = p.passes;
  j["core_hours"] = p.core_hours, j["rates"] = puyu::to_json(list_fields(r)), j["stages"] = Json::array();
  for (const StagePlan& s : p.stages)
    j["stages"].push(Json::Object{{"stage", s.name},
                                  {"in_bytes", s.input},
                                  {"out_bytes", s.output},
                                  {"seconds", s.seconds},
                                  {"bound", s.bound},
                                  {"memory_bytes", s.memory},
                                  {"read_bytes", s.disk_read},
                                  {"written_bytes", s.disk_written}});
  return j;
}

}  // namespace

int run_plan_data(const std::vector<std::string>& argv) {
  Options o;
  Fields f = list_fields(o);
  const Verb verb = {"plan data", "puyu plan data --bytes=SIZE --mean_bytes=N [options]",
                     "what cleaning a corpus takes", run_plan_data};
  o.measured = default_rates(o.kind);
  if (wants_help(argv, verb, kHelp, f)) return 0;
  if (!parse_args(argv, f).positional.empty()) throw UsageError("expected no more words");
  const CorpusSize size = corpus_size(parse_bytes(o.bytes), o.documents, o.mean_bytes);
  o.measured = rates_of(o);
  parse_args(argv, f);  // once more, for single rates over these
  if (!o.save_rates.empty()) write_file(o.save_rates, to_toml(list_fields(o.measured)));
  const CorpusPlan p = plan_corpus(size, o.cluster, o.measured);
  if (o.json)
    std::printf("%s\n", to_json(p, o.measured).dump().c_str());
  else
    std::printf("%s", to_text(p, o.cluster, o.measured).c_str());
  return p.memory <= o.cluster.memory_gb * 1e9 ? 0 : 1;
}

}  // namespace puyu
