// From the units' documents and keys to the corpus: duplicates, output shards, ledger, sums.
#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/config.h"
#include "base/error.h"
#include "base/log.h"
#include "data/compress.h"
#include "data/examples.h"
#include "data/judges.h"
#include "data/pipeline_run.h"
#include "data/stages.h"
#include "data/work_array.h"

namespace puyu {
namespace {

std::string numbered(const char* prefix, int64_t n, int digits, const char* ending = "") {
  char out[48];
  std::snprintf(out, sizeof out, "%s%0*lld%s", prefix, digits, static_cast<long long>(n), ending);
  return out;
}

std::string docs_path(const Run& run, int64_t shard) { return run.dir + numbered("/docs-", shard, 5, ".jsonl.zst"); }

void mark(const Run& run, const std::string& name, Json::Object what) {
  write_file(run.merge_path(name), Json(std::move(what)).dump());
}

Json read_json(const std::string& path) { return Json::parse(read_file(path), path); }

void check_ids(std::vector<Hash128> ids) {
  std::sort(ids.begin(), ids.end());
  if (std::adjacent_find(ids.begin(), ids.end()) != ids.end())
    fail(
        "[data] two documents have the same id: two inputs of the same source and path (name the sources apart with "
        "[[source]]), or with keep_ids the same document twice");
}

// The keys and signatures of all units, mapped; checksums were verified when they were gathered.
struct AllKeys {
  WorkArray<DedupKey> keys;
  WorkArray<Signature> signatures;
  DedupView view;
  explicit AllKeys(const Run& run)
      : keys(run.merge_path("keys"), false), signatures(run.merge_path("signatures"), false) {
    view = {keys.data(), signatures.data(), keys.size()};
  }
};

BucketSpace space_for(const Run& run, const std::string& name, int64_t documents) {
  int64_t each = (run.config.dedup.memory_mb << 20) / std::max(1, run.concurrency);
  return {each - documents / 8, run.merge_path("scratch-" + name)};
}

std::vector<bool> exact_flags(const Run& run, int64_t documents) {
  std::vector<bool> out(static_cast<size_t>(documents));
  for (const SimilarPair& p : WorkArray<SimilarPair>(run.merge_path("exact"))) out[static_cast<size_t>(p.worse)] = true;
  return out;
}

// Every cluster a line: its survivor and what was dropped for it. A text dropped as an exact copy of one that is itself
// near another stands with the last of them.
void write_clusters(const Run& run, const DedupView& v, const std::vector<Duplicate>& twins) {
  std::vector<std::pair<int64_t, int64_t>> members;  // survivor, document
  for (int64_t i = 0; i < v.count; ++i) {
    int64_t root = twins[i].survivor;
    if (root < 0) continue;
    if (twins[root].survivor >= 0) root = twins[root].survivor;
    members.emplace_back(root, i);
  }
  std::sort(members.begin(), members.end());
  ZstdFile out(run.dir + "/clusters.jsonl.zst");
  for (size_t i = 0; i < members.size();) {
    int64_t root = members[i].first;
    Json dropped = Json::array();
    for (; i < members.size() && members[i].first == root; ++i) {
      const Duplicate& t = twins[members[i].second];
      dropped.push(Json::Object{{"id", id_hex(v.keys[members[i].second].id)},
                                {"of", id_hex(v.keys[t.survivor].id)},
                                {"similarity", static_cast<double>(t.similarity)},
                                {"exact", t.exact}});
    }
    out.write(Json(Json::Object{{"survivor", id_hex(v.keys[root].id)}, {"dropped", std::move(dropped)}}).dump() + "\n");
  }
  out.commit();
}

// Ends of the output shards in documents: a shard is full with the kept document that brings it to shard_bytes; dropped
// documents behind the last kept one belong to the last shard.
std::vector<int64_t> cut_shards(const DedupView& v, const std::vector<Duplicate>& twins, int64_t shard_bytes) {
  std::vector<int64_t> ends;
  int64_t bytes = 0;
  bool open = false;
  for (int64_t i = 0; i < v.count; ++i) {
    if (twins[i].survivor >= 0) continue;
    open = true;
    bytes += static_cast<int64_t>(v.keys[i].line_bytes);
    if (bytes < shard_bytes) continue;
    ends.push_back(i + 1);
    bytes = 0, open = false;
  }
  if (open || ends.empty()) ends.push_back(v.count);  // an empty corpus is a file too
  ends.back() = v.count;
  return ends;
}

// Counts the document in its duplicate stages; true when it stays.
bool keep_document(const Document& d, const Duplicate& twin, const DedupKey* keys, const PipelineConfig& config,
                   Funnel& funnel, Examples& examples, std::string& ledger) {
  auto bytes = static_cast<int64_t>(d.content.size());
  for (bool exact : {true, false}) {
    const char* name = exact ? "exact_duplicates" : "near_duplicates";
    if (!has_stage(config, name)) continue;
    Stage& s = funnel.stage(name);
    s.in.add(bytes);
    if (twin.survivor >= 0 && twin.exact == exact) {
      const char* rule = exact ? "same_text" : "similar_text";
      s.dropped[rule].add(bytes);
      auto like = static_cast<double>(twin.similarity);
      ledger += ledger_line(d, name, "drop", rule, like, config.dedup.threshold, id_hex(keys[twin.survivor].id));
      if (examples.wants(name, rule, d)) examples.add(name, rule, d, example_text(d), like, config.dedup.threshold);
      return false;
    }
    s.kept.add(bytes);
  }
  funnel.languages[language_group(d.language)].add(bytes);
  funnel.sources[d.source].add(bytes);
  return true;
}

// Where in a unit's documents to begin for its document number `want`: a block's first document and offset.
std::pair<int64_t, size_t> block_before(const Json& marker, int64_t want) {
  std::pair<int64_t, size_t> at{0, 0};
  for (const Json& b : marker.at("blocks").as_array()) {
    int64_t first = b.as_array().at(0).as_int();
    if (first <= want) at = {first, static_cast<size_t>(b.as_array().at(1).as_int())};
  }
  return at;
}

// What the units' masked values stood for, of those documents that stay.
void write_pii_key(const Run& run) {
  if (!run.judges->safety.masks()) return;
  WorkArray<DedupKey> keys(run.merge_path("keys"));
  WorkArray<Duplicate> twins(run.merge_path("twins"));
  WorkArray<int64_t> starts(run.merge_path("starts"));
  const std::string out_path = run.dir + "/pii-key.jsonl.zst";
  ZstdFile out(out_path);
  for (int64_t u = 0; u + 1 < starts.size(); ++u) {
    int64_t i = starts[u];
    const std::string path = run.unit_path(u, ".pii.zst");
    each_line(path, 0, [&](const std::string& line) {
      const Hash128 id = parse_id(Json::parse(line, path).at("id").as_string());
      while (i < starts[u + 1] && !(keys[i].id == id)) ++i;  // both in the order of the unit
      if (i == starts[u + 1]) fail("[data] ", path, ": not of its unit's documents; delete ", run.dir, "/work");
      if (twins[i].survivor < 0) out.write(line + "\n");
      return true;
    });
  }
  commit_private(out, out_path);
}

void append_zstd(AtomicFile& out, const std::string& path) {
  MappedFile part(path);
  out.write(part.bytes());
}

}  // namespace

void gather_keys(const Run& run) {
  make_directories(run.merge_path(""));
  ArrayWriter keys(run.merge_path("keys"), sizeof(DedupKey));
  ArrayWriter signatures(run.merge_path("signatures"), sizeof(Signature));
  const Banding banding = banding_of(run.config.dedup);
  const bool near = has_stage(run.config, "near_duplicates");
  std::vector<std::unique_ptr<ArrayWriter>> bands;
  for (int b = 0; near && b < banding.bands; ++b)
    bands.push_back(std::make_unique<ArrayWriter>(run.merge_path(numbered("band-", b, 3)), sizeof(uint64_t)));
  std::vector<int64_t> starts = {0};
  std::vector<Hash128> ids;
  std::vector<uint64_t> hashes;
  for (int64_t u = 0; u < static_cast<int64_t>(run.units.size()); ++u) {
    WorkArray<DedupKey> k(run.unit_path(u, ".keys"));
    WorkArray<Signature> s(run.unit_path(u, ".signatures"));
    if (near && k.size() != s.size()) fail("[data] ", run.unit_path(u, ".keys"), ": not as many as the signatures");
    keys.add(k.data(), static_cast<size_t>(k.size()));
    signatures.add(s.data(), static_cast<size_t>(s.size()));
    for (const DedupKey& key : k) ids.push_back(key.id);
    for (int b = 0; near && b < banding.bands; ++b) {
      hashes.clear();
      for (const Signature& signature : s) hashes.push_back(band_hash(signature, banding, b));
      bands[b]->add(hashes.data(), hashes.size());
    }
    starts.push_back(starts.back() + k.size());
  }
  check_ids(std::move(ids));
  if (near) log_info("dedup: ", format_banding(banding, run.config.dedup.threshold));
  log_info("dedup: ", format_plan(plan_dedup(starts.back(), run.config.dedup, run.concurrency), starts.back()));
  keys.commit();
  signatures.commit();
  for (auto& b : bands) b->commit();
  write_array(run.merge_path("starts"), starts);
  mark(run, "gather.json", {{"documents", starts.back()}});
}

void find_exact(const Run& run) {
  AllKeys all(run);
  std::vector<SimilarPair> pairs;
  if (has_stage(run.config, "exact_duplicates")) {
    BucketSpace space = space_for(run, "exact", all.view.count);
    pairs = exact_pairs(all.view, run.config.dedup, space);
  }
  write_array(run.merge_path("exact"), pairs);
}

void find_pairs(const Run& run, int64_t band) {
  AllKeys all(run);
  WorkArray<uint64_t> hashes(run.merge_path(numbered("band-", band, 3)));
  std::vector<bool> skip = exact_flags(run, all.view.count);
  BucketSpace space = space_for(run, std::to_string(band), all.view.count);
  write_array(run.merge_path(numbered("pairs-", band, 3)),
              near_pairs(all.view, hashes.data(), skip, run.config.dedup, space));
}

void find_clusters(const Run& run) {
  AllKeys all(run);
  Clusters clusters(all.view, run.config.dedup);
  for (const SimilarPair& p : WorkArray<SimilarPair>(run.merge_path("exact"))) clusters.add_exact(p);
  for (int64_t b = 0; b < stage_tasks(run, "bands").count; ++b)
    for (const SimilarPair& p : WorkArray<SimilarPair>(run.merge_path(numbered("pairs-", b, 3)))) clusters.add_near(p);
  std::vector<Duplicate> twins = clusters.finish();
  write_clusters(run, all.view, twins);
  write_array(run.merge_path("twins"), twins);
  write_array(run.merge_path("shards"), cut_shards(all.view, twins, run.config.shard_bytes));
}

int64_t shard_count(const Run& run) { return WorkArray<int64_t>(run.merge_path("shards")).size(); }

void write_shard(const Run& run, int64_t shard) {
  AllKeys all(run);
  WorkArray<Duplicate> twins(run.merge_path("twins"), false);
  WorkArray<int64_t> ends(run.merge_path("shards")), starts(run.merge_path("starts"));
  const int64_t from = shard ? ends[shard - 1] : 0, to = ends[shard];
  ZstdFile docs(docs_path(run, shard)), ledger(run.merge_path(numbered("write-", shard, 5, ".ledger.zst")));
  Funnel funnel;
  Examples examples;
  std::string lines;
  int64_t u = std::upper_bound(starts.begin(), starts.end(), from) - starts.begin() - 1;
  for (; u + 1 < starts.size() && starts[u] < to; ++u) {
    if (starts[u] == starts[u + 1]) continue;
    std::string path = run.unit_path(u, ".docs.zst");
    auto [first, offset] = block_before(read_json(run.unit_path(u, ".json")), from - starts[u]);
    int64_t at = starts[u] + first;
    each_line(path, offset, [&](const std::string& line) {
      int64_t i = at++;
      if (i < from) return true;
      if (i >= to) return false;
      lines.clear();
      if (keep_document(parse_line(line, path), twins[i], all.keys.data(), run.config, funnel, examples, lines)) {
        docs.write(line);
        docs.write("\n");
      }
      if (!lines.empty()) ledger.write(lines);
      return true;
    });
    if (at < std::min(to, starts[u + 1])) fail("[data] ", path, ": documents are missing; delete it and run again");
  }
  docs.commit();
  ledger.commit();
  mark(run, numbered("write-", shard, 5, ".json"), {{"funnel", to_json(funnel)}, {"examples", examples.to_json()}});
}

void finish_run(const Run& run) {
  Funnel funnel;
  Examples examples;
  AtomicFile ledger(run.dir + "/ledger.jsonl.zst");
  auto add = [&](const Json& marker) {
    funnel.merge(funnel_from_json(marker.at("funnel")));
    examples.merge(Examples::from_json(marker.at("examples")));
  };
  funnel.stage("read");
  for (const char* name : {"normalise", "language", "filter"})
    if (has_stage(run.config, name)) funnel.stage(name);
  run.judges->name_stages(funnel);
  for (int64_t u = 0; u < static_cast<int64_t>(run.units.size()); ++u) {
    add(read_json(run.unit_path(u, ".json")));
    append_zstd(ledger, run.unit_path(u, ".ledger.zst"));
  }
  for (const char* name : {"exact_duplicates", "near_duplicates"})
    if (has_stage(run.config, name)) funnel.stage(name);
  for (int64_t s = 0; s < shard_count(run); ++s) {
    add(read_json(run.merge_path(numbered("write-", s, 5, ".json"))));
    append_zstd(ledger, run.merge_path(numbered("write-", s, 5, ".ledger.zst")));
  }
  ledger.commit();
  write_pii_key(run);
  write_file(run.dir + "/examples.json", examples.to_json().dump(1) + "\n");
  write_file(run.dir + "/funnel.json", to_json(funnel).dump(2) + "\n");
  PipelineConfig shown = run.config;
  Json done = Json::Object{{"key", run.key}, {"config", to_json(list_fields(shown))}};
  write_file(run.dir + "/run.json", done.dump(2) + "\n");
}

TaskStage stage_tasks(const Run& run, const std::string& name) {
  if (name == "read") return read_stage(run);
  auto documents_bytes = [&run](int64_t) {
    MappedFile keys(run.merge_path("keys"));
    return static_cast<int64_t>(keys.size() / sizeof(DedupKey) * sizeof(Signature));
  };
  auto marked = [&run](std::string file) {
    return [&run, file](int64_t) { return file_exists(run.merge_path(file)); };
  };
  auto itself = [name](int64_t i) { return cat(name, " ", i); };
  if (name == "gather")
    return {name, 1, marked("gather.json"), [&run](int64_t) { gather_keys(run); }, [](int64_t) { return 0; }, itself};
  if (name == "exact") return {name, 1, marked("exact"), [&run](int64_t) { find_exact(run); }, documents_bytes, itself};
  if (name == "bands") {
    int64_t n = has_stage(run.config, "near_duplicates") ? banding_of(run.config.dedup).bands : 0;
    auto done = [&run](int64_t b) { return file_exists(run.merge_path(numbered("pairs-", b, 3))); };
    return {name, n, done, [&run](int64_t b) { find_pairs(run, b); }, documents_bytes, itself};
  }
  if (name == "clusters")
    return {name, 1, marked("shards"), [&run](int64_t) { find_clusters(run); }, documents_bytes, itself};
  if (name == "write") {
    auto done = [&run](int64_t s) { return file_exists(run.merge_path(numbered("write-", s, 5, ".json"))); };
    auto size = [&run](int64_t s) {
      WorkArray<int64_t> ends(run.merge_path("shards"));
      WorkArray<DedupKey> keys(run.merge_path("keys"), false);
      int64_t bytes = 0;
      for (int64_t i = s ? ends[s - 1] : 0; i < ends[s]; ++i) bytes += static_cast<int64_t>(keys[i].line_bytes);
      return bytes;
    };
    return {name, shard_count(run), done, [&run](int64_t s) { write_shard(run, s); }, size, itself};
  }
  if (name == "finish") {
    auto done = [&run](int64_t) { return file_exists(run.dir + "/run.json"); };
    return {name, 1, done, [&run](int64_t) { finish_run(run); }, [](int64_t) { return 0; }, itself};
  }
  fail("[data] no stage '", name, "'");
}

}  // namespace puyu
