// How well near duplicates are found: texts get an edited copy each, the whole is searched as a corpus would be, and
// what is found is held against the exact Jaccard similarity of the 5-gram sets and against the theory of the bands
// (data/lsh.h).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/dedup.h"

namespace puyu {

struct PlantOptions {
  int words = 300;           // of a text
  double most_edits = 0.12;  // a copy has a share of its words replaced that is drawn between 0 and this
  int64_t seed = 1;
  template <class F>
  void fields(F&& f) {
    f("words", words, "words (ideographs in Chinese) of a text");
    f("most_edits", most_edits, "largest share of replaced words; each copy draws its own");
    f("seed", seed, "of the edits");
  }
};

struct PlantedPair {
  double similarity = 0;  // exact
  double expected = 0;    // the theory's chance that it is found
  bool found = false;
};

struct DedupQuality {
  std::vector<PlantedPair> pairs;
  int64_t reported = 0, right = 0;  // duplicates that were reported, and those of them at least `threshold` similar
  double threshold = 0;
  double recall() const;  // of planted pairs at least `threshold` similar
  double expected_recall() const;
  double precision() const;  // of reported duplicates
};

// Texts of options.words words each, cut from `documents` one after the other; what is left over of each is dropped.
std::vector<std::string> cut_texts(const std::vector<std::string>& documents, const PlantOptions& options);
DedupQuality measure_dedup(const std::vector<std::string>& texts, const DedupOptions& dedup,
                           const PlantOptions& options);

}  // namespace puyu
