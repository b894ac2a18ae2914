// puyu data: raw text to a clean corpus to token shards.
#include <cstdio>

#include "base/file.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "cli/data_tools.h"
#include "cli/plan.h"
#include "cli/verbs.h"
#include "data/charset.h"
#include "data/code_order.h"
#include "data/extract_score.h"
#include "data/pipeline.h"
#include "data/repeats.h"
#include "data/tokenize.h"
#include "text/html.h"

namespace puyu {
namespace {

constexpr const char* kText =
    R"(puyu data run CONFIG.toml --out DIR          read, clean, filter and deduplicate text into DIR
puyu data run --input=DIR1,DIR2 --out DIR    the same with the default rules
puyu data dedup CORPUS ... --out DIR         exact and near duplicates alone, of corpora of ours or any text
puyu data repeated-lines CORPUS --out DIR    cuts lines (or paragraphs) that stand elsewhere in the corpus too
puyu data repeated-substrings CORPUS --out DIR    cuts substrings of 100 bytes and more that do (suffix array)
puyu data tokenize DIR --tokenizer FILE --out DIR2    a cleaned corpus to train.tok and valid-*.tok
puyu data why ID --run DIR                   what happened to a document (its id, its path, or source/path)
puyu data extract [FILE.html] [--json]       the main content of a web page (of standard input without a file)
puyu data repository DIR [--json]            source files as one Markdown document, in the order of their imports
puyu data plan --bytes=100TB ...             what a corpus will take (puyu data plan --help)
puyu data extract --gold TRUTH.json          score the extraction against texts taken by people (F1, speed)

Input may be web archives (.warc, .wet), text, JSONL (text in "content" or "text"), HTML, manual pages and code, also
as .gz and .zst.
Every drop is counted in funnel.json and explained in ledger.jsonl.zst. A run that was interrupted or killed goes on where
it stopped.

configs/data/ holds published sets of rules (FineWeb, C4, ...): each is a CONFIG.toml; name the input with --input.

example:  scripts/fetch_corpus.sh && puyu data run --input=.cache/corpus --out runs/data
)";

struct RunOptions {
  std::string out, tokenizer, run, gold;
  int workers = num_threads();
  bool json = false;
  template <class F>
  void fields(F&& f) {
    f("out", out, "output folder (run, tokenize)");
    f("workers", workers, "processes (run, dedup) or threads; the output does not depend on them");
    f("tokenizer", tokenizer, "tokenizer file or folder (tokenize)");
    f("run", run, "output folder of a run (why)");
    f("gold", gold, "ground-truth.json of the article extraction benchmark, its pages beside it (extract)");
    f("json", json, "print JSON");
  }
};

void need(const std::string& value, const char* option) {
  if (value.empty()) throw UsageError(cat("expected ", option));
}

// run takes a CONFIG.toml, dedup the inputs themselves.
PipelineConfig corpus_config(const Args& a) {
  PipelineConfig config;
  Fields fields = list_fields(config);
  if (a.positional[0] == "dedup") {
    config.input.assign(a.positional.begin() + 1, a.positional.end());
    config.stages = {"exact_duplicates", "near_duplicates"};
    config.reader.keep_ids = true;
  } else if (a.positional.size() == 2) {
    read_toml(fields, read_file(a.positional[1]), a.positional[1]);
  }
  for (const std::string& assignment : a.overrides) {
    try {
      set_field(fields, assignment);
    } catch (const Error& e) { throw UsageError(e.what()); }
  }
  return config;
}

int run_corpus(const Args& a, const RunOptions& o) {
  need(o.out, "--out DIR");
  if (a.positional[0] == "run" && a.positional.size() > 2) throw UsageError("expected one CONFIG.toml");
  PipelineConfig config = corpus_config(a);
  Funnel f = run_pipeline(config, o.out, o.workers);
  std::printf("%s", o.json ? (to_json(f).dump() + "\n").c_str() : format_funnel(f).c_str());
  return 0;
}

int run_repeats(const Args& a, const RunOptions& o, const RepeatOptions& options) {
  if (a.positional.size() != 2) throw UsageError("expected one corpus folder");
  need(o.out, "--out DIR");
  Repeats what = a.positional[0] == "repeated-lines" ? Repeats::kLines : Repeats::kSubstrings;
  Funnel f = remove_repeats(a.positional[1], o.out, what, options);
  std::printf("%s", o.json ? (to_json(f).dump() + "\n").c_str() : format_funnel(f).c_str());
  return 0;
}

int run_tokenize(const Args& a, const RunOptions& o, const TokenizeOptions& options) {
  if (a.positional.size() != 2) throw UsageError("expected one corpus folder");
  need(o.out, "--out DIR");
  need(o.tokenizer, "--tokenizer FILE");
  TokenizeResult r = tokenize_corpus(a.positional[1], Tokenizer::load(o.tokenizer), o.out, o.workers, options);
  Json j = Json::Object{{"documents", r.documents},
                        {"tokens", r.tokens},
                        {"bytes", r.bytes},
                        {"held_out_documents", r.held_out_documents},
                        {"held_out_tokens", r.held_out_tokens}};
  if (o.json)
    std::printf("%s\n", j.dump().c_str());
  else
    std::printf("train: %s in %s, %.2f bytes a token; held out: %s in %s\n",
                format_count(static_cast<double>(r.tokens), "tok").c_str(),
                format_count(static_cast<double>(r.documents), "documents").c_str(),
                static_cast<double>(r.bytes) / static_cast<double>(std::max<int64_t>(1, r.tokens)),
                format_count(static_cast<double>(r.held_out_tokens), "tok").c_str(),
                format_count(static_cast<double>(r.held_out_documents), "documents").c_str());
  return 0;
}

int run_why(const Args& a, const RunOptions& o) {
  if (a.positional.size() != 2) throw UsageError("expected one ID");
  need(o.run, "--run DIR");
  std::string text = explain_document(o.run, a.positional[1]);
  if (text.empty()) fail("[data] ", o.run, ": no document '", a.positional[1], "', neither kept nor dropped");
  std::printf("%s", text.c_str());
  return 0;
}

std::string read_standard_input() {
  std::string bytes;
  char piece[65536];
  for (size_t n = 0; (n = std::fread(piece, 1, sizeof piece, stdin)) > 0;) bytes.append(piece, n);
  return bytes;
}

int run_extract(const Args& a, const RunOptions& o) {
  if (!o.gold.empty()) {
    if (a.positional.size() != 1) throw UsageError("expected no file beside --gold");
    ExtractScore s = score_extraction(o.gold);
    std::printf("%s", o.json ? (to_json(s).dump() + "\n").c_str() : format_score(s).c_str());
    return 0;
  }
  if (a.positional.size() > 2) throw UsageError("expected one FILE.html");
  std::string name = a.positional.size() == 2 ? a.positional[1] : "standard input";
  DecodedText text = decode_text(a.positional.size() == 2 ? read_file(name) : read_standard_input(), "", true);
  HtmlPage page = extract_html(text.text);
  if (!page.problem.empty()) fail("[data] ", name, ": ", page.problem);
  Json j = Json::Object{{"title", page.title},
                        {"date", iso_date(page.date)},
                        {"language", page.language},
                        {"charset", text.charset},
                        {"content", page.content}};
  std::printf("%s\n", o.json ? j.dump().c_str() : page.content.c_str());
  return 0;
}

int run_repository(const Args& a, const RunOptions& o) {
  if (a.positional.size() != 2) throw UsageError("expected one folder");
  std::string folder = a.positional[1];
  while (folder.size() > 1 && folder.ends_with('/')) folder.pop_back();
  const std::string name = folder.substr(folder.rfind('/') + 1);
  const RepositoryRead r = read_repository(folder, ReaderOptions().max_file_bytes);
  for (const auto& [path, reason] : r.left_out) log_warn("left out ", path, ": ", reason);
  Document d;
  d.content = repository_markdown(name, r.files);
  d.id = document_id(name, "", 0), d.title = d.source = name, d.language = "code";
  std::printf("%s", o.json ? to_json_line(d).c_str() : d.content.c_str());
  return 0;
}

// Options of the verb itself, of tokenize and of the repeats; those of run are PipelineConfig's and come back as
// overrides.
struct AllOptions : RunOptions {
  TokenizeOptions tokenize;
  RepeatOptions repeats;
  template <class F>
  void fields(F&& f) {
    RunOptions::fields(f);
    f("tokenize", tokenize, "");
    f("repeats", repeats, "");
  }
};

int run(const std::vector<std::string>& argv) {
  if (const Verb* tool = argv.empty() ? nullptr : find_data_tool(argv[0])) return tool->run(argv);
  if (!argv.empty() && argv[0] == "plan") return run_plan_data({argv.begin() + 1, argv.end()});
  AllOptions o;
  Fields f = list_fields(o);
  PipelineConfig defaults;
  std::string text = cat(kText, "\n", data_tools_help(), "\noptions of run (also the keys of CONFIG.toml):\n",
                         fields_help(list_fields(defaults)));
  if (wants_help(argv, kDataVerb, text, f)) return 0;
  bool is_run = !argv.empty() && (argv[0] == "run" || argv[0] == "dedup");
  Args a = parse_args(argv, f, {{"o", "out"}}, is_run);
  std::string what = a.positional.empty() ? "" : a.positional[0];
  if (o.workers < 1) throw UsageError(cat("--workers must be at least 1, got ", o.workers));
  if (what == "run" || what == "dedup") return run_corpus(a, o);
  if (what == "repeated-lines" || what == "repeated-substrings") return run_repeats(a, o, o.repeats);
  if (what == "tokenize") return run_tokenize(a, o, o.tokenize);
  if (what == "why") return run_why(a, o);
  if (what == "extract") return run_extract(a, o);
  if (what == "repository") return run_repository(a, o);
  throw UsageError(
      cat("expected run, dedup, repeated-lines, repeated-substrings, tokenize, why, extract, repository or "
          "one of the verbs of 'puyu data --help', got '",
          what, "'"));
}

}  // namespace

const Verb kDataVerb = {
    "data", "puyu data run|dedup|repeated-lines|repeated-substrings|tokenize|why|extract|repository|... [options]",
    "clean a corpus and make token shards of it", run};

}  // namespace puyu
