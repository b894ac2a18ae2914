// The metric against hand counts, and the extractor against texts that people took.
#include "data/extract_score.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/file.h"

namespace puyu {
namespace {

TEST(ExtractScore, ShinglesByHand) {
  // gold: abcd bcde; found: abcd bcdx cdxe
  ShingleScore s = score_shingles("a b c d e", "a, b; c. d x e");
  EXPECT_DOUBLE_EQ(s.tp, 1 / 4.0);
  EXPECT_DOUBLE_EQ(s.fp, 2 / 4.0);
  EXPECT_DOUBLE_EQ(s.fn, 1 / 4.0);
  // Repetition counts: gold holds aaaa twice, found three times.
  s = score_shingles("a a a a a", "a a a a a a");
  EXPECT_DOUBLE_EQ(s.tp, 2 / 3.0);
  EXPECT_DOUBLE_EQ(s.fp, 1 / 3.0);
  // Short texts are one shingle; case matters; nothing found is one wrong shingle.
  EXPECT_DOUBLE_EQ(score_shingles("one two", "one-two!").tp, 1);
  EXPECT_DOUBLE_EQ(score_shingles("One two", "one two").tp, 0);
  EXPECT_DOUBLE_EQ(score_shingles("one two", "").fp, 0.5);
  EXPECT_DOUBLE_EQ(score_shingles("中文 字符_1 ½ é", "中文，字符_1（½）é").tp, 1);
}

TEST(ExtractScore, MeansByHand) {
  ExtractScore s;
  s.pages = {{"a", {0.5, 0.5, 0}}, {"b", {0, 0, 1}}, {"c", {0.25, 0.25, 0.5}}};
  F1 all = mean_score(s, Half::kAll);  // page b found nothing: it counts in the recall only
  EXPECT_DOUBLE_EQ(all.precision, 0.5);
  EXPECT_DOUBLE_EQ(all.recall, (1 + 0 + 1 / 3.0) / 3);
  EXPECT_DOUBLE_EQ(mean_score(s, Half::kDevelopment).recall, (1 + 1 / 3.0) / 2);
  EXPECT_DOUBLE_EQ(mean_score(s, Half::kHeldOut).recall, 0);
}

TEST(ExtractScore, ArticlesOfRealPages) {
  const char* root = std::getenv("PUYU_TEST_DATA");
  std::string gold =
      (root ? std::string(root) : std::string(PUYU_SOURCE_DIR "/../shared/data")) + "/html/ground-truth.json";
  if (!file_exists(gold)) GTEST_SKIP() << "no test data at " << gold << " (set PUYU_TEST_DATA)";
  ExtractScore s = score_extraction(gold);
  EXPECT_GE(mean_score(s, Half::kDevelopment).f1, 0.97);
  EXPECT_GE(mean_score(s, Half::kHeldOut).f1, 0.97);
}

}  // namespace
}  // namespace puyu
