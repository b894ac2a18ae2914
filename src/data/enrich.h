// Enrichment: from seed documents the most similar ones of a large corpus (BM25, Robertson & Zaragoza 2009, as phase 3
// of InternLM2's pre-training retrieves STEM text), and what a corpus lacks beside a reference. The corpus is read in
// passes and never held in memory: what is held are the seeds' terms and the best documents of each seed.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/document.h"

namespace puyu {

struct EnrichOptions {
  int64_t per_seed = 10, max_terms = 64;
  double k1 = 1.2, b = 0.75, min_score = 0;
  template <class F>
  void fields(F&& f) {
    f("per_seed", per_seed, "documents for each seed, at most");
    f("max_terms", max_terms, "of a seed's words (and pairs of ideographs) those with the greatest weight");
    f("k1", k1, "how fast repetitions of a word stop to matter");
    f("b", b, "how much long documents are held back");
    f("min_score", min_score, "less similar documents are left out");
  }
};

// Calls its argument with each document, always in the same order.
using DocumentSource = std::function<void(const std::function<void(Document&&)>&)>;

struct EnrichMatch {
  std::string seed, document;  // ids
  double score = 0;
};
struct EnrichResult {
  int64_t seeds = 0, documents = 0, chosen = 0;
  std::vector<EnrichMatch> matches;  // by seed, best first
};
// write: each chosen document once, in the order of the corpus, with scores["bm25"] its best score. A seed's own text
// is never chosen for it.
EnrichResult enrich(const DocumentSource& seeds, const DocumentSource& corpus, const EnrichOptions& options,
                    const std::function<void(const Document&)>& write);

// Shares of a corpus by language, length, source and site beside those of a reference; a row says how many bytes the
// corpus lacks to have the reference's share (negative: it has more), without the rest changing.
Json compare_corpora(const DocumentSource& corpus, const DocumentSource& reference);
std::string site_of(std::string_view url);  // "example.co.uk" of "http://www.example.co.uk/x", "" when it has none

}  // namespace puyu
