// What cleaning a corpus takes before it is started: time, memory and disk of each stage on a given cluster, from a
// table of rates. The rates are measured by running the stages themselves over a sample (measure_rates), or are those
// of default_rates(), whose origin they say. On paper to any size: docs/plan.md has the equations.
#pragma once
#include <string>
#include <vector>

namespace puyu {

// Of one core, in bytes of CPU time a second; text: UTF-8 that comes out of reading.
struct DataRates {
  std::string origin;
  double read_mbs = 0, filter_mbs = 0, sign_mbs = 0, write_mbs = 0, load_mbs = 0, tokenize_mbs = 0;
  double cluster_docs = 0;
  double text_share = 1, kept_rules = 1, kept_dedup = 1;
  double input_compression = 1, compression = 3, bytes_per_token = 4;
  template <class F>
  void fields(F&& f) {
    f("origin", origin, "where these numbers come from");
    f("read_mbs", read_mbs, "reading and extracting: MB/s of uncompressed input");
    f("filter_mbs", filter_mbs, "normalising, language, rules: MB/s of text");
    f("sign_mbs", sign_mbs, "MinHash signatures: MB/s of text");
    f("write_mbs", write_mbs, "JSON lines and zstd: MB/s of text");
    f("load_mbs", load_mbs, "reading those again: MB/s of text");
    f("tokenize_mbs", tokenize_mbs, "MB/s of text");
    f("cluster_docs", cluster_docs, "finding duplicates among signatures: documents a second");
    f("text_share", text_share, "text in a byte of input");
    f("kept_rules", kept_rules, "share of the text that the rules keep");
    f("kept_dedup", kept_dedup, "share of that which deduplication keeps");
    f("input_compression", input_compression, "bytes of input in a byte on disk");
    f("compression", compression, "bytes of text in a byte of .zst");
    f("bytes_per_token", bytes_per_token, "bytes of text a token");
  }
};
// kind: "web" (pages in .warc.gz) or "text" (JSONL, books, code). Error on others.
DataRates default_rates(const std::string& kind);
// Runs the stages on one thread over the first files of a folder, up to most_bytes of them, and counts CPU time.
// Without a tokenizer its rate and bytes a token stay those of `base`.
DataRates measure_rates(const std::string& dir, const std::string& tokenizer, int64_t most_bytes,
                        const DataRates& base);

struct CorpusSize {
  double bytes = 0, documents = 0;  // uncompressed input
};
// Two of the three are enough; 0 = not given. Error when all three do not agree, or one is negative.
CorpusSize corpus_size(double bytes, double documents, double mean_bytes);

struct DataCluster {
  int64_t nodes = 1, cores = 2;
  double disk_mbs = 500, network_mbs = 1250, memory_gb = 16, efficiency = 0.85;
  template <class F>
  void fields(F&& f) {
    f("nodes", nodes, "machines");
    f("cores", cores, "cores of a machine");
    f("disk_mbs", disk_mbs, "disk or file system: MB/s of each machine");
    f("network_mbs", network_mbs, "between machines: MB/s of each");
    f("memory_gb", memory_gb, "memory of a machine, 1e9 bytes");
    f("efficiency", efficiency, "share of the cores' time that is work: starts, stragglers, the last units");
  }
  void validate() const;
};

struct StagePlan {
  std::string name, bound;       // bound: cores, disk, network or memory: what the time is that of
  double input = 0, output = 0;  // bytes, as they are counted: input or text
  double seconds = 0;
  double memory = 0;                       // of a machine
  double disk_read = 0, disk_written = 0;  // of the whole cluster
};
struct CorpusPlan {
  CorpusSize corpus;
  std::vector<StagePlan> stages;
  double seconds = 0, memory = 0, disk = 0;  // memory: of the fullest machine; disk: at the fullest moment, input too
  double text = 0, tokens = 0, core_hours = 0;
  int64_t passes = 1;  // over the signatures, so that the buckets fit in memory
};
CorpusPlan plan_corpus(const CorpusSize& corpus, const DataCluster& cluster, const DataRates& rates);

}  // namespace puyu
