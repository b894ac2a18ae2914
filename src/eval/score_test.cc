#include "eval/score.h"

#include <gtest/gtest.h>

#include <cmath>

namespace puyu {
namespace {

TEST(Score, NormalisesAnswers) {
  EXPECT_EQ(normalize_answer("  List  directory\ncontents. "), "list directory contents");
  EXPECT_EQ(normalize_answer("「列出目录的内容。」"), "列出目录的内容");
  EXPECT_EQ(normalize_answer("ＬＳ　－ｌ"), "ls -l");
  EXPECT_EQ(normalize_answer("`ls`"), "ls");
  EXPECT_EQ(normalize_answer(" 。！ "), "");
  EXPECT_EQ(normalize_answer("\xff"), "\xEF\xBF\xBD");
  EXPECT_TRUE(exact_match("copy files and directories.", "Copy files and directories"));
  EXPECT_FALSE(exact_match("", "copy"));
  EXPECT_FALSE(exact_match("copy files", "copy a file"));
}

TEST(Score, FindsNumbers) {
  using V = std::vector<std::string>;
  EXPECT_EQ(find_numbers(""), V{});
  EXPECT_EQ(find_numbers("nothing here"), V{});
  EXPECT_EQ(find_numbers("37 + 48 = 85."), (V{"37", "48", "85"}));
  EXPECT_EQ(find_numbers("答案是８５。"), V{"85"});
  EXPECT_EQ(find_numbers("等于-7"), V{"-7"});
  EXPECT_EQ(find_numbers("−7 and －8 and - 9"), (V{"-7", "-8", "9"}));
  EXPECT_EQ(find_numbers("5-3"), (V{"5", "3"}));
  EXPECT_EQ(find_numbers("utf-8"), V{"8"});
  EXPECT_EQ(find_numbers("1,000"), V{"1000"});
  EXPECT_EQ(find_numbers("1,234,567.50"), V{"1234567.5"});
  EXPECT_EQ(find_numbers("1,00"), (V{"1", "0"}));
  EXPECT_EQ(find_numbers("1, 2,3"), (V{"1", "2", "3"}));
  EXPECT_EQ(find_numbers("1000,200"), (V{"1000", "200"}));
  EXPECT_EQ(find_numbers("007 and -0 and 85.0"), (V{"7", "0", "85"}));
  EXPECT_EQ(find_numbers("3.14.15"), (V{"3.14", "15"}));
  EXPECT_EQ(find_numbers("123456789012345678901234567890"), V{"123456789012345678901234567890"});
}

TEST(Score, ExtractsFirstOrLast) {
  EXPECT_EQ(extract_number("37 加 48 等于 85", Pick::kLast), "85");
  EXPECT_EQ(extract_number("37 加 48 等于 85", Pick::kFirst), "37");
  EXPECT_EQ(extract_number("我不知道"), "");
}

TEST(Score, ChoicesByLength) {
  std::vector<LogLikelihood> s = {{-4, false, 2}, {-6, false, 6}, {-5, false, 1}};
  std::vector<std::string> c = {"ab", "abcdef", "abcdefghij"};
  EXPECT_EQ(pick_choice(s, c, Length::kNone), 0u);
  EXPECT_EQ(pick_choice(s, c, Length::kTokens), 1u);
  EXPECT_EQ(pick_choice(s, c, Length::kBytes), 2u);
  EXPECT_EQ(pick_choice({{-1, false, 1}, {-1, false, 1}}, {"a", "b"}, Length::kNone), 0u) << "ties: the first";
  EXPECT_EQ(pick_choice({{-1, false, 0}, {-2, false, 0}}, {"", ""}, Length::kBytes), 0u) << "no division by zero";
}

TEST(Score, BinomialStandardError) {
  std::vector<Item> items;
  for (int i = 0; i < 50; ++i) items.push_back({i < 40 ? 1.0 : 0.0, 1, ""});
  Estimate e = ratio(items);
  EXPECT_DOUBLE_EQ(e.value, 0.8);
  EXPECT_NEAR(e.error, std::sqrt(0.8 * 0.2 / 50), 1e-15);
  EXPECT_NEAR(e.error, 0.0565685424949238, 1e-15);
  EXPECT_EQ(e.n, 50);
}

TEST(Score, ClusteredStandardError) {
  // Two clusters of two equal items: as if n were 2.  By hand: mean 1/2, residual sums +1 and -1, sqrt(2) / 4.
  Estimate e = ratio({{1, 1, "a"}, {1, 1, "a"}, {0, 1, "b"}, {0, 1, "b"}});
  EXPECT_DOUBLE_EQ(e.value, 0.5);
  EXPECT_NEAR(e.error, std::sqrt(2.0) / 4, 1e-15);
  EXPECT_NEAR(e.error, std::sqrt(0.5 * 0.5 / 2), 1e-15);
}

TEST(Score, TokenWeightedPerplexity) {
  // 10 nats over 5 tokens and 6 nats over 3: mean 2 in both, so no error.
  Estimate m = ratio({{10, 5, ""}, {6, 3, ""}});
  EXPECT_DOUBLE_EQ(m.value, 2);
  EXPECT_DOUBLE_EQ(m.error, 0);
  EXPECT_DOUBLE_EQ(perplexity(m).value, std::exp(2.0));
  // 3 nats over 1 token and 3 over 3: mean 6/4; residuals 3 - 1.5 and 3 - 4.5; sqrt(2 * 1.5^2) / 4.
  m = ratio({{3, 1, ""}, {3, 3, ""}});
  EXPECT_DOUBLE_EQ(m.value, 1.5);
  EXPECT_NEAR(m.error, std::sqrt(4.5) / 4, 1e-15);
  EXPECT_NEAR(perplexity(m).error, std::exp(1.5) * std::sqrt(4.5) / 4, 1e-14);
}

TEST(Score, NothingIsNotANumber) {
  EXPECT_TRUE(std::isnan(ratio({}).value));
  EXPECT_TRUE(std::isnan(ratio({{1, 0, ""}}).value));
}

}  // namespace
}  // namespace puyu
