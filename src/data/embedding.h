// A text as a vector without any training: its words (and pairs of ideographs, and the beginnings of long words, so
// that inflections meet), weighted by how rare they are in a corpus, each thrown to a few places of the vector with a
// sign (feature hashing, Weinberger et al. 2009). The cosine of two vectors estimates that of the texts' weighted term
// vectors, with an error of about 1 / sqrt(dimensions).
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace puyu {

class HashedEmbedder {
 public:
  static constexpr int kDimensions = 512, kPlaces = 4;
  // One document of the corpus whose frequencies weigh the terms.
  void count(std::string_view text);
  // Of length 1; zeros for a text without terms.
  std::vector<float> embed(std::string_view text) const;
  int64_t documents() const { return documents_; }

 private:
  static constexpr int kBits = 20;  // document frequencies by hash; terms that meet there are taken for one
  std::vector<uint32_t> frequency_ = std::vector<uint32_t>(size_t{1} << kBits);
  int64_t documents_ = 0;
};

float cosine(const std::vector<float>& a, const std::vector<float>& b);  // of vectors of length 1

}  // namespace puyu
