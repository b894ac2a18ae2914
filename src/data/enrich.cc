#include "data/enrich.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "base/hash.h"
#include "base/rng.h"
#include "data/domain_list.h"
#include "data/words.h"

namespace puyu {
namespace {

// Words, and pairs of neighbouring ideographs, which are nearer to Chinese words than single ones. Pairs only for them:
// single ideographs say little.
std::vector<uint64_t> terms_of(std::string_view text) {
  std::vector<uint64_t> out;
  const Word* before = nullptr;
  std::vector<Word> words = split_words(text);
  for (const Word& w : words) {
    bool ideograph = w.chars == 1 && w.text.size() >= 3;
    if (!ideograph) out.push_back(w.hash);
    if (ideograph && before && before->text.data() + before->text.size() == w.text.data())
      out.push_back(mix64(before->hash ^ mix64(w.hash)));
    before = ideograph ? &w : nullptr;
  }
  return out;
}

struct Seed {
  std::string id;
  Hash128 content{};
  std::unordered_map<uint64_t, int> terms;
};

struct Posting {
  uint32_t seed;
  double weight;
};

struct Candidate {
  double score;
  int64_t ordinal;  // place in the corpus
  // Better first; of equals the earlier.
  bool operator<(const Candidate& o) const { return score != o.score ? score > o.score : ordinal < o.ordinal; }
};

struct CorpusStats {
  int64_t documents = 0;
  double terms = 0;
  std::unordered_map<uint64_t, int64_t> containing;  // of the seeds' terms
};

CorpusStats measure_corpus(const DocumentSource& corpus, const std::vector<Seed>& seeds) {
  CorpusStats s;
  for (const Seed& seed : seeds)
    for (const auto& [term, n] : seed.terms) s.containing[term] = 0;
  std::unordered_map<uint64_t, int64_t> last;  // the document that counted a term last
  corpus([&](Document&& d) {
    std::vector<uint64_t> terms = terms_of(d.content);
    s.terms += static_cast<double>(terms.size());
    ++s.documents;
    for (uint64_t t : terms)
      if (auto it = s.containing.find(t); it != s.containing.end())
        if (int64_t& seen = last[t]; seen != s.documents) seen = s.documents, ++it->second;
  });
  return s;
}

std::unordered_map<uint64_t, std::vector<Posting>> weigh_terms(const std::vector<Seed>& seeds, const CorpusStats& s,
                                                               int64_t most) {
  std::unordered_map<uint64_t, std::vector<Posting>> out;
  for (uint32_t i = 0; i < seeds.size(); ++i) {
    std::vector<std::pair<double, uint64_t>> weights;
    for (const auto& [term, n] : seeds[i].terms) {
      auto df = static_cast<double>(s.containing.at(term));
      if (df == 0) continue;
      double idf = std::log(1 + (static_cast<double>(s.documents) - df + 0.5) / (df + 0.5));
      weights.emplace_back(-idf * n, term);
    }
    std::sort(weights.begin(), weights.end());
    if (static_cast<int64_t>(weights.size()) > most) weights.resize(static_cast<size_t>(most));
    for (auto& [weight, term] : weights) out[term].push_back({i, -weight});
  }
  return out;
}

std::string length_bucket(size_t bytes) {
  for (auto [most, name] : {std::pair<size_t, const char*>{256, "< 256 B"},
                            {1024, "< 1 kB"},
                            {4096, "< 4 kB"},
                            {16384, "< 16 kB"},
                            {32768, "< 32 kB"},
                            {131072, "< 128 kB"}})
    if (bytes < most) return name;
  return ">= 128 kB";
}

using Tally = std::map<std::string, std::map<std::string, double>>;  // dimension, key, bytes

double tally_corpus(const DocumentSource& source, Tally& tally) {
  double all = 0;
  source([&](Document&& d) {
    auto bytes = static_cast<double>(d.content.size());
    all += bytes;
    tally["language"][d.language.empty() ? "unknown" : d.language] += bytes;
    tally["length"][length_bucket(d.content.size())] += bytes;
    tally["source"][d.source] += bytes;
    if (std::string site = site_of(d.url); !site.empty()) tally["site"][site] += bytes;
  });
  return all;
}

}  // namespace

EnrichResult enrich(const DocumentSource& seed_source, const DocumentSource& corpus, const EnrichOptions& o,
                    const std::function<void(const Document&)>& write) {
  if (o.per_seed < 1 || o.max_terms < 1 || o.k1 < 0 || o.b < 0 || o.b > 1)
    fail("[enrich] expected per_seed and max_terms of at least 1, k1 of at least 0 and b of 0 to 1");
  std::vector<Seed> seeds;
  seed_source([&](Document&& d) {
    Seed s{d.id, hash128(d.content), {}};
    for (uint64_t t : terms_of(d.content)) ++s.terms[t];
    seeds.push_back(std::move(s));
  });
  if (seeds.empty()) fail("[enrich] there are no seeds");
  CorpusStats stats = measure_corpus(corpus, seeds);
  auto postings = weigh_terms(seeds, stats, o.max_terms);
  double mean = stats.documents ? stats.terms / static_cast<double>(stats.documents) : 1;

  std::vector<std::vector<Candidate>> best(seeds.size());  // heaps, the worst on top
  std::vector<double> score(seeds.size());
  int64_t ordinal = 0;
  corpus([&](Document&& d) {
    std::vector<uint64_t> terms = terms_of(d.content);
    auto length = static_cast<double>(terms.size());
    std::sort(terms.begin(), terms.end());
    std::vector<uint32_t> touched;
    for (size_t i = 0; i < terms.size();) {
      size_t end = i;
      while (end < terms.size() && terms[end] == terms[i]) ++end;
      if (auto it = postings.find(terms[i]); it != postings.end()) {
        auto tf = static_cast<double>(end - i);
        double part = tf * (o.k1 + 1) / (tf + o.k1 * (1 - o.b + o.b * length / mean));
        for (const Posting& p : it->second) {
          if (score[p.seed] == 0) touched.push_back(p.seed);
          score[p.seed] += p.weight * part;
        }
      }
      i = end;
    }
    Hash128 content = hash128(d.content);
    for (uint32_t s : touched) {
      Candidate c{std::exchange(score[s], 0.0), ordinal};
      if (c.score < o.min_score || content == seeds[s].content) continue;
      auto& heap = best[s];
      heap.push_back(c), std::push_heap(heap.begin(), heap.end());
      if (static_cast<int64_t>(heap.size()) > o.per_seed) std::pop_heap(heap.begin(), heap.end()), heap.pop_back();
    }
    ++ordinal;
  });

  std::map<int64_t, double> chosen;  // place in the corpus: best score
  for (auto& heap : best)
    for (const Candidate& c : heap) chosen[c.ordinal] = std::max(chosen[c.ordinal], c.score);
  EnrichResult r;
  r.seeds = static_cast<int64_t>(seeds.size()), r.documents = stats.documents,
  r.chosen = static_cast<int64_t>(chosen.size());
  std::unordered_map<int64_t, std::string> id_of;
  ordinal = 0;
  corpus([&](Document&& d) {
    if (auto it = chosen.find(ordinal++); it != chosen.end()) {
      d.scores["bm25"] = it->second;
      id_of[it->first] = d.id;
      write(d);
    }
  });
  for (size_t s = 0; s < seeds.size(); ++s) {
    std::sort(best[s].begin(), best[s].end());
    for (const Candidate& c : best[s]) r.matches.push_back({seeds[s].id, id_of[c.ordinal], c.score});
  }
  return r;
}

std::string site_of(std::string_view url) {
  if (url.find("://") == std::string_view::npos) return "";
  std::string host = parse_address(url).host;
  if (host.empty() || host.back() == ']' || (host.back() >= '0' && host.back() <= '9')) return host;
  // Two labels, three where the last but one says a kind of organisation: example.co.uk, example.com.cn.
  static const std::set<std::string_view> kKinds = {"co", "com", "org", "net", "edu", "gov", "ac", "or", "ne"};
  size_t last = host.rfind('.'),
         second = last == std::string::npos || last == 0 ? std::string::npos : host.rfind('.', last - 1);
  if (second == std::string::npos) return host;
  std::string_view kind = std::string_view(host).substr(second + 1, last - second - 1);
  if (host.size() - last == 3 && kKinds.count(kind)) {
    size_t third = second == 0 ? std::string::npos : host.rfind('.', second - 1);
    return third == std::string::npos ? host : host.substr(third + 1);
  }
  return host.substr(second + 1);
}

Json compare_corpora(const DocumentSource& corpus, const DocumentSource& reference) {
  Tally have, want;
  double all = tally_corpus(corpus, have), wanted = tally_corpus(reference, want);
  Json out = Json::Object{{"corpus_bytes", all}, {"reference_bytes", wanted}};
  for (const auto& [dimension, keys] : want) {
    struct Row {
      std::string key;
      double share, wanted, lacks;
    };
    std::vector<Row> rows;
    std::set<std::string> names;
    for (const auto& [key, bytes] : keys) names.insert(key);
    for (const auto& [key, bytes] : have[dimension]) names.insert(key);
    for (const std::string& key : names) {
      double h = have[dimension].count(key) ? have[dimension][key] : 0, w = keys.count(key) ? keys.at(key) / wanted : 0;
      // x more bytes of this kind alone make its share w: (h + x) / (all + x) = w.
      double lacks = w < 1 ? (w * all - h) / (1 - w) : 0;
      rows.push_back({key, all > 0 ? h / all : 0, w, lacks});
    }
    std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.lacks > b.lacks; });
    Json list = Json::array();
    for (const Row& r : rows)
      list.push(
          Json::Object{{"key", r.key}, {"share", r.share}, {"reference_share", r.wanted}, {"lacks_bytes", r.lacks}});
    out[dimension] = std::move(list);
  }
  return out;
}

}  // namespace puyu
