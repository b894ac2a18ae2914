// Duplicates, exact and near, among documents of which only keys and signatures are known (data/minhash.h, data/lsh.h;
// InternLM2 report 3.1). Of documents with the same text one survives; what is left is compared where bands of the
// signatures agree, and every connected set of similar documents (a cluster) keeps one: the newest, or by another rule.
// Ties go to the longest, then to the smallest id, so the result depends on the documents only: not on their order, on
// workers or on how the input is cut. Each step is a pure function of files or arrays and runs anywhere.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/hash.h"
#include "data/buckets.h"
#include "data/lsh.h"

namespace puyu {

struct DedupOptions {
  double threshold = 0.7;
  int bands = 0, rows = 0, ngram = 5;
  std::string survivor = "newest";
  int64_t memory_mb = 1024;
  template <class F>
  void fields(F&& f) {
    f("threshold", threshold, "documents at least this similar are duplicates");
    f("bands", bands, "bands of the locality-sensitive hashing, bands x rows <= 128; 0: chosen for the threshold");
    f("rows", rows, "rows a band: more rows, fewer candidates; 0: chosen for the threshold");
    f("ngram", ngram, "words (ideographs in Chinese) a shingle");
    f("survivor", survivor, "who stays of a cluster: newest, oldest, longest or smallest_id");
    f("memory_mb", memory_mb, "memory for finding duplicates; what does not fit is sorted on disk");
  }
};

// What is known of a document when duplicates are sought. Plain bytes: written to disk as it stands.
struct DedupKey {
  Hash128 id{};
  Hash128 content{};
  uint32_t date = 0;        // yyyymmdd, 0 = unknown (older than any)
  uint32_t length = 0;      // bytes of text
  uint64_t line_bytes = 0;  // of its line of JSON
};
static_assert(sizeof(DedupKey) == 48);

struct DedupView {
  const DedupKey* keys = nullptr;
  const Signature* signatures = nullptr;
  int64_t count = 0;
};

struct Duplicate {
  int64_t survivor = -1;   // index of the document that stays; -1: this one stays itself
  float similarity = 1.0;  // to the survivor
  bool exact = false;
};

struct SimilarPair {
  int64_t better, worse;
};

// The bands and rows in use; Error when the options make no sense.
Banding banding_of(const DedupOptions& options);
// True when a is to be kept rather than b.
using Preference = std::function<bool(const DedupKey& a, const DedupKey& b)>;
Preference survivor_rule(const std::string& name);

// Memory and disk that finding duplicates among `documents` takes; Error when the memory allowed is too little.
struct DedupPlan {
  int64_t memory_bytes = 0, disk_bytes = 0, parts = 1;
};
DedupPlan plan_dedup(int64_t documents, const DedupOptions& options, int workers);
std::string format_plan(const DedupPlan& plan, int64_t documents);

// Documents with the same text: (the one to keep, another), each other once.
std::vector<SimilarPair> exact_pairs(const DedupView& view, const DedupOptions& options, const BucketSpace& space);
// Similar documents that share a band: hashes[i] is band_hash of document i; skip[i]: an exact duplicate, left out.
// A bucket's documents are held against its leaders, at most 64 that resemble none before them, so a bucket of
// dissimilar documents is not quadratic.
std::vector<SimilarPair> near_pairs(const DedupView& view, const uint64_t* hashes, const std::vector<bool>& skip,
                                    const DedupOptions& options, const BucketSpace& space);

// Collects pairs from anywhere in any order, then says who stays.
class Clusters {
 public:
  Clusters(const DedupView& view, const DedupOptions& options);
  void add_exact(const SimilarPair& p) { twins_[p.worse] = {p.better, 1.0F, true}; }
  void add_near(const SimilarPair& p);
  std::vector<Duplicate> finish();  // once

 private:
  int64_t find(int64_t i);
  DedupView view_;
  Preference better_;
  std::vector<int64_t> parent_;  // union-find whose root is always the best document
  std::vector<Duplicate> twins_;
};

// All steps in memory.
std::vector<Duplicate> find_duplicates(const DedupView& view, const DedupOptions& options);

}  // namespace puyu
