// puyu tokenizer encode | decode | train | report.
#include <chrono>
#include <cstdio>
#include <deque>
#include <iostream>
#include <map>
#include <tuple>

#include "base/file.h"
#include "base/log.h"
#include "base/signal.h"
#include "cli/verbs.h"
#include "data/compress.h"
#include "data/reader.h"
#include "data/tokenizer_report.h"
#include "text/bpe_train.h"
#include "text/langid.h"
#include "text/tokenizer.h"

namespace puyu {
namespace {

constexpr const char* kHelp =
    "encode prints one line of ids for each line of FILE (default: standard input; .gz and .zst are unpacked).\n"
    "  With --stats it prints tokens, bytes per token and the speed of one thread instead of the ids.\n"
    "decode prints the text of each line of ids.\n"
    "train learns a BPE vocabulary from the text named in CONFIG.toml and writes it to --out:\n"
    "    inputs = [\"corpus/\", \"notes.jsonl.zst\"]   # files and folders: text, code, JSONL (\"content\"), HTML, man "
    "pages\n"
    "    vocab_size = 8192\n"
    "  Options of the file can be given on the command line too: --vocab_size=4096.\n"
    "report says how MODEL fits the texts in PATHs: bytes per token and covered characters by language, pieces by "
    "kind,\n  unused and longest ones. --against MODEL2 says the same of a second tokenizer.\n"
    "MODEL is a tokenizer file of ours, a SentencePiece BPE .model, a Hugging Face tokenizer.json, "
    "cl100k_base.tiktoken,\n"
    "or a folder that holds tokenizer.puyu, tokenizer.json or tokenizer.model.\n\n"
    "  puyu tokenizer train configs/tokenizer.toml --out tokenizer.puyu\n"
    "  puyu tokenizer report tokenizer.puyu corpus/ --against internlm2/tokenizer.model\n"
    "  echo '你好，世界' | puyu tokenizer encode tokenizer.puyu | puyu tokenizer decode tokenizer.puyu\n";

struct TokenizerOptions {
  bool stats = false;
  bool json = false;
  bool specials = false;
  bool json_lines = false;
  std::string out = "tokenizer.puyu";
  std::string against;
  template <class F>
  void fields(F&& f) {
    f("stats", stats, "encode: print totals instead of ids");
    f("json", json, "print totals as JSON");
    f("specials", specials, "encode: special tokens in the text become their ids; decode: show special tokens");
    f("json_lines", json_lines, "encode: each line is a text in JSON, so that texts may hold line ends");
    f("out", out, "train: the file to write");
    f("against", against, "report: a second tokenizer for the same texts");
  }
};

struct TrainConfig {
  std::vector<std::string> inputs;
  BpeTrainOptions bpe;
  ReaderOptions reader;
  template <class F>
  void fields(F&& f) {
    f("inputs", inputs, "files and folders to learn from");
    bpe.fields(f);
    reader.fields(f);
  }
};

struct EncodeStats {
  int64_t lines = 0, bytes = 0, tokens = 0;
  double seconds = 0;  // in the encoder, on one thread
  double bytes_per_token() const {
    return static_cast<double>(bytes) / static_cast<double>(std::max<int64_t>(tokens, 1));
  }
  double mb_per_second() const { return static_cast<double>(bytes) * 1e-6 / std::max(seconds, 1e-9); }
};

void print(const EncodeStats& s, bool json) {
  if (json) {
    Json j = Json::object();
    j["lines"] = s.lines, j["bytes"] = s.bytes, j["tokens"] = s.tokens;
    j["bytes_per_token"] = s.bytes_per_token(), j["mb_per_second"] = s.mb_per_second();
    std::printf("%s\n", j.dump().c_str());
  } else {
    std::printf(
        "lines            %lld\nbytes            %lld\ntokens           %lld\nbytes/token      %.3f\n"
        "MB/s per thread  %.1f\n",
        static_cast<long long>(s.lines), static_cast<long long>(s.bytes), static_cast<long long>(s.tokens),
        s.bytes_per_token(), s.mb_per_second());
  }
}

using Lines = std::function<bool(std::string& line)>;

std::string join_ids(const std::vector<int32_t>& ids) {
  std::string out;
  for (int32_t id : ids) detail::append(out, id), out += ' ';
  if (!out.empty()) out.pop_back();
  return out += '\n';
}

int encode(const Tokenizer& t, const Lines& next, const TokenizerOptions& o) {
  EncodeStats stats;
  for (std::string line; !interrupted() && next(line);) {
    if (o.json_lines) line = Json::parse(line, cat("line ", stats.lines + 1)).as_string();
    auto start = std::chrono::steady_clock::now();
    std::vector<int32_t> ids = o.specials ? t.encode_with_specials(line) : t.encode(line);
    stats.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    ++stats.lines;
    stats.bytes += static_cast<int64_t>(line.size());
    stats.tokens += static_cast<int64_t>(ids.size());
    if (!o.stats) std::fputs(join_ids(ids).c_str(), stdout);
  }
  if (o.stats) print(stats, o.json);
  return interrupted() ? 1 : 0;
}

int decode(const Tokenizer& t, const Lines& next, const std::string& where, const TokenizerOptions& o) {
  int64_t number = 0;
  for (std::string line; !interrupted() && next(line);) {
    ++number;
    std::vector<int32_t> ids;
    const char *p = line.data(), *end = p + line.size();
    while (p < end) {
      if (*p == ' ' || *p == '\t' || *p == ',' || *p == '\r') {
        ++p;
        continue;
      }
      int32_t id = 0;
      auto r = std::from_chars(p, end, id);
      if (r.ec != std::errc{} || id < 0 || id >= t.vocab_size())
        fail("[tokenizer] ", where, ":", number, ": expected ids from 0 to ", t.vocab_size() - 1, ", got '",
             std::string_view(p, std::min<size_t>(20, static_cast<size_t>(end - p))), "'");
      p = r.ptr;
      ids.push_back(id);
    }
    std::string text = t.decode(ids, o.specials) + "\n";
    std::fwrite(text.data(), 1, text.size(), stdout);
  }
  return interrupted() ? 1 : 0;
}

// The documents of all files, one after the other. What cannot be read is counted by reason.
class Documents {
 public:
  explicit Documents(const TrainConfig& config) : options_(config.reader) {
    for (const auto& input : config.inputs)
      for (auto& path : list_files(input)) paths_.push_back(std::move(path));
  }
  bool next(std::string& text) {
    std::string language;
    return next(text, language);
  }
  // language: as the reader knows it, or empty.
  bool next(std::string& text, std::string& language) {
    while (ready_.empty() && at_ < paths_.size()) {
      InputFile file{paths_[at_], "tokenizer", paths_[at_], "", 0};
      ++at_;
      read_documents(
          file, options_, [&](Document&& d) { ready_.emplace_back(std::move(d.content), std::move(d.language)); },
          [&](ReadFailure&& f) { ++failures_[f.reason]; });
    }
    if (ready_.empty()) return false;
    std::tie(text, language) = std::move(ready_.front());
    ready_.pop_front();
    return true;
  }
  void report() const {
    for (const auto& [reason, n] : failures_) log_warn("left out ", n, " documents or files: ", reason);
  }

 private:
  ReaderOptions options_;
  std::vector<std::string> paths_;
  size_t at_ = 0;
  std::deque<std::pair<std::string, std::string>> ready_;  // text, language
  std::map<std::string, int64_t> failures_;
};

int train(const std::string& config_path, const std::vector<std::string>& overrides, const TokenizerOptions& o) {
  TrainConfig config;
  load_config(config, read_file(config_path), config_path, overrides);
  if (config.inputs.empty()) fail("[tokenizer] ", config_path, ": expected 'inputs', files or folders to learn from");
  Documents documents(config);
  Tokenizer t = train_bpe(config.bpe, [&](std::string& text) { return documents.next(text); });
  documents.report();
  t.save(o.out);
  log_info("wrote ", o.out, ": ", t.vocab_size(), " pieces");
  return 0;
}

int report(const std::vector<std::string>& arguments, const TokenizerOptions& o) {
  constexpr size_t kBatchBytes = 8 << 20;
  TrainConfig config;
  config.inputs.assign(arguments.begin() + 1, arguments.end());
  std::vector<std::pair<std::string, TokenizerReport>> reports;
  for (const std::string& model : {arguments[0], o.against})
    if (!model.empty()) reports.emplace_back(model, TokenizerReport(Tokenizer::load(model)));
  Documents documents(config);
  std::vector<std::string> texts, languages;
  size_t bytes = 0;
  auto flush = [&] {
    for (auto& r : reports) r.second.add(texts, languages);
    texts.clear(), languages.clear(), bytes = 0;
  };
  for (std::string text, language; !interrupted() && documents.next(text, language);) {
    languages.push_back(language.empty() ? detect_language(text).code : language);
    bytes += text.size();
    texts.push_back(std::move(text));
    if (bytes >= kBatchBytes) flush();
  }
  flush();
  documents.report();
  if (interrupted()) return 1;
  if (reports[0].second.uses().empty()) fail("[tokenizer] expected texts in ", config.inputs[0], ", found none");
  Json all = Json::array();
  for (const auto& [name, r] : reports) {
    Json j = r.json();
    j["model"] = name;
    if (o.json) all.push(std::move(j));
    if (!o.json) std::printf("%s", r.text(name).c_str());
  }
  if (o.json) std::printf("%s\n", all.dump().c_str());
  return 0;
}

int run(const std::vector<std::string>& argv) {
  TokenizerOptions o;
  Fields f = list_fields(o);
  TrainConfig config;
  if (wants_help(argv, kTokenizerVerb, kHelp, f)) {
    std::printf("\noptions of CONFIG.toml:\n%s", fields_help(list_fields(config)).c_str());
    return 0;
  }
  const std::string action = argv.empty() ? "" : argv[0];
  const bool training = action == "train";
  if (!training && action != "encode" && action != "decode" && action != "report")
    throw UsageError("expected encode, decode, train or report");
  Args a = parse_args({argv.begin() + 1, argv.end()}, f, {}, training);
  if (training) {
    if (a.positional.size() != 1) throw UsageError("train: expected one CONFIG.toml");
    return train(a.positional[0], a.overrides, o);
  }
  if (action == "report") {
    if (a.positional.size() < 2) throw UsageError("report: expected MODEL and files or folders with text");
    return report(a.positional, o);
  }
  if (a.positional.empty() || a.positional.size() > 2)
    throw UsageError(action + ": expected MODEL and at most one FILE");
  const Tokenizer t = Tokenizer::load(a.positional[0]);
  const std::string file = a.positional.size() == 2 ? a.positional[1] : "standard input";
  std::unique_ptr<InputStream> in;
  if (a.positional.size() == 2) in = std::make_unique<InputStream>(file);
  Lines lines = [&](std::string& line) { return in ? in->read_line(line) : bool(std::getline(std::cin, line)); };
  int code = action == "encode" ? encode(t, lines, o) : decode(t, lines, file, o);
  if (in && !in->damage().empty()) fail("[tokenizer] ", file, ": ", in->damage(), "; what stood before it is done");
  return code;
}

}  // namespace

const Verb kTokenizerVerb = {
    "tokenizer",
    "puyu tokenizer encode MODEL [FILE] | decode MODEL [FILE] | train CONFIG.toml --out FILE | "
    "report MODEL PATH...",
    "text to ids and back; train a vocabulary", run};

}  // namespace puyu
