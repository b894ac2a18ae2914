// How well extract_html finds the articles of a set of pages, by the definition of Scrapinghub's article extraction
// benchmark (evaluate.py): texts as multisets of 4-token shingles, a token is a run of word characters; true and false
// positives and negatives of a page are divided by their sum; precision and recall are means over pages, and F1 is
// taken of the two means. The pages are in two halves by their order, so that one can be looked at and the other not.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"

namespace puyu {

struct ShingleScore {
  double tp = 0, fp = 0, fn = 0;  // of one page; they add up to 1
};
ShingleScore score_shingles(const std::string& gold, const std::string& found, size_t n = 4);

struct PageScore {
  std::string id;
  ShingleScore score;
};
struct ExtractScore {
  std::vector<PageScore> pages;  // in the order of their ids; even places are the development half
  int64_t bytes = 0;             // of HTML
  double seconds = 0;            // spent extracting, on one thread
};
struct F1 {
  double f1 = 0, precision = 0, recall = 0;
};
enum class Half { kDevelopment, kHeldOut, kAll };
F1 mean_score(const ExtractScore& s, Half half);

// `gold` is the benchmark's ground-truth.json, {id: {"articleBody": text}}; the pages lie beside it in
// pages/ID.html.gz or html/ID.html.gz. Error when a file is missing or broken.
ExtractScore score_extraction(const std::string& gold);

Json to_json(const ExtractScore& s);
std::string format_score(const ExtractScore& s);  // a table for people

}  // namespace puyu
