#include "data/embedding.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/hash.h"
#include "base/rng.h"
#include "data/enrich_parts.h"
#include "data/words.h"

namespace puyu {
namespace {

constexpr size_t kStem = 5;  // letters

struct Term {
  uint64_t hash;
  float count;
};

// Terms and beginnings of words, ascending by hash, with their numbers.
std::vector<Term> counted_terms(std::string_view text) {
  std::vector<uint64_t> all = enrich_terms(text);
  for (const Word& w : split_words(text))
    if (w.chars > kStem && w.text.size() == w.chars) {
      char stem[kStem];
      for (size_t i = 0; i < kStem; ++i)
        stem[i] = static_cast<char>(w.text[i] >= 'A' && w.text[i] <= 'Z' ? w.text[i] + 32 : w.text[i]);
      all.push_back(hash64({stem, kStem}));
    }
  std::sort(all.begin(), all.end());
  std::vector<Term> out;
  for (size_t i = 0; i < all.size();) {
    size_t end = i;
    while (end < all.size() && all[end] == all[i]) ++end;
    out.push_back({all[i], static_cast<float>(end - i)});
    i = end;
  }
  return out;
}

}  // namespace

void HashedEmbedder::count(std::string_view text) {
  ++documents_;
  for (const Term& t : counted_terms(text)) ++frequency_[mix64(t.hash) >> (64 - kBits)];
}

std::vector<float> HashedEmbedder::embed(std::string_view text) const {
  std::vector<double> sum(kDimensions);
  for (const Term& t : counted_terms(text)) {
    const auto df = static_cast<double>(frequency_[mix64(t.hash) >> (64 - kBits)]);
    const double weight = (1 + std::log(t.count)) * std::log(1 + (static_cast<double>(documents_) + 1) / (df + 1));
    for (uint64_t p = 0; p < kPlaces; ++p) {
      const uint64_t h = mix64(t.hash + 0x9e3779b97f4a7c15ull * (p + 1));
      sum[h % kDimensions] += h >> 63 ? weight : -weight;
    }
  }
  double squares = 0;
  for (const double x : sum) squares += x * x;
  std::vector<float> out(kDimensions);
  if (squares > 0)
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(sum[i] / std::sqrt(squares));
  return out;
}

float cosine(const std::vector<float>& a, const std::vector<float>& b) {
  float lanes[8] = {};
  for (size_t i = 0; i + 8 <= a.size(); i += 8)
    for (size_t k = 0; k < 8; ++k) lanes[k] += a[i + k] * b[i + k];
  return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
}

EnrichResult enrich_by_embedding(const DocumentSource& seed_source, const DocumentSource& corpus,
                                 const EnrichOptions& o, const std::function<void(const Document&)>& write) {
  HashedEmbedder embedder;
  corpus([&](Document&& d) { embedder.count(d.content); });
  struct Seed {
    Hash128 content;
    std::vector<float> vector;
  };
  std::vector<Seed> seeds;
  std::vector<std::string> ids;
  seed_source([&](Document&& d) {
    ids.push_back(d.id);
    seeds.push_back({hash128(d.content), embedder.embed(d.content)});
  });
  if (seeds.empty()) fail("[enrich] there are no seeds");
  std::vector<std::vector<Candidate>> best(seeds.size());
  int64_t ordinal = 0;
  corpus([&](Document&& d) {
    const std::vector<float> vector = embedder.embed(d.content);
    const Hash128 content = hash128(d.content);
    for (size_t s = 0; s < seeds.size(); ++s) {
      const double score = double{cosine(seeds[s].vector, vector)};
      if (score > 0 && score >= o.min_score && content != seeds[s].content)
        keep_best(best[s], {score, ordinal}, o.per_seed);
    }
    ++ordinal;
  });
  return write_chosen(ids, best, corpus, "embedding", write);
}

}  // namespace puyu
