// A pipeline run on disk, inside of `data/pipeline.h`: which stages it has, what their tasks read and write.
//   read      a task a unit of input files        work/KEY.{docs.zst,ledger.zst,pii.zst,keys,signatures,json}
//   gather    the keys of all units as one list   work/merge/{keys,signatures,band-NN,starts}
//   exact     documents with the same text        work/merge/exact
//   bands     similar pairs, a task a band        work/merge/pairs-NN
//   clusters  who survives; output shards cut     work/merge/{twins,shards}, clusters.jsonl.zst
//   write     a task an output shard              docs-NNNNN.jsonl.zst, work/merge/write-NNNNN.{ledger.zst,json}
//   finish    sums                                ledger.jsonl.zst, pii-key.jsonl.zst, examples.json, funnel.json,
//   run.json
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/executor.h"
#include "data/pipeline.h"

namespace puyu {

class ZstdFile;
struct Judges;

struct Unit {
  size_t first, last;  // files [first, last)
  std::string key;     // hash of configuration, file names, sizes and times
};

struct Run {
  PipelineConfig config;
  std::string dir;
  std::vector<InputFile> files;
  std::vector<Unit> units;
  std::string key;                       // of all units: of the whole run
  std::shared_ptr<const Judges> judges;  // loaded before the workers start, who share the memory
  int concurrency = 1;                   // tasks that share dedup.memory_mb
  std::string unit_path(int64_t u, const char* ending) const {
    return dir + "/work/" + units[static_cast<size_t>(u)].key + ending;
  }
  std::string merge_path(const std::string& name) const { return dir + "/work/merge/" + name; }
};

// Lists inputs, cuts units; writes nothing.
Run open_run(const PipelineConfig& config, const std::string& dir);
constexpr const char* kStageNames[] = {"read", "gather", "exact", "bands", "clusters", "write", "finish"};
// Makes the folder ready: files of another configuration or input go, those of this one stay and the run goes on.
void prepare_folder(const Run& run);
// The tasks of a stage. What `write` has to do is known after `clusters` only.
TaskStage stage_tasks(const Run& run, const std::string& name);

TaskStage read_stage(const Run& run);

// For its owner's eyes: personal data (pipeline.cc).
void commit_private(ZstdFile& file, const std::string& path);
// A corpus and its lines (pipeline.cc).
void each_line(const std::string& path, size_t offset, const std::function<bool(const std::string&)>& fn);
Document parse_line(const std::string& line, const std::string& path);
std::string id_hex(const Hash128& h);

// The stages after `read` (pipeline_merge.cc).
void gather_keys(const Run& run);
void find_exact(const Run& run);
void find_pairs(const Run& run, int64_t band);
void find_clusters(const Run& run);
void write_shard(const Run& run, int64_t shard);
void finish_run(const Run& run);
int64_t shard_count(const Run& run);

}  // namespace puyu
