// What the two ways to find similar documents share.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/enrich.h"

namespace puyu {

std::vector<uint64_t> enrich_terms(std::string_view text);  // hashes, in the order of the text

struct Candidate {
  double score;
  int64_t ordinal;  // place in the corpus
  // Better first; of equals the earlier.
  bool operator<(const Candidate& o) const { return score != o.score ? score > o.score : ordinal < o.ordinal; }
};
// A heap of the best `most`, the worst on top.
void keep_best(std::vector<Candidate>& heap, const Candidate& c, int64_t most);
// Reads the corpus once more for the documents that some seed wants.
EnrichResult write_chosen(const std::vector<std::string>& seed_ids, std::vector<std::vector<Candidate>>& best,
                          const DocumentSource& corpus, const char* score,
                          const std::function<void(const Document&)>& write);

EnrichResult enrich_by_terms(const DocumentSource& seeds, const DocumentSource& corpus, const EnrichOptions& options,
                             const std::function<void(const Document&)>& write);
EnrichResult enrich_by_embedding(const DocumentSource& seeds, const DocumentSource& corpus,
                                 const EnrichOptions& options, const std::function<void(const Document&)>& write);

}  // namespace puyu
