#include "data/corpus_plan.h"

#include <algorithm>
#include <cmath>

#include "base/config.h"
#include "base/error.h"
#include "data/dedup.h"

namespace puyu {
namespace {

constexpr double kUnitMemory = 64e6;   // of a worker: a unit's documents, its compressors, the rules' counters
constexpr double kLedgerShare = 0.02;  // of the text: ledger.jsonl.zst
constexpr double kKeyBytes = sizeof(DedupKey) + sizeof(Signature);

void positive(const char* name, double v) {
  if (!(v > 0) || !std::isfinite(v)) fail("[plan] ", name, ": expected a positive number, got ", v);
}

// One stage: cores and disk work at the same time, so the slower one is its time.
StagePlan stage(const char* name, double input, double output, double core_seconds, double read, double written,
                const DataCluster& c) {
  StagePlan s;
  s.name = name, s.input = input, s.output = output, s.disk_read = read, s.disk_written = written;
  const auto nodes = static_cast<double>(c.nodes), cores = static_cast<double>(c.nodes * c.cores);
  const double work = core_seconds / (cores * c.efficiency), disk = (read + written) / (nodes * c.disk_mbs * 1e6);
  s.seconds = std::max(work, disk), s.bound = work >= disk ? "cores" : "disk";
  s.memory = static_cast<double>(c.cores) * kUnitMemory;
  return s;
}

// Finding duplicates maps all keys and signatures and, band by band, holds a bucket entry for each document
// (data/dedup.cc). More than one machine: each takes a part of the bands, and signatures go to all; what does not fit
// is done in passes.
StagePlan cluster_stage(double documents, const DataCluster& c, const DataRates& r, int64_t& passes) {
  const DedupOptions options;
  const double keys = documents * kKeyBytes;
  const double each = kKeyBytes + static_cast<double>(kBucketRecordBytes) + sizeof(int64_t) + sizeof(Duplicate);
  const double bands = banding_of(options).bands, nodes = std::min(static_cast<double>(c.nodes), bands);
  const double need = documents * each, have = c.memory_gb * 1e9 * 0.8;
  StagePlan s;
  s.name = "duplicates", s.input = keys, s.output = documents * sizeof(Duplicate);
  passes = std::max<int64_t>(1, static_cast<int64_t>(std::ceil(need / have)));
  const auto times = static_cast<double>(passes);
  const double work = documents / (r.cluster_docs * nodes * c.efficiency);
  const double disk = keys * times / (c.disk_mbs * 1e6);  // every machine reads all of them
  const double network = nodes > 1 ? keys * times / (c.network_mbs * 1e6) : 0;
  s.seconds = std::max({work, disk, network});
  s.bound = s.seconds == work ? "cores" : s.seconds == disk ? "disk" : "network";
  s.memory = need / times, s.disk_read = keys * times * nodes, s.disk_written = s.output;
  return s;
}

}  // namespace

DataRates default_rates(const std::string& kind) {
  DataRates r;
  // Measured on one thread of an AMD EPYC (Zen 5): docs/benchmarks/plan.md. Duplicates: a fifth of the rate that 10,500
  // documents gave, for signatures that no cache holds.
  r.cluster_docs = 200e3;
  if (kind == "web") {
    r.origin = "89 crawled pages, one thread of an AMD EPYC (Zen 5); what is kept: WanJuan-CC (arXiv 2402.19282)";
    r.read_mbs = 85, r.filter_mbs = 17, r.sign_mbs = 70, r.write_mbs = 90, r.load_mbs = 440, r.tokenize_mbs = 48;
    r.text_share = 0.0235, r.kept_rules = 0.328, r.kept_dedup = 0.098;
    r.input_compression = 5.2, r.compression = 2.4, r.bytes_per_token = 4.5;
    return r;
  }
  if (kind == "text") {
    r.origin = "10,500 English and Chinese documents in JSONL, one thread of an AMD EPYC (Zen 5)";
    r.read_mbs = 250, r.filter_mbs = 38, r.sign_mbs = 60, r.write_mbs = 100, r.load_mbs = 520, r.tokenize_mbs = 73;
    r.text_share = 0.78, r.kept_rules = 0.85, r.kept_dedup = 1;
    r.input_compression = 2.1, r.compression = 2.1, r.bytes_per_token = 3.6;
    return r;
  }
  const std::string near = nearest(kind, {"web", "text"});
  fail("[plan] kind: expected web or text, got '", kind, "'", near.empty() ? "" : cat("; did you mean '", near, "'?"));
}

CorpusSize corpus_size(double bytes, double documents, double mean) {
  for (auto [name, v] : {std::pair{"bytes", bytes}, {"documents", documents}, {"mean_bytes", mean}})
    if (v < 0 || !std::isfinite(v)) fail("[plan] ", name, ": expected a positive number, got ", v);
  const int given = (bytes > 0) + (documents > 0) + (mean > 0);
  if (given < 2) fail("[plan] expected two of --bytes, --documents and --mean_bytes, got ", given);
  if (given == 3 && std::abs(documents * mean / bytes - 1) > 0.05)
    fail("[plan] ", documents, " documents of ", mean, " bytes are ", documents * mean, " bytes, not ", bytes,
         "; leave one of the three out");
  if (bytes == 0) bytes = documents * mean;
  if (documents == 0) documents = bytes / mean;
  if (documents > bytes) fail("[plan] ", documents, " documents in ", bytes, " bytes: less than a byte each");
  return {bytes, documents};
}

void DataCluster::validate() const {
  for (auto [name, v] : {std::pair{"nodes", nodes}, {"cores", cores}})
    if (v < 1 || v > (1 << 20)) fail("[plan] ", name, ": expected 1 to ", 1 << 20, ", got ", v);
  positive("disk_mbs", disk_mbs), positive("network_mbs", network_mbs), positive("memory_gb", memory_gb);
  if (!(efficiency > 0 && efficiency <= 1))
    fail("[plan] efficiency: expected a share above 0 and up to 1, got ", efficiency);
}

CorpusPlan plan_corpus(const CorpusSize& corpus, const DataCluster& c, const DataRates& r) {
  c.validate();
  for (auto [name, v] : {std::pair{"read_mbs", r.read_mbs},
                         {"filter_mbs", r.filter_mbs},
                         {"sign_mbs", r.sign_mbs},
                         {"write_mbs", r.write_mbs},
                         {"load_mbs", r.load_mbs},
                         {"tokenize_mbs", r.tokenize_mbs},
                         {"cluster_docs", r.cluster_docs},
                         {"text_share", r.text_share},
                         {"kept_rules", r.kept_rules},
                         {"kept_dedup", r.kept_dedup},
                         {"input_compression", r.input_compression},
                         {"compression", r.compression},
                         {"bytes_per_token", r.bytes_per_token}})
    positive(name, v);
  for (auto [name, v] : {std::pair{"kept_rules", r.kept_rules}, {"kept_dedup", r.kept_dedup}})
    if (v > 1) fail("[plan] ", name, ": expected a share up to 1, got ", v);
  CorpusPlan p;
  p.corpus = corpus;
  const double text = corpus.bytes * r.text_share, clean = text * r.kept_rules, left = clean * r.kept_dedup;
  const double input = corpus.bytes / r.input_compression, documents = corpus.documents * r.kept_rules;
  const double work = clean / r.compression, keys = documents * kKeyBytes, ledger = text * kLedgerShare;
  auto core = [](double bytes, double mbs) { return bytes / (mbs * 1e6); };
  p.stages.push_back(stage("read", corpus.bytes, text, core(corpus.bytes, r.read_mbs), input, 0, c));
  p.stages.push_back(stage("clean and filter", text, clean, core(text, r.filter_mbs), 0, ledger, c));
  p.stages.push_back(stage("sign", clean, keys, core(clean, r.sign_mbs), 0, keys, c));
  p.stages.push_back(stage("write", clean, work, core(clean, r.write_mbs), 0, work, c));
  p.stages.push_back(cluster_stage(documents, c, r, p.passes));
  p.stages.push_back(stage("merge", clean, left / r.compression, core(clean, r.load_mbs) + core(left, r.write_mbs),
                           work, left / r.compression, c));
  p.tokens = left / r.bytes_per_token, p.text = left;
  const double shards = p.tokens * 4;  // data/shard.h: 32-bit ids
  p.stages.push_back(stage("tokenize", left, shards, core(left, r.load_mbs) + core(left, r.tokenize_mbs),
                           left / r.compression, shards, c));
  for (const StagePlan& s : p.stages) p.seconds += s.seconds, p.memory = std::max(p.memory, s.memory);
  const double output = left / r.compression;
  p.disk = input + ledger + std::max(work + keys + output, output + shards);
  p.core_hours = p.seconds / 3600 * static_cast<double>(c.nodes * c.cores);
  return p;
}

}  // namespace puyu
