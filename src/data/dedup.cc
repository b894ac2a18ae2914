#include "data/dedup.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/rng.h"
#include "data/words.h"

namespace puyu {
namespace {

// h(x) = (a x + b mod 2^64) / 2^32 for 32-bit x: 2-independent (Dietzfelbinger's multiply-shift).
struct Permutations {
  std::array<uint64_t, kPermutations> a, b;
  Permutations() {
    Rng rng(128);
    for (int i = 0; i < kPermutations; ++i) a[i] = rng.next() | 1, b[i] = rng.next();
  }
};

// The 32-bit hashes of a text's n-grams; a text shorter than n words is one shingle.
std::vector<uint32_t> shingles(std::string_view text, int ngram) {
  std::vector<Word> words = split_words(text);
  size_t n = std::min<size_t>(static_cast<size_t>(ngram), words.size());
  std::vector<uint32_t> out;
  if (n == 0) return out;
  out.reserve(words.size());
  for (size_t i = 0; i + n <= words.size(); ++i) {
    uint64_t h = 0;
    for (size_t k = 0; k < n; ++k) h = mix64(h ^ words[i + k].hash);
    out.push_back(static_cast<uint32_t>(h >> 32));
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
__attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3")))
#endif
void take_minima(const uint64_t* a, const uint64_t* b, const uint32_t* x, size_t n, uint32_t* out) {
  for (size_t i = 0; i < n; ++i)
    for (int p = 0; p < kPermutations; ++p) {
      auto h = static_cast<uint32_t>((a[p] * x[i] + b[p]) >> 32);
      out[p] = h < out[p] ? h : out[p];
    }
}

// Better first: newer, longer, smaller id.
bool survives_over(const DedupKey& a, const DedupKey& b) {
  if (a.date != b.date) return a.date > b.date;
  if (a.length != b.length) return a.length > b.length;
  return a.id < b.id;
}

struct Clusters {  // union-find whose root is always the best document
  const std::vector<DedupKey>& keys;
  std::vector<int64_t> parent;
  explicit Clusters(const std::vector<DedupKey>& k) : keys(k), parent(k.size()) {
    std::iota(parent.begin(), parent.end(), 0);
  }
  int64_t find(int64_t i) {
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
  }
  void join(int64_t a, int64_t b) {
    a = find(a), b = find(b);
    if (a == b) return;
    if (survives_over(keys[b], keys[a])) std::swap(a, b);
    parent[b] = a;
  }
};

// Calls fn on each run of equal hashes among `members` (hash, index), best document first.
template <class F>
void for_each_bucket(std::vector<std::pair<uint64_t, int64_t>>& members, const std::vector<DedupKey>& keys, F&& fn) {
  std::sort(members.begin(), members.end(), [&](auto& a, auto& b) {
    return a.first != b.first ? a.first < b.first : survives_over(keys[a.second], keys[b.second]);
  });
  for (size_t from = 0, to = 0; from < members.size(); from = to) {
    while (to < members.size() && members[to].first == members[from].first) ++to;
    if (to - from > 1) fn(from, to);
  }
}

// Compares a bucket's documents with its first ones; a bucket full of dissimilar documents would be quadratic, so each
// is held against at most 64 leaders.
void join_bucket(const std::vector<std::pair<uint64_t, int64_t>>& members, size_t from, size_t to, double threshold,
                 Clusters& clusters) {
  std::vector<int64_t> leaders;
  for (size_t i = from; i < to; ++i) {
    int64_t doc = members[i].second;
    for (int64_t leader : leaders)
      if (clusters.find(leader) != clusters.find(doc) &&
          similarity(clusters.keys[leader].signature, clusters.keys[doc].signature) >= threshold)
        clusters.join(leader, doc);
    if (leaders.size() < 64) leaders.push_back(doc);
  }
}

}  // namespace

Signature minhash(std::string_view text, int ngram) {
  static const Permutations kP;
  Signature s;
  s.fill(0xffffffffu);
  std::vector<uint32_t> x = shingles(text, ngram);
  take_minima(kP.a.data(), kP.b.data(), x.data(), x.size(), s.data());
  return s;
}

double similarity(const Signature& a, const Signature& b) {
  int same = 0;
  for (int i = 0; i < kPermutations; ++i) same += a[i] == b[i];
  return same / static_cast<double>(kPermutations);
}

double exact_jaccard(std::string_view a, std::string_view b, int ngram) {
  auto x = shingles(a, ngram), y = shingles(b, ngram);
  std::vector<uint32_t> both;
  std::set_intersection(x.begin(), x.end(), y.begin(), y.end(), std::back_inserter(both));
  size_t all = x.size() + y.size() - both.size();
  return all ? static_cast<double>(both.size()) / static_cast<double>(all) : 1.0;
}

std::vector<Duplicate> find_duplicates(const std::vector<DedupKey>& keys, const DedupOptions& o) {
  if (o.bands < 1 || o.rows < 1 || o.bands * o.rows > kPermutations)
    fail("[dedup] bands x rows must be between 1 and ", kPermutations, ", got ", o.bands, " x ", o.rows);
  std::vector<Duplicate> out(keys.size());
  std::vector<std::pair<uint64_t, int64_t>> members;
  for (size_t i = 0; i < keys.size(); ++i) members.emplace_back(keys[i].content.lo, i);
  for_each_bucket(members, keys, [&](size_t from, size_t to) {
    for (size_t i = from + 1; i < to; ++i) {
      size_t first = from;
      while (first < i && keys[members[first].second].content != keys[members[i].second].content) ++first;
      if (first < i) out[members[i].second] = {members[first].second, 1.0, true};
    }
  });
  Clusters clusters(keys);
  for (int band = 0; band < o.bands; ++band) {
    members.clear();
    for (size_t i = 0; i < keys.size(); ++i) {
      if (out[i].exact) continue;
      const uint32_t* rows = keys[i].signature.data() + band * o.rows;
      auto bytes = static_cast<size_t>(o.rows) * sizeof(uint32_t);
      members.emplace_back(hash64({reinterpret_cast<const char*>(rows), bytes}), i);
    }
    for_each_bucket(members, keys,
                    [&](size_t from, size_t to) { join_bucket(members, from, to, o.threshold, clusters); });
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    int64_t root = clusters.find(static_cast<int64_t>(i));
    if (out[i].exact || root == static_cast<int64_t>(i)) continue;
    out[i] = {root, similarity(keys[i].signature, keys[root].signature), false};
  }
  return out;
}

}  // namespace puyu
