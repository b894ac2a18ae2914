#include "data/pipeline.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "base/config.h"
#include "base/log.h"
#include "base/signal.h"
#include "data/code_order.h"
#include "data/code_tokens.h"
#include "data/compress.h"
#include "data/examples.h"
#include "data/judges.h"
#include "data/pipeline_run.h"
#include "data/stages.h"
#include "data/work_array.h"

namespace puyu {
namespace {

constexpr int kVersion = 5;  // raised when the same input and options give other bytes
constexpr int64_t kUnitBytes = int64_t{1} << 20;
constexpr size_t kUnitFiles = 256;
constexpr size_t kBlockBytes = size_t{16} << 20;  // of a unit's documents: where reading may begin

std::string hex_key(std::string_view text) {
  char out[17];
  std::snprintf(out, sizeof out, "%016llx", static_cast<unsigned long long>(hash64(text)));
  return out;
}

// The configuration's part of the key: everything but where the input lies.
std::string options_text(PipelineConfig config) {
  config.input.clear(), config.source.clear();
  return cat(kVersion, to_json(list_fields(config)).dump());
}

std::string file_stamp(const InputFile& f) {
  std::string what = cat(f.source, "\n", f.name, "\n", f.language, "\n", f.version, "\n");
  if (is_directory(f.path)) return what;  // a repository: its commit says all
  struct stat st{};
  stat(f.path.c_str(), &st);
  return cat(what, st.st_size, " ", st.st_mtim.tv_sec, " ", st.st_mtim.tv_nsec, "\n");
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

// The documents of a unit, in blocks that can be read from their beginning.
class UnitDocuments {
 public:
  explicit UnitDocuments(const std::string& path) : file_(path, -3) {}  // quick: it is read once and removed
  void add(const std::string& line) {
    if (in_block_ >= kBlockBytes) {
      blocks_.push(Json::Array{Json(count_), Json(static_cast<int64_t>(file_.end_frame()))});
      in_block_ = 0;
    }
    file_.write(line);
    in_block_ += line.size(), ++count_;
  }
  Json commit() {
    file_.commit();
    return std::move(blocks_);
  }

 private:
  ZstdFile file_;
  Json blocks_ = Json::array();
  int64_t count_ = 0;
  size_t in_block_ = 0;
};

void run_unit(const Run& run, int64_t u) {
  Stages stages(run.config, *run.judges);
  UnitDocuments docs(run.unit_path(u, ".docs.zst"));
  std::vector<DedupKey> keys;
  std::vector<Signature> signatures;
  std::unique_ptr<ZstdFile> pii;
  if (run.judges->safety.masks()) pii = std::make_unique<ZstdFile>(run.unit_path(u, ".pii.zst"));
  const bool near = has_stage(run.config, "near_duplicates");
  const Unit& unit = run.units[static_cast<size_t>(u)];
  for (size_t f = unit.first; f < unit.last; ++f) {
    read_documents(
        run.files[f], run.config.reader,
        [&](Document&& d) {
          if (!stages.process(d)) return;
          const bool code = language_group(d.language) == "code";
          if (near)
            signatures.push_back(code ? code_minhash(d.language, d.content, run.config.dedup.ngram)
                                      : minhash(d.content, run.config.dedup.ngram));
          if (code && run.config.code_markdown) d.content = file_markdown({d.url, d.language, std::move(d.content)});
          std::string line = to_json_line(d);
          keys.push_back({parse_id(d.id), hash128(d.content), date_number(d.date),
                          static_cast<uint32_t>(std::min<size_t>(d.content.size(), UINT32_MAX)), line.size()});
          docs.add(line);
          if (!d.pii.empty()) pii->write(pii_line(d));
        },
        [&](ReadFailure&& failure) { stages.fail(failure); });
    if (interrupted()) return;
  }
  Json blocks = docs.commit();
  ZstdFile ledger(run.unit_path(u, ".ledger.zst"));
  ledger.write(stages.ledger);
  ledger.commit();
  if (pii) commit_private(*pii, run.unit_path(u, ".pii.zst"));
  write_array(run.unit_path(u, ".keys"), keys);
  write_array(run.unit_path(u, ".signatures"), signatures);
  Json marker = Json::Object{
      {"blocks", std::move(blocks)}, {"funnel", to_json(stages.funnel)}, {"examples", stages.examples.to_json()}};
  write_file(run.unit_path(u, ".json"), marker.dump());  // last: the unit is done when this is there
}

}  // namespace

TaskStage read_stage(const Run& run) {
  auto bytes = [&run](int64_t u) {
    int64_t sum = 0;
    const Unit& unit = run.units[static_cast<size_t>(u)];
    for (size_t f = unit.first; f < unit.last; ++f) sum += run.files[f].bytes;
    return sum;
  };
  auto subject = [&run](int64_t u) {
    const Unit& unit = run.units[static_cast<size_t>(u)];
    return cat(run.files[unit.first].path,
               unit.last - unit.first > 1 ? cat(" and ", unit.last - unit.first - 1, " more") : std::string());
  };
  return {"read",
          static_cast<int64_t>(run.units.size()),
          [&run](int64_t u) { return file_exists(run.unit_path(u, ".json")); },
          [&run](int64_t u) { run_unit(run, u); },
          bytes,
          subject};
}

void prepare_folder(const Run& run) {
  namespace fs = std::filesystem;
  const std::string plan = run.dir + "/work/plan.json";
  make_directories(run.dir + "/work");
  // What a killed process was writing lies beside its target under a temporary name.
  std::vector<fs::path> left_over;
  for (const auto& e : fs::recursive_directory_iterator(run.dir))
    if (e.path().filename().string().find(".tmp-") != std::string::npos) left_over.push_back(e.path());
  for (const fs::path& path : left_over) fs::remove(path);
  if (file_exists(plan) && Json::parse(read_file(plan), plan).get("key", std::string()) == run.key) return;
  fs::remove(run.dir + "/run.json");
  fs::remove_all(run.dir + "/work/merge");
  for (const auto& e : fs::directory_iterator(run.dir))
    if (std::string name = e.path().filename().string(); name.starts_with("docs-") || name.starts_with("pii-key"))
      fs::remove(e.path());
  PipelineConfig shown = run.config;
  write_file(run.dir + "/work/config.toml", to_toml(list_fields(shown)));
  write_file(plan, Json(Json::Object{{"key", run.key}}).dump() + "\n");
}

std::string id_hex(const Hash128& h) {
  char hex[33];
  std::snprintf(hex, sizeof hex, "%016llx%016llx", static_cast<unsigned long long>(h.hi),
                static_cast<unsigned long long>(h.lo));
  return hex;
}

void each_line(const std::string& path, size_t offset, const std::function<bool(const std::string&)>& fn) {
  InputStream in(path, offset);
  for (std::string line; in.read_line(line);)
    if (!fn(line)) return;
  if (!in.damage().empty()) fail("[data] ", path, ": ", in.damage(), "; delete it and run 'puyu data run' again");
}

Document parse_line(const std::string& line, const std::string& path) {
  std::string reason;
  auto d = parse_document(line, reason);
  if (!d) fail("[data] ", path, ": expected a document a line, got ", reason);
  return std::move(*d);
}

namespace {

// `safe`, `quality` and `decontaminate` are on when lists or models are named for them; the others always.
bool is_configured(const PipelineConfig& c, std::string_view stage) {
  if (stage == "safe") return !c.safe.domains.empty() || !c.safe.words.empty() || !c.safe.pii.empty();
  if (stage == "quality")
    return !c.quality.classifier.empty() || !c.quality.perplexity.empty() || c.quality.code.is_on();
  if (stage == "decontaminate") return !c.decontaminate.benchmarks.empty();
  return true;
}

bool is_named(const PipelineConfig& c, std::string_view stage) {
  return std::find(c.stages.begin(), c.stages.end(), stage) != c.stages.end();
}

void check_config(const PipelineConfig& c) {
  const std::vector<std::string> known = PipelineConfig().stages;  // all of them
  std::string list;
  for (const std::string& name : known) list += (list.empty() ? "" : ", ") + name;
  for (const std::string& name : c.stages)
    if (std::find(known.begin(), known.end(), name) == known.end())
      fail("[data] stages: no stage '", name, "'; they are ", list);
  for (const char* name : {"safe", "quality", "decontaminate"})
    if (is_configured(c, name) && !is_named(c, name))
      fail("[data] stages: ", name, " has lists or models but does not run; name it in stages or leave them out");
  if (is_named(c, "language") && c.languages.empty())
    fail("[data] languages: none is named, so that no document would be kept; name some, as 'en,zh,code', or leave ",
         "'language' out of stages");
  if (c.shard_bytes < 1) fail("[data] shard_bytes must be at least 1, got ", c.shard_bytes);
  banding_of(c.dedup);
  survivor_rule(c.dedup.survivor);
}

}  // namespace

// For its owner's eyes.
void commit_private(ZstdFile& file, const std::string& path) {
  file.commit();
  std::filesystem::permissions(path, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

bool has_stage(const PipelineConfig& config, const char* name) {
  return is_named(config, name) && is_configured(config, name);
}

Run open_run(const PipelineConfig& config, const std::string& dir) {
  check_config(config);
  auto judges = std::make_shared<const Judges>(config);
  Run run{config, dir, list_inputs(config), {}, "", judges};
  run.units = cut_units(run.files, options_text(config) + judges->key());
  std::string keys;
  for (const Unit& u : run.units) keys += u.key;
  run.key = hex_key(keys);
  return run;
}

Funnel read_funnel(const Run& run) {
  const std::string path = run.dir + "/funnel.json";
  Funnel funnel = funnel_from_json(Json::parse(read_file(path), path));
  if (funnel.stages.empty() || funnel.stages.back().kept.documents > 0) return funnel;
  for (const Stage& s : funnel.stages) {
    if (s.kept.documents > 0) continue;
    std::string most = "nothing";
    int64_t documents = 0;
    for (const auto& [rule, amount] : s.dropped)
      if (amount.documents > documents) most = rule, documents = amount.documents;
    log_warn("data: no document is left: stage ", s.name, " dropped the last; its rule ", most, " dropped ", documents,
             " (puyu data report ", run.dir, ")");
    break;
  }
  return funnel;
}

Funnel run_pipeline(const PipelineConfig& config, const std::string& out_dir, int workers) {
  Run run = open_run(config, out_dir);
  run.concurrency = workers;
  std::string marker = out_dir + "/run.json";
  auto result = [&] { return read_funnel(run); };
  if (file_exists(marker) && Json::parse(read_file(marker), marker).get("key", std::string()) == run.key) {
    log_info("data: ", out_dir, " is complete, nothing to do");
    return result();
  }
  prepare_folder(run);
  for (const char* name : kStageNames) run_stage(stage_tasks(run, name), workers);
  std::filesystem::remove_all(out_dir + "/work");
  return result();
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
    each_line(path, 0, [&](const std::string& line) {
      fn(parse_line(line, path));
      return true;
    });
}

namespace {

// The duplicates that were dropped for a document.
std::string explain_survivor(const std::string& run_dir, const std::string& id) {
  std::string out;
  each_line(run_dir + "/ledger.jsonl.zst", 0, [&](const std::string& line) {
    if (line.find(id) == std::string::npos) return true;
    Json j = Json::parse(line, "ledger");
    if (j.get("of", std::string()) != id) return true;
    out += cat("  stands for ", j.at("id").as_string(), " ", j.at("source").as_string(), "/", j.at("url").as_string(),
               ", similarity ", j.at("value").as_double(), "\n");
    return true;
  });
  return out;
}

}  // namespace

std::string explain_document(const std::string& run_dir, const std::string& id_or_url) {
  std::string out;
  each_line(run_dir + "/ledger.jsonl.zst", 0, [&](const std::string& line) {
    if (line.find(id_or_url) == std::string::npos) return true;
    Json j = Json::parse(line, "ledger");
    std::string id = j.at("id").as_string(), url = j.at("url").as_string();
    if (id != id_or_url && url != id_or_url && j.at("source").as_string() + "/" + url != id_or_url) return true;
    bool drop = j.at("action").as_string() == "drop";
    out += cat(id, " ", j.at("source").as_string(), "/", url, ": ", drop ? "dropped" : "changed", " in ",
               j.at("stage").as_string(), " by ", j.at("rule").as_string(), ", value ", j.at("value").as_double(),
               ", limit ", j.at("limit").as_double());
    if (const Json* of = j.find("of")) out += " (kept instead: " + of->as_string() + ")";
    out += "\n";
    return true;
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
