// Planted near duplicates: the measure itself, and recall and precision against what theory promises.
#include "data/dedup_quality.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/rng.h"

namespace puyu {
namespace {

std::vector<std::string> random_texts(int count) {
  Rng rng(3);
  std::vector<std::string> out(static_cast<size_t>(count));
  for (std::string& t : out)
    for (int w = 0; w < 1000; ++w) t += "w" + std::to_string(rng.below(50000)) + (w % 9 ? " " : ". ");
  return out;
}

TEST(DedupQuality, CutsTextsOfEqualLength) {
  PlantOptions o;
  o.words = 20;
  std::string text;
  for (int i = 0; i < 45; ++i) text += "w" + std::to_string(i) + " ";
  const std::vector<std::string> cut = cut_texts({text}, o);
  ASSERT_EQ(cut.size(), 2u);
  EXPECT_TRUE(cut[0].starts_with("w0 w1 ") && cut[0].ends_with(" w19"));
  EXPECT_TRUE(cut[1].starts_with("w20 ") && cut[1].ends_with(" w39"));
  o.words = 1;
  EXPECT_THROW(cut_texts({text}, o), Error);
  EXPECT_THROW(measure_dedup({}, {}, {}), Error);
}

TEST(DedupQuality, RecallAndPrecisionAreThoseOfTheTheory) {
  PlantOptions o;
  DedupOptions dedup;
  dedup.bands = 14, dedup.rows = 9;
  const DedupQuality q = measure_dedup(cut_texts(random_texts(300), o), dedup, o);
  ASSERT_EQ(q.pairs.size(), 900u);
  double found = 0, expected = 0, variance = 0;
  for (const PlantedPair& p : q.pairs)
    found += p.found, expected += p.expected, variance += p.expected * (1 - p.expected);
  EXPECT_NEAR(found, expected, 4.5 * std::sqrt(variance));
  EXPECT_GT(q.recall(), 0.7);
  EXPECT_NEAR(q.recall(), q.expected_recall(), 0.05);
  EXPECT_GT(q.precision(), 0.8);
  EXPECT_LE(q.right, q.reported);
  EXPECT_EQ(q.reported, static_cast<int64_t>(found));  // texts of random words resemble nothing but their copies
}

}  // namespace
}  // namespace puyu
