// Raw files to a clean corpus: read, normalise, language, filter, exact and near duplicates. The output folder holds
//   docs-00000.jsonl.zst …   the documents that are left (document.h), in the order of source, path and position
//   ledger.jsonl.zst         one line for every drop and change: why a document is not there, or not as it was
//   clusters.jsonl.zst       the survivor and the dropped documents of every set of duplicates
//   pii-key.jsonl.zst        what masked personal data stood for, when some are masked (safety.h)
//   examples.json            texts that each rule dropped (examples.h)
//   funnel.json              the sums (funnel.h)        run.json   the configuration and its key
// Inputs are cut into units of files whose results are pure functions of their files and the configuration; they and
// the tasks of the later stages (pipeline_run.h) run on a pool of processes and are kept under work/ until the end, so
// a run that is interrupted or killed goes on where it stopped. The output's bytes depend on neither the number of
// workers nor the order of inputs.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "data/decontaminate.h"
#include "data/dedup.h"
#include "data/filter.h"
#include "data/funnel.h"
#include "data/quality.h"
#include "data/reader.h"
#include "data/safety.h"

namespace puyu {

struct SourceConfig {
  std::string name, path, language;
  template <class F>
  void fields(F&& f) {
    f("name", name, "the collection's name in the output");
    f("path", path, "a file or folder");
    f("language", language, "when known; empty: detect it");
  }
};

struct PipelineConfig {
  std::vector<std::string> input;
  std::vector<SourceConfig> source;
  std::vector<std::string> stages = {"normalise", "language",      "filter",           "safe",
                                     "quality",   "decontaminate", "exact_duplicates", "near_duplicates"};
  std::vector<std::string> languages = {"en", "zh", "code"};
  double min_language_score = 0.3;
  int64_t shard_bytes = int64_t{256} << 20;
  ReaderOptions reader;
  FilterRules en = english_rules(), zh = chinese_rules(), code = code_rules();
  SafeOptions safe;
  QualityOptions quality;
  DecontaminateOptions decontaminate;
  DedupOptions dedup;
  template <class F>
  void fields(F&& f) {
    f("input", input, "folders; their sub-folders are the sources, or they are one source themselves");
    f("source", source, "sources given one by one");
    f("stages", stages,
      "which stages run, in their fixed order; safe, quality and decontaminate only when they are configured");
    f("languages", languages, "kept: ISO 639-1 codes, and 'code' for all programming languages");
    f("min_language_score", min_language_score, "share of a document that must be in its language");
    f("shard_bytes", shard_bytes, "text in one output file");
    f("reader", reader, "");
    f("en", en, "rules for English (and other languages with spaces)");
    f("zh", zh, "rules for Chinese");
    f("code", code, "rules for program text");
    f("safe", safe, "");
    f("quality", quality, "");
    f("decontaminate", decontaminate, "");
    f("dedup", dedup, "");
  }
};

// Whether a stage runs: it is among `stages`, and what it needs is configured.
bool has_stage(const PipelineConfig& config, const char* name);

// Every input file in the order of the output.
std::vector<InputFile> list_inputs(const PipelineConfig& config);

// Runs what is not done yet. Error on bad configuration, on no input, on failing writes and when interrupted.
Funnel run_pipeline(const PipelineConfig& config, const std::string& out_dir, int workers);

// The shards of a corpus folder, in order; Error when there are none.
std::vector<std::string> corpus_shards(const std::string& dir);
// Calls fn on each document of a corpus folder, in order. Error on damage.
void for_each_document(const std::string& dir, const std::function<void(Document&&)>& fn);

// Everything the ledger and the corpus say about a document, by id or url, as lines for people.
std::string explain_document(const std::string& run_dir, const std::string& id_or_url);

}  // namespace puyu
