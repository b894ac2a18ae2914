#include "data/dedup.h"

#include <algorithm>
#include <cstdio>
#include <numeric>

#include "base/error.h"
#include "base/progress.h"

namespace puyu {
namespace {

constexpr size_t kMostLeaders = 64;

}  // namespace

Banding banding_of(const DedupOptions& o) {
  if (!(o.threshold > 0 && o.threshold <= 1))
    fail("[dedup] threshold must be above 0 and at most 1, got ", o.threshold);
  if ((o.bands == 0) != (o.rows == 0)) fail("[dedup] give both bands and rows, or neither");
  Banding b = o.bands ? Banding{o.bands, o.rows} : choose_banding(o.threshold);
  if (b.bands < 1 || b.rows < 1 || b.bands > kPermutations || b.rows > kPermutations / b.bands)
    fail("[dedup] bands x rows must be between 1 and ", kPermutations, ", got ", b.bands, " x ", b.rows);
  return b;
}

Preference survivor_rule(const std::string& name) {
  auto longer = [](const DedupKey& a, const DedupKey& b) {
    return a.length != b.length ? a.length > b.length : a.id < b.id;
  };
  if (name == "newest")
    return [=](const DedupKey& a, const DedupKey& b) { return a.date != b.date ? a.date > b.date : longer(a, b); };
  if (name == "oldest")  // an unknown date is no old one
    return
        [=](const DedupKey& a, const DedupKey& b) { return a.date != b.date ? a.date - 1 < b.date - 1 : longer(a, b); };
  if (name == "longest") return longer;
  if (name == "smallest_id") return [](const DedupKey& a, const DedupKey& b) { return a.id < b.id; };
  fail("[dedup] survivor: expected newest, oldest, longest or smallest_id, got '", name, "'");
}

DedupPlan plan_dedup(int64_t documents, const DedupOptions& o, int workers) {
  Banding b = banding_of(o);
  survivor_rule(o.survivor);
  DedupPlan p;
  const int64_t most = o.memory_mb << 20;
  const auto per_document = static_cast<int64_t>(sizeof(int64_t) + sizeof(Duplicate));
  const int64_t clusters = documents * per_document;
  if (clusters > most)
    fail("[dedup] ", documents, " documents take ", (clusters >> 20) + 1, " MB for their clusters, dedup.memory_mb is ",
         o.memory_mb);
  BucketSpace space{most / std::max(1, workers) - documents / 8, "disk"};
  p.parts = bucket_parts(documents, space);
  int64_t sort = std::min(documents * kBucketRecordBytes, space.memory_bytes) * std::max(1, workers);
  p.memory_bytes = std::max(clusters, sort);
  p.disk_bytes = documents * static_cast<int64_t>(2 * (sizeof(DedupKey) + sizeof(Signature)) + 8ull * b.bands) +
                 (p.parts > 1 ? documents * kBucketRecordBytes * workers : 0);
  return p;
}

std::string format_plan(const DedupPlan& p, int64_t documents) {
  return cat(documents, " documents: ", format_count(static_cast<double>(p.memory_bytes), "B"), " of memory, ",
             format_count(static_cast<double>(p.disk_bytes), "B"), " of disk, ",
             p.parts == 1 ? std::string("sorted in memory") : cat("sorted on disk in ", p.parts, " parts"));
}

std::vector<SimilarPair> exact_pairs(const DedupView& v, const DedupOptions& o, const BucketSpace& space) {
  std::vector<SimilarPair> out;
  Preference better = survivor_rule(o.survivor);
  auto hash = [&](int64_t i, uint64_t& h) {
    h = v.keys[i].content.hi;
    return true;
  };
  for_each_bucket(v.count, space, hash, [&](const std::vector<int64_t>& members) {
    // 64 equal bits of another text are next to impossible, but cheap to tell.
    std::vector<int64_t> sorted = members;
    std::sort(sorted.begin(), sorted.end(), [&](int64_t a, int64_t b) {
      const DedupKey &x = v.keys[a], &y = v.keys[b];
      return x.content != y.content ? x.content < y.content : better(x, y);
    });
    for (size_t i = 1, first = 0; i < sorted.size(); ++i) {
      if (v.keys[sorted[i]].content != v.keys[sorted[first]].content)
        first = i;
      else
        out.push_back({sorted[first], sorted[i]});
    }
  });
  return out;
}

std::vector<SimilarPair> near_pairs(const DedupView& v, const uint64_t* hashes, const std::vector<bool>& skip,
                                    const DedupOptions& o, const BucketSpace& space) {
  std::vector<SimilarPair> out;
  Preference better = survivor_rule(o.survivor);
  auto hash = [&](int64_t i, uint64_t& h) {
    h = hashes[i];
    return !skip[static_cast<size_t>(i)] && has_shingles(v.signatures[i]);
  };
  for_each_bucket(v.count, space, hash, [&](const std::vector<int64_t>& members) {
    std::vector<int64_t> sorted = members, leaders;
    std::sort(sorted.begin(), sorted.end(), [&](int64_t a, int64_t b) { return better(v.keys[a], v.keys[b]); });
    for (int64_t doc : sorted) {
      bool alone = true;
      for (int64_t leader : leaders) {
        if (similarity(v.signatures[leader], v.signatures[doc]) < o.threshold) continue;
        out.push_back({leader, doc});
        alone = false;
      }
      if (alone && leaders.size() < kMostLeaders) leaders.push_back(doc);
    }
  });
  return out;
}

Clusters::Clusters(const DedupView& view, const DedupOptions& options)
    : view_(view),
      better_(survivor_rule(options.survivor)),
      parent_(static_cast<size_t>(view.count)),
      twins_(static_cast<size_t>(view.count)) {
  std::iota(parent_.begin(), parent_.end(), 0);
}

int64_t Clusters::find(int64_t i) {
  while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
  return i;
}

void Clusters::add_near(const SimilarPair& p) {
  int64_t a = find(p.better), b = find(p.worse);
  if (a == b) return;
  if (better_(view_.keys[b], view_.keys[a])) std::swap(a, b);
  parent_[b] = a;
}

std::vector<Duplicate> Clusters::finish() {
  for (int64_t i = 0; i < view_.count; ++i) {
    int64_t root = find(i);
    if (twins_[i].exact || root == i) continue;
    twins_[i] = {root, static_cast<float>(similarity(view_.signatures[i], view_.signatures[root])), false};
  }
  return std::move(twins_);
}

std::vector<Duplicate> find_duplicates(const DedupView& v, const DedupOptions& o) {
  Banding b = banding_of(o);
  BucketSpace space{o.memory_mb << 20, ""};
  Clusters clusters(v, o);
  std::vector<bool> skip(static_cast<size_t>(v.count));
  for (const SimilarPair& p : exact_pairs(v, o, space)) {
    clusters.add_exact(p);
    skip[static_cast<size_t>(p.worse)] = true;
  }
  std::vector<uint64_t> hashes(static_cast<size_t>(v.count));
  for (int band = 0; band < b.bands; ++band) {
    for (int64_t i = 0; i < v.count; ++i) hashes[i] = band_hash(v.signatures[i], b, band);
    for (const SimilarPair& p : near_pairs(v, hashes.data(), skip, o, space)) clusters.add_near(p);
  }
  return clusters.finish();
}

}  // namespace puyu
