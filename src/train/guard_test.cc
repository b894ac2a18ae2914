#include "train/guard.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace puyu {
namespace {

GuardMemory steady(int n) {
  GuardMemory m;
  GuardOptions o;
  for (int i = 0; i < n; ++i) remember_step(o, m, 2.0, i % 2 ? 1.1 : 0.9);  // norms: mean 1, deviation 0.1
  return m;
}

TEST(Guard, JudgesLossNormAndNaN) {
  GuardOptions o;
  o.on_spike = "rollback", o.on_outlier = "skip", o.on_nan = "skip";
  const GuardMemory m = steady(64);
  EXPECT_EQ(judge_step(o, m, 2.9, 1.0).kind, "");
  EXPECT_EQ(judge_step(o, m, 3.1, 1.0).kind, "loss_spike");
  EXPECT_EQ(judge_step(o, m, 3.1, 1.0).action, Action::kRollback);
  EXPECT_EQ(judge_step(o, m, 2.0, 1.59).kind, "");  // 5.9 deviations
  EXPECT_EQ(judge_step(o, m, 2.0, 1.61).kind, "norm_outlier");
  EXPECT_EQ(judge_step(o, m, 2.0, 1.61).action, Action::kSkip);
  EXPECT_EQ(judge_step(o, m, 2.0, 0.01).kind, "");  // small ones are welcome
  EXPECT_EQ(judge_step(o, m, std::nan(""), 1.0).kind, "nan");
  EXPECT_EQ(judge_step(o, m, 2.0, INFINITY).action, Action::kSkip);
  o.on_spike = "alert";
  EXPECT_EQ(judge_step(o, m, 3.1, 1.0).action, Action::kTrain);
  o.loss_spike = o.norm_outlier = 0;
  EXPECT_EQ(judge_step(o, m, 100, 100).kind, "");
}

TEST(Guard, KnowsTooLittleAtFirst) {
  const GuardOptions o;
  EXPECT_EQ(judge_step(o, {}, 100, 100).kind, "");
  EXPECT_EQ(judge_step(o, steady(31), 2.0, 100).kind, "");  // a quarter of the window is 32
  EXPECT_EQ(judge_step(o, steady(32), 2.0, 100).kind, "norm_outlier");
}

TEST(Guard, RemembersTheLastSteps) {
  GuardOptions o;
  o.window = 40;
  GuardMemory m;
  for (int i = 0; i < 100; ++i) remember_step(o, m, i, -i);
  remember_step(o, m, std::nan(""), 1);
  ASSERT_EQ(m.loss.size(), 16u);
  ASSERT_EQ(m.norm.size(), 40u);
  EXPECT_EQ(m.loss.front(), 84);
  EXPECT_EQ(m.norm.back(), -99);
}

TEST(Guard, NamesRanksThatAreSlow) {
  const GuardOptions o;
  EXPECT_EQ(slow_ranks(o, {1, 1.2, 1.1, 1}), "");
  EXPECT_EQ(slow_ranks(o, {1, 1, 3, 1}), "rank 2 computes 3 times as long as the median rank");
  EXPECT_EQ(slow_ranks(o, {2, 1}), "rank 0 computes 2 times as long as the median rank");
  EXPECT_EQ(slow_ranks(o, {7}), "");
}

TEST(Guard, ReadsListsOfSteps) {
  EXPECT_EQ(parse_step_list("2-4, 10,3", "x"), (std::vector<int64_t>{2, 3, 4, 10}));
  EXPECT_TRUE(parse_step_list("", "x").empty());
  for (const char* bad : {"a", "4-2", "0", "-3", "1,,2", "1-99999999999", "9999999999999999999999"})
    EXPECT_THROW(parse_step_list(bad, "skip_batches"), Error) << bad;
}

TEST(Guard, BadOptionsAreNamed) {
  auto error = [](auto change) -> std::string {
    GuardOptions o;
    change(o);
    try {
      o.validate();
    } catch (const Error& e) { return e.what(); }
    return "";
  };
  EXPECT_NE(error([](auto& o) { o.on_spike = "skp"; }).find("guard.on_spike: expected one of alert, skip"),
            std::string::npos);
  EXPECT_NE(error([](auto& o) { o.on_nan = "alert"; }).find("guard.on_nan"), std::string::npos);
  EXPECT_NE(error([](auto& o) { o.loss_spike = 0.5; }).find("guard.loss_spike"), std::string::npos);
  EXPECT_EQ(error([](auto&) {}), "");
}

}  // namespace
}  // namespace puyu
