#include "cli/bench_peak.h"

#include <gtest/gtest.h>

namespace puyu {
namespace {

TEST(Measure, MedianAndSpread) {
  std::vector<double> v = {5, 1, 4, 2, 3};
  size_t i = 0;
  Spread s = measure(5, [&] { return v[i++]; });
  EXPECT_EQ(s.median, 3);
  EXPECT_EQ(s.low, 1);
  EXPECT_EQ(s.high, 5);
  i = 0;
  EXPECT_EQ(measure(4, [&] { return v[i++]; }).median, 3) << "the mean of the two in the middle";
}

TEST(Limits, BestOfAKind) {
  std::vector<Limit> limits = {{"bf16", "a", 1, "FLOP/s", {5, 5, 5}}, {"bf16", "b", 2, "FLOP/s", {9, 9, 9}}};
  EXPECT_EQ(best_limit(limits, "bf16")->how, "b");
  EXPECT_EQ(best_limit(limits, "int8"), nullptr);
}

}  // namespace
}  // namespace puyu
