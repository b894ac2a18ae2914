#include "data/pipeline.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <set>

#include "base/config.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "base/signal.h"
#include "data/compress.h"
#include "data/examples.h"
#include "data/judges.h"
#include "data/stages.h"

namespace puyu {
namespace {

constexpr int kVersion = 3;  // raised when the same input and options give other bytes
constexpr int64_t kUnitBytes = int64_t{1} << 20;
constexpr size_t kUnitFiles = 256;

struct Unit {
  size_t first, last;  // files [first, last)
  std::string key;     // hash of configuration, file names, sizes and times
};

uint32_t date_number(const std::string& iso) {
  int y = 0, m = 0, d = 0;
  std::sscanf(iso.c_str(), "%4d-%2d-%2d", &y, &m, &d);
  return static_cast<uint32_t>(y * 10000 + m * 100 + d);
}

Hash128 parse_id(const std::string& hex) {
  Hash128 h{};
  unsigned long long hi = 0, lo = 0;
  std::sscanf(hex.c_str(), "%16llx%16llx", &hi, &lo);
  h.hi = hi, h.lo = lo;
  return h;
}

std::string hex_key(std::string_view text) {
  char out[17];
  std::snprintf(out, sizeof out, "%016llx", static_cast<unsigned long long>(hash64(text)));
  return out;
}

void add_source(std::vector<InputFile>& out, const SourceConfig& s) {
  size_t prefix = is_directory(s.path) ? s.path.size() + !s.path.ends_with('/') : s.path.rfind('/') + 1;
  for (const std::string& path : list_files(s.path)) {
    struct stat st{};
    int64_t bytes = stat(path.c_str(), &st) == 0 ? static_cast<int64_t>(st.st_size) : 0;
    std::string name = path.substr(prefix);
    if (name.starts_with('.') || name.find("/.") != std::string::npos) continue;  // markers and the like
    out.push_back({path, s.name, name, s.language, bytes});
  }
}

// The configuration's part of the key: everything but where the input lies.
std::string options_text(PipelineConfig config) {
  config.input.clear(), config.source.clear();
  return cat(kVersion, to_json(list_fields(config)).dump());
}

std::string file_stamp(const InputFile& f) {
  struct stat st{};
  stat(f.path.c_str(), &st);
  return cat(f.source, "\n", f.name, "\n", f.language, "\n", st.st_size, " ", st.st_mtim.tv_sec, " ",
             st.st_mtim.tv_nsec, "\n");
}

std::vector<Unit> cut_units(const std::vector<InputFile>& files, const std::string& options) {
  std::vector<Unit> units;
  for (size_t i = 0; i < files.size();) {
    Unit u{i, i, ""};
    std::string stamp = options;
    for (int64_t bytes = 0; u.last < files.size() && u.last - u.first < kUnitFiles && bytes < kUnitBytes; ++u.last) {
      bytes += files[u.last].bytes;
      stamp += file_stamp(files[u.last]);
    }
    u.key = hex_key(stamp);
    i = u.last;
    units.push_back(u);
  }
  return units;
}

struct Run {
  const PipelineConfig& config;
  const Judges& judges;
  std::vector<InputFile> files;
  std::vector<Unit> units;
  std::string dir;
  std::string unit_path(size_t u, const char* ending) const { return cat(dir, "/work/", units[u].key, ending); }
};

bool unit_is_done(const Run& run, size_t u) { return file_exists(run.unit_path(u, ".json")); }

// For its owner's eyes.
void commit_private(ZstdFile& file, const std::string& path) {
  file.commit();
  std::filesystem::permissions(path, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

void run_unit(const Run& run, size_t u, Progress& progress) {
  Stages stages(run.config, run.judges);
  ZstdFile docs(run.unit_path(u, ".docs.zst"));
  std::vector<DedupKey> keys;
  std::unique_ptr<ZstdFile> pii;
  if (run.judges.safety.masks()) pii = std::make_unique<ZstdFile>(run.unit_path(u, ".pii.zst"));
  for (size_t f = run.units[u].first; f < run.units[u].last; ++f) {
    read_documents(
        run.files[f], run.config.reader,
        [&](Document&& d) {
          if (!stages.process(d)) return;
          keys.push_back({parse_id(d.id), hash128(d.content), date_number(d.date),
                          static_cast<uint32_t>(std::min<size_t>(d.content.size(), UINT32_MAX)),
                          minhash(d.content, run.config.dedup.ngram)});
          docs.write(to_json_line(d));
          if (!d.pii.empty()) pii->write(pii_line(d));
        },
        [&](ReadFailure&& failure) { stages.fail(failure); });
    progress.add(run.files[f].bytes);
    if (interrupted()) return;
  }
  docs.commit();
  ZstdFile ledger(run.unit_path(u, ".ledger.zst"));
  ledger.write(stages.ledger);
  ledger.commit();
  if (pii) commit_private(*pii, run.unit_path(u, ".pii.zst"));
  std::string_view bytes(reinterpret_cast<const char*>(keys.data()), keys.size() * sizeof(DedupKey));
  write_file(run.unit_path(u, ".keys"), bytes);
  Json marker = Json::Object{{"documents", keys.size()},
                             {"keys", hex_key(bytes)},
                             {"funnel", to_json(stages.funnel)},
                             {"examples", stages.examples.to_json()}};
  write_file(run.unit_path(u, ".json"), marker.dump());  // last: the unit is done when this is there
}

void run_units(const Run& run, int workers) {
  int64_t bytes = 0;
  std::vector<size_t> todo;
  for (size_t u = 0; u < run.units.size(); ++u) {
    if (unit_is_done(run, u)) continue;
    todo.push_back(u);
    for (size_t f = run.units[u].first; f < run.units[u].last; ++f) bytes += run.files[f].bytes;
  }
  if (todo.size() < run.units.size())
    log_info("data: ", run.units.size() - todo.size(), " of ", run.units.size(), " units are done already");
  Progress progress("read and filter", bytes, "B");
  int before = num_threads();
  set_num_threads(workers);
  try {
    parallel_for(static_cast<int64_t>(todo.size()), [&](int64_t i) {
      if (!interrupted()) run_unit(run, todo[i], progress);
    });
  } catch (...) {
    set_num_threads(before);
    throw;
  }
  set_num_threads(before);
  if (interrupted()) fail("[data] interrupted; the same command goes on where it stopped");
}

std::vector<DedupKey> read_keys(const Run& run, Funnel& funnel, Examples& examples) {
  std::vector<DedupKey> keys;
  for (size_t u = 0; u < run.units.size(); ++u) {
    Json marker = Json::parse(read_file(run.unit_path(u, ".json")), run.unit_path(u, ".json"));
    funnel.merge(funnel_from_json(marker.at("funnel")));
    examples.merge(Examples::from_json(marker.at("examples")));
    std::string bytes = read_file(run.unit_path(u, ".keys"));
    size_t n = static_cast<size_t>(marker.at("documents").as_int()), old = keys.size();
    if (bytes.size() != n * sizeof(DedupKey) || hex_key(bytes) != marker.at("keys").as_string())
      fail("[data] ", run.unit_path(u, ".keys"), ": checksum mismatch; delete ", run.dir, "/work and run again");
    keys.resize(old + n);
    if (n) std::memcpy(static_cast<void*>(keys.data() + old), bytes.data(), bytes.size());
  }
  return keys;
}

void check_ids(const std::vector<DedupKey>& keys) {
  std::vector<Hash128> ids;
  for (const DedupKey& k : keys) ids.push_back(k.id);
  std::sort(ids.begin(), ids.end());
  if (std::adjacent_find(ids.begin(), ids.end()) != ids.end())
    fail("[data] two inputs give documents of the same source and path; name the sources apart with [[source]]");
}

std::string id_hex(const Hash128& h) {
  char hex[33];
  std::snprintf(hex, sizeof hex, "%016llx%016llx", static_cast<unsigned long long>(h.hi),
                static_cast<unsigned long long>(h.lo));
  return hex;
}

// The output shards: a new one whenever the last is full.
class CorpusWriter {
 public:
  CorpusWriter(std::string dir, int64_t shard_bytes) : dir_(std::move(dir)), most_(shard_bytes) {}
  void add(const std::string& line) {
    if (!file_) open();
    file_->write(line);
    bytes_ += static_cast<int64_t>(line.size());
    if (bytes_ >= most_) commit();
  }
  void commit() {
    if (!file_ && count_ == 0) open();  // an empty corpus is a file too
    if (file_) file_->commit();
    file_.reset();
    bytes_ = 0;
  }

 private:
  void open() {
    char name[32];
    std::snprintf(name, sizeof name, "/docs-%05d.jsonl.zst", count_++);
    file_ = std::make_unique<ZstdFile>(dir_ + name);
  }
  std::string dir_;
  int64_t most_, bytes_ = 0;
  int count_ = 0;
  std::unique_ptr<ZstdFile> file_;
};

// Counts the document in its duplicate stages; true when it stays.
bool keep_document(const Document& d, const Duplicate& twin, const std::vector<DedupKey>& keys, double threshold,
                   Funnel& funnel, Examples& examples, std::string& ledger) {
  auto bytes = static_cast<int64_t>(d.content.size());
  for (bool exact : {true, false}) {
    Stage& s = funnel.stage(exact ? "exact_duplicates" : "near_duplicates");
    s.in.add(bytes);
    if (twin.survivor >= 0 && twin.exact == exact) {
      const char* rule = exact ? "same_text" : "similar_text";
      s.dropped[rule].add(bytes);
      ledger +=
          ledger_line(d, s.name.c_str(), "drop", rule, twin.similarity, threshold, id_hex(keys[twin.survivor].id));
      if (examples.wants(s.name, rule, d)) examples.add(s.name, rule, d, example_text(d), twin.similarity, threshold);
      return false;
    }
    s.kept.add(bytes);
  }
  funnel.languages[language_group(d.language)].add(bytes);
  funnel.sources[d.source].add(bytes);
  return true;
}

void each_line(const std::string& path, const std::function<void(const std::string&)>& fn) {
  InputStream in(path);
  for (std::string line; in.read_line(line);) fn(line);
  if (!in.damage().empty()) fail("[data] ", path, ": ", in.damage(), "; delete it and run 'puyu data run' again");
}

Document parse_line(const std::string& line, const std::string& path) {
  std::string reason;
  auto d = parse_document(line, reason);
  if (!d) fail("[data] ", path, ": expected a document a line, got ", reason);
  return std::move(*d);
}

Funnel merge_units(const Run& run) {
  Funnel funnel;
  for (const char* name : {"read", "normalise", "language", "filter"}) funnel.stage(name);
  run.judges.name_stages(funnel);
  for (const char* name : {"exact_duplicates", "near_duplicates"}) funnel.stage(name);
  Examples examples;
  std::vector<DedupKey> keys = read_keys(run, funnel, examples);
  check_ids(keys);
  std::vector<Duplicate> twins = find_duplicates(keys, run.config.dedup);
  CorpusWriter corpus(run.dir, run.config.shard_bytes);
  ZstdFile ledger(run.dir + "/ledger.jsonl.zst");
  Progress progress("write the corpus", static_cast<int64_t>(keys.size()), "doc");
  size_t at = 0;
  std::string lines, key_path = run.dir + "/pii-key.jsonl.zst";
  std::unique_ptr<ZstdFile> pii;
  if (run.judges.safety.masks()) pii = std::make_unique<ZstdFile>(key_path);
  for (size_t u = 0; u < run.units.size(); ++u) {
    std::set<std::string> left;  // whose personal data stay in the key
    each_line(run.unit_path(u, ".ledger.zst"), [&](const std::string& line) { ledger.write(line + "\n"); });
    std::string path = run.unit_path(u, ".docs.zst");
    each_line(path, [&](const std::string& line) {
      lines.clear();
      Document d = parse_line(line, path);
      if (keep_document(d, twins[at++], keys, run.config.dedup.threshold, funnel, examples, lines)) {
        corpus.add(line + "\n");
        if (run.judges.safety.masks()) left.insert(d.id);
      }
      ledger.write(lines);
      progress.add(1);
    });
    if (run.judges.safety.masks())
      each_line(run.unit_path(u, ".pii.zst"), [&](const std::string& line) {
        if (left.count(Json::parse(line).at("id").as_string())) pii->write(line + "\n");
      });
  }
  if (pii) commit_private(*pii, key_path);
  corpus.commit();
  ledger.commit();
  write_file(run.dir + "/examples.json", examples.to_json().dump(1) + "\n");
  return funnel;
}

}  // namespace

std::vector<InputFile> list_inputs(const PipelineConfig& config) {
  namespace fs = std::filesystem;
  std::vector<SourceConfig> sources = config.source;
  for (const std::string& input : config.input) {
    if (!file_exists(input)) fail("[data] ", input, ": no such file or folder; name the input with --input=DIR");
    std::string clean = fs::path(input).lexically_normal().string();
    if (clean.size() > 1 && clean.ends_with('/')) clean.pop_back();
    std::string own = fs::path(clean).filename().string();
    if (!is_directory(clean)) {
      sources.push_back({own, clean, ""});
      continue;
    }
    bool loose = false;  // files beside the sub-folders make the folder itself one source
    std::vector<std::string> folders;
    for (const auto& e : fs::directory_iterator(clean)) {
      if (e.path().filename().string().starts_with('.')) continue;
      if (e.is_directory())
        folders.push_back(e.path().filename().string());
      else
        loose = true;
    }
    if (loose || folders.empty()) folders = {""};
    for (const std::string& f : folders)
      sources.push_back({f.empty() ? own : f, f.empty() ? clean : clean + "/" + f, ""});
  }
  std::vector<InputFile> files;
  for (const SourceConfig& s : sources) {
    if (s.name.empty() || !file_exists(s.path)) fail("[data] source '", s.name, "': no such path '", s.path, "'");
    add_source(files, s);
  }
  std::sort(files.begin(), files.end(),
            [](auto& a, auto& b) { return std::tie(a.source, a.name, a.path) < std::tie(b.source, b.name, b.path); });
  if (files.empty()) fail("[data] no input files; name folders with --input=DIR1,DIR2 or 'input' in the config");
  return files;
}

Funnel run_pipeline(const PipelineConfig& config, const std::string& out_dir, int workers) {
  Judges judges(config);
  std::string options = options_text(config) + judges.key();
  Run run{config, judges, list_inputs(config), {}, out_dir};
  run.units = cut_units(run.files, options);
  std::string keys;
  for (const Unit& u : run.units) keys += u.key;
  std::string key = hex_key(keys), marker = out_dir + "/run.json";
  if (file_exists(marker)) {
    Json done = Json::parse(read_file(marker), marker);
    if (done.get("key", std::string()) == key) {
      log_info("data: ", out_dir, " is complete, nothing to do");
      return funnel_from_json(Json::parse(read_file(out_dir + "/funnel.json"), out_dir + "/funnel.json"));
    }
    std::filesystem::remove(marker);
  }
  make_directories(out_dir + "/work");
  for (const auto& e : std::filesystem::directory_iterator(out_dir))
    if (std::string name = e.path().filename().string(); name.starts_with("docs-") || name.starts_with("pii-key"))
      std::filesystem::remove(e.path());
  run_units(run, workers);
  Funnel funnel = merge_units(run);
  write_file(out_dir + "/funnel.json", to_json(funnel).dump(2) + "\n");
  PipelineConfig shown = config;
  Json done = Json::Object{{"key", key}, {"config", to_json(list_fields(shown))}};
  write_file(marker, done.dump(2) + "\n");
  std::filesystem::remove_all(out_dir + "/work");
  return funnel;
}

std::vector<std::string> corpus_shards(const std::string& dir) {
  std::vector<std::string> out;
  for (const std::string& path : is_directory(dir) ? list_files(dir) : std::vector<std::string>{})
    if (std::string name = path.substr(path.rfind('/') + 1); name.starts_with("docs-") && name.ends_with(".jsonl.zst"))
      out.push_back(path);
  if (out.empty()) fail("[data] ", dir, ": no docs-*.jsonl.zst here; make them with 'puyu data run'");
  return out;
}

void for_each_document(const std::string& dir, const std::function<void(Document&&)>& fn) {
  for (const std::string& path : corpus_shards(dir))
    each_line(path, [&](const std::string& line) { fn(parse_line(line, path)); });
}

namespace {

// The duplicates that were dropped for a document.
std::string explain_survivor(const std::string& run_dir, const std::string& id) {
  std::string out;
  each_line(run_dir + "/ledger.jsonl.zst", [&](const std::string& line) {
    if (line.find(id) == std::string::npos) return;
    Json j = Json::parse(line, "ledger");
    if (j.get("of", std::string()) != id) return;
    out += cat("  stands for ", j.at("id").as_string(), " ", j.at("source").as_string(), "/", j.at("url").as_string(),
               ", similarity ", j.at("value").as_double(), "\n");
  });
  return out;
}

}  // namespace

std::string explain_document(const std::string& run_dir, const std::string& id_or_url) {
  std::string out;
  each_line(run_dir + "/ledger.jsonl.zst", [&](const std::string& line) {
    if (line.find(id_or_url) == std::string::npos) return;
    Json j = Json::parse(line, "ledger");
    std::string id = j.at("id").as_string(), url = j.at("url").as_string();
    if (id != id_or_url && url != id_or_url && j.at("source").as_string() + "/" + url != id_or_url) return;
    bool drop = j.at("action").as_string() == "drop";
    out += cat(id, " ", j.at("source").as_string(), "/", url, ": ", drop ? "dropped" : "changed", " in ",
               j.at("stage").as_string(), " by ", j.at("rule").as_string(), ", value ", j.at("value").as_double(),
               ", limit ", j.at("limit").as_double());
    if (const Json* of = j.find("of")) out += " (kept instead: " + of->as_string() + ")";
    out += "\n";
  });
  for_each_document(run_dir, [&](Document&& d) {
    if (d.id == id_or_url || d.url == id_or_url || d.source + "/" + d.url == id_or_url) {
      out += cat(d.id, " ", d.source, "/", d.url, ": kept, ", d.language, ", ", d.content.size(), " bytes");
      for (const auto& [name, score] : d.scores) out += cat(", ", name, " ", score);
      out += "\n" + explain_survivor(run_dir, d.id);
    }
  });
  return out;
}

}  // namespace puyu
